"""What all methods share computes what it computed: golden runs guard the number ``RECIPE``."""

from __future__ import annotations

import hashlib
import json
from copy import deepcopy
from typing import Any

import pytest
from few_glyphs import Bench
from golden.make import (
    FILE,
    RELATIVE,
    differences,
    golden_bench,
    golden_runs,
    measure,
    updated,
)

from dip_lib.methods.prompts import TEMPLATES
from dip_lib.training import loop
from dip_lib.training import run as run_module
from dip_lib.training.run import RECIPE

GOLDEN: dict[str, Any] = json.loads(FILE.read_text())


@pytest.fixture(scope="module")
def bench() -> Bench:
    return golden_bench()


@pytest.mark.parametrize("name", golden_runs())
def test_a_golden_run_ends_as_it_did(bench: Bench, name: str) -> None:
    if name not in GOLDEN["runs"]:
        pytest.skip(f"{name} has no golden run: python tests/golden/make.py adds it")
    golden, now = GOLDEN["runs"][name], measure(bench, golden_runs()[name])
    assert GOLDEN["recipe"] == RECIPE, "RECIPE has risen: run tests/golden/make.py"
    # else the next change of what all methods share could pass for one of this method
    assert golden["code"] == now["code"], "the method's code is another: run tests/golden/make.py"
    assert not differences(golden, now), (
        "what all methods share computes something else: raise RECIPE in dip_lib/training/run.py, "
        "then run tests/golden/make.py"
    )


def test_the_templates_are_those_of_the_recipe() -> None:
    text = json.dumps(TEMPLATES, sort_keys=True)  # no golden run reads them all
    assert hashlib.sha256(text.encode()).hexdigest()[:12] == "148795789ec1", (
        "templates.toml is a part of what all methods share: raise RECIPE with it"
    )


def test_the_golden_runs_are_no_trivial_ones() -> None:
    for name, entry in GOLDEN["runs"].items():
        assert entry["status"] == "finished"
        assert 0 < entry["numbers"]["base"] <= 100, name
    losses = [e["numbers"]["loss"] for e in GOLDEN["runs"].values() if "loss" in e["numbers"]]
    assert len(set(losses)) > 10


def test_a_small_change_of_what_all_share_is_noticed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    rate = loop.learning_rate
    monkeypatch.setattr(loop, "learning_rate", lambda *given: 1.001 * rate(*given))
    now = measure(bench, golden_runs()["coop"])
    assert differences(GOLDEN["runs"]["coop"], now)


# ---- the program that writes them ---------------------------------------------------------------


@pytest.fixture
def golden() -> dict[str, Any]:
    return deepcopy(GOLDEN)


def moved(entry: dict[str, Any], name: str, by: float) -> dict[str, Any]:
    other = deepcopy(entry)
    other["numbers"][name] += by
    return other


def test_differences_start_beyond_the_tolerance(golden: dict[str, Any]) -> None:
    entry = golden["runs"]["coop"]
    loss, image = entry["numbers"]["loss"], 100 / entry["images"]["base"]
    assert not differences(entry, entry)
    assert not differences(entry, moved(entry, "loss", 0.5 * RELATIVE * loss))
    assert differences(entry, moved(entry, "loss", 2 * RELATIVE * loss))
    assert not differences(entry, moved(entry, "base", -image))
    assert differences(entry, moved(entry, "base", -2 * image))
    assert differences(entry, entry | {"status": "stopped"})
    lost = deepcopy(entry)
    del lost["numbers"]["id"]
    assert differences(entry, lost)


def test_a_difference_is_refused_until_recipe_rises(
    golden: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = golden["runs"] | {"coop": moved(golden["runs"]["coop"], "loss", 1.0)}
    with pytest.raises(ValueError, match="RECIPE"):
        updated(golden, now)
    monkeypatch.setattr("golden.make.RECIPE", RECIPE + 1)
    risen = updated(golden, now)
    assert risen["recipe"] == RECIPE + 1
    assert risen["runs"]["coop"] == now["coop"]
    assert run_module.RECIPE == RECIPE


def test_a_method_may_change_its_own_entry_and_no_other(golden: dict[str, Any]) -> None:
    edited = moved(golden["runs"]["kgcoop"], "loss", 1.0) | {"code": "another"}
    content = updated(golden, golden["runs"] | {"kgcoop": edited})
    assert content["runs"]["kgcoop"] == edited
    other = moved(golden["runs"]["coop"], "loss", 1.0)
    with pytest.raises(ValueError, match="coop"):
        updated(golden, golden["runs"] | {"kgcoop": edited, "coop": other})


def test_entries_that_agree_stay_to_the_digit_and_new_ones_are_added(
    golden: dict[str, Any],
) -> None:
    close = {name: moved(e, "base", 1e-3) for name, e in golden["runs"].items()}
    assert updated(golden, close) == golden
    new = updated(golden, golden["runs"] | {"another": golden["runs"]["coop"]})
    assert new["runs"]["another"] == golden["runs"]["coop"]
