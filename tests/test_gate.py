"""The zero-shot gate: nothing is trained where CLIP is not as good as published."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dip_lib.paths import home
from dip_lib.store import Store
from dip_lib.training.parts import Data, Tower
from dip_lib.training.run import RECIPE, Run
from dip_study import gate, study
from dip_study.measure import measure
from dip_study.profiles import load_profile

WHOLE = load_profile("paper")
PAPER = replace(WHOLE, towers=WHOLE.towers[:1], datasets=("dtd", "eurosat"), seeds=(1,))
RUNS = study.base_to_new(PAPER, fingerprint="0" * 12)


def record(run: Run, base: float, new: float) -> dict[str, Any]:
    """A zero-shot record as the store keeps it."""
    return {
        "key": run.key(),
        "recipe": RECIPE,
        "code": type(run.method).identity(),
        "run": run.to_dict(),
        "status": "finished",
        "checkpoints": [{"epoch": 0, "loss": None, "base": base, "new": new}],
    }


def test_what_must_pass_first_are_the_studys_own_zero_shot_runs() -> None:
    expected = study.zero_shots(PAPER, fingerprint="0" * 12)
    assert sorted(map(str, gate.zero_shots(RUNS))) == sorted(map(str, expected))
    # published numbers are those of base-to-new, whatever protocol trains behind them
    few = gate.zero_shots(study.few_shot(PAPER, fingerprint="0" * 12))
    assert sorted(map(str, few)) == sorted(map(str, expected))
    cross = gate.zero_shots(study.cross_dataset(PAPER, fingerprint="0" * 12))
    assert [(run.data.dataset, run.data.protocol) for run in cross] == [("imagenet", "base-to-new")]
    assert gate.zero_shots(expected) == []  # they train nothing
    assert gate.zero_shots(study.base_to_new(replace(PAPER, weights=""), fingerprint="")) == []
    assert gate.zero_shots(study.base_to_new(load_profile("smoke"), fingerprint="")) == []


@pytest.mark.parametrize("half", [0, 1])
@pytest.mark.parametrize(("off", "stops"), [(2.0, True), (-2.0, True), (1.5, False), (-1.5, False)])
def test_two_points_off_stop_and_one_and_a_half_pass(half: int, off: float, stops: bool) -> None:
    dtd, eurosat = gate.zero_shots(study.dip(PAPER, fingerprint=""))
    found = [53.24, 59.9]
    found[half] += off
    records = [record(dtd, *found), record(eurosat, 56.48, 64.05)]
    if not stops:
        assert gate.check(records) == []
        return
    with pytest.raises(RuntimeError, match=f"{found[half]:.2f}") as caught:
        gate.check(records)
    for cause in ("QuickGELU", "class names", "template", "split file", "preprocessing"):
        assert cause in str(caught.value)
    assert f"{dtd.key()}.json in {home() / 'store'}" in str(caught.value)
    assert "eurosat" not in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        {"tower": Tower(backbone="RN50", weights="openai")},
        {"tower": Tower(backbone="ViT-B-16", weights="laion2b_s34b_b88k")},
        {"data": Data(dataset="imagenet_a", shots=0, views=0)},
    ],
)
def test_what_has_no_published_number_passes_and_is_named(change: dict[str, Any]) -> None:
    run = replace(gate.zero_shots(RUNS)[0], **change)
    (line,) = gate.check([record(run, 1.0, 2.0)])
    tower = run.tower
    assert f"{tower.backbone} ({tower.weights}) on {run.data.dataset}: no published" in line


def test_a_stored_record_two_points_off_stops_before_anything_is_loaded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("DATA", raising=False)  # there are neither pictures nor weights here
    store = Store(Path(home() / "store"))
    dtd, eurosat = gate.zero_shots(RUNS)
    store.put(record(dtd, 53.24, 59.9))
    store.put(record(eurosat, 58.48, 64.05))
    before = store.records()
    with pytest.raises(RuntimeError, match="58.48"):
        measure(store.missing(RUNS), store)
    assert store.records() == before


def test_the_table_has_the_eleven_datasets_and_the_published_averages() -> None:
    rows = gate.PUBLISHED["ViT-B-16"]["openai"]
    assert sorted(rows) == sorted(WHOLE.datasets)
    assert np.mean([*rows.values()], 0).round(2).tolist() == [69.34, 74.22]
