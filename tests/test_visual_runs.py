"""Runs of visual prompts: trained, condensed and stored like all others."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from few_glyphs import DIP, Few, run

from dip_lib import load_backbone
from dip_lib.clip.backbone import Backbone
from dip_lib.methods import METHODS
from dip_lib.training.batches import batches
from dip_lib.training.parts import LowRank
from dip_lib.training.record import Result
from dip_lib.training.run import Run
from dip_lib.training.visual import train_visual
from dip_lib.training.visual_fit import rate
from dip_study import study
from dip_study.profiles import load_profile

SMOKE = load_profile("smoke")


def visual(method: str = "vpt", low_rank: LowRank | None = None, **changes: Any) -> Run:
    """Three epochs of two steps."""
    values = {"vectors": 5, "depth": 4, "shots": 2, "epochs": 3, "batch": 3, "lr": 0.003}
    return run(method, 1, low_rank, **{"weight_decay": 5e-4} | values | changes)


RUN = visual()


@pytest.fixture(scope="module")
def clip() -> Backbone:
    return load_backbone("glyph-vit")


@pytest.fixture(scope="module")
def dataset() -> Few:
    return Few()


@pytest.fixture(scope="module")
def whole(clip: Backbone, dataset: Few) -> Result:
    (result,) = train_visual([RUN], clip, dataset)
    return result


def end(result: Result) -> dict[str, Any]:
    return result.record["checkpoints"][-1]


# ---- training -----------------------------------------------------------------------------------


def test_a_run_is_reproducible_and_learns(clip: Backbone, dataset: Few, whole: Result) -> None:
    (again,) = train_visual([RUN], clip, dataset)
    assert end(again) == end(whole)
    assert all(torch.equal(again.tensors[name], each) for name, each in whole.tensors.items())
    (longer,) = train_visual([visual(epochs=12)], clip, dataset)
    assert end(longer)["loss"] < end(whole)["loss"]
    assert end(longer)["loss"] < 0.5


def test_a_record_says_what_was_trained_and_what_it_costs(whole: Result) -> None:
    record, tensors = whole
    assert record["status"] == "finished"
    assert record["classes"] == [3, 3]
    assert record["test_images"] == [15, 15]
    assert record["trainable"] == 4 * 5 * 128 + 3 * (128 + 1)
    assert tensors.keys() == {f"prompts.{i}" for i in range(4)} | {"head.weight", "head.bias"}
    point = end(whole)
    assert point["counts"] == [5] * 4
    assert point["new"] is None
    assert len(point["mass"]) == len(point["map_rank"]) == 4
    assert 0.2 < point["id"][0] < point["id"][1] < 1


@pytest.mark.parametrize(
    ("relative", "parameters"),
    [
        (visual("spt", epochs=6), 4 * 5 * 128),
        (visual("spt", epochs=6, tokens="k-means"), 4 * 5 * 128),
        (visual("cvpt", epochs=6), 4 * 5 * 128),
        (visual(epochs=6, depth=1), 5 * 128),
        (visual(epochs=6, vectors=0), 0),
        (visual(low_rank=DIP, epochs=6), 4 * (5 + 128)),
    ],
)
def test_relatives_train_what_they_say_from_other_starts(
    clip: Backbone, dataset: Few, whole: Result, relative: Run, parameters: int
) -> None:
    (result,) = train_visual([relative], clip, dataset)
    assert result.record["trainable"] == parameters + 3 * (128 + 1)
    assert end(result)["loss"] < 1.1  # ln 3 is chance
    own = result.tensors
    same = [torch.equal(own.get(n, torch.empty(0)), each) for n, each in whole.tensors.items()]
    assert not any(same)


def test_the_rate_rises_over_a_tenth_and_falls_to_zero() -> None:
    rates = [rate(step, 100) for step in range(100)]
    assert rates[:10] == pytest.approx([i / 10 for i in range(1, 11)])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] < 1e-3
    assert rate(0, 1) == 1


def test_a_run_that_diverges_says_so(clip: Backbone, dataset: Few) -> None:
    (result,) = train_visual([visual(lr=1e30, epochs=4)], clip, dataset)
    assert result.record["status"].startswith("stopped: non-finite loss in epoch")
    assert "base" not in end(result)  # nothing is evaluated


def test_a_run_whose_last_step_diverges_says_so(clip: Backbone, dataset: Few) -> None:
    (result,) = train_visual([visual(lr=1e30, epochs=1, batch=6)], clip, dataset)  # the only one
    assert "non-finite" in result.record["status"]
    assert "base" not in end(result)


# ---- condensing ---------------------------------------------------------------------------------


def test_condensing_to_100_per_cent_changes_nothing(
    clip: Backbone, dataset: Few, whole: Result
) -> None:
    runs = [visual(keep=100.0, ranking=ranking) for ranking in ("global", "layer")]
    for result in train_visual(runs, clip, dataset, whole.tensors):
        own = result.tensors
        assert all(torch.equal(own[name], each) for name, each in whole.tensors.items())
        kept, trained = end(result), end(whole)
        assert all(kept[name] == trained[name] for name in ("base", "val", "id", "mass", "flops"))
        assert kept["id_chance"] == pytest.approx(kept["id"][0])


def test_a_condensed_run_keeps_its_share_and_trains_on(
    clip: Backbone, dataset: Few, whole: Result
) -> None:
    runs = [visual(keep=30.0, tuned=tuned) for tuned in (0, 2)]
    fixed, tuned = train_visual(runs, clip, dataset, whole.tensors)
    for result in (fixed, tuned):
        assert sum(end(result)["counts"]) == 6
        assert end(result)["flops"] < end(whole)["flops"]
        assert result.record["trainable"] == 6 * 128 + 3 * (128 + 1)
    assert end(fixed)["loss"] is None
    rows = [tuple(row.tolist()) for i in range(4) for row in whole.tensors[f"prompts.{i}"]]
    for i in range(4):
        assert {tuple(row.tolist()) for row in fixed.tensors[f"prompts.{i}"]} <= set(rows)
        if len(tuned.tensors[f"prompts.{i}"]):
            assert not torch.equal(tuned.tensors[f"prompts.{i}"], fixed.tensors[f"prompts.{i}"])


def test_a_source_is_trained_before_what_condenses_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIP_WORKERS", "1")
    run = next(r for r in study.visual(SMOKE) if r.method.keep == 50 and not r.method.tuned)
    (record,) = study.collect([run], SMOKE, results="fresh")
    assert sum(record["checkpoints"][-1]["counts"]) == 4  # half of two in each of four blocks
    store = study.open_store(SMOKE, "fresh")
    assert store.get(run.source()) and store.tensors(run.source())


# ---- which runs ---------------------------------------------------------------------------------


def test_the_study_names_its_runs_once_with_one_rate_for_all() -> None:
    profile = load_profile("embedded")
    runs = study.visual(profile)
    assert len({run.key() for run in runs}) == len(runs)
    given = profile.visual
    assert {run.data.dataset for run in runs} == set(profile.costly["datasets"])
    trained = [run for run in runs if not run.method.keep]
    assert all(run.source() in trained for run in runs)
    others = [run for run in runs if run.method.name != "vpt" or run.method.keep]
    rates = {run.schedule.lr for run in others}
    assert rates == {profile.settings["vpt"]["lr"]} <= set(given["rates"])
    controls = [run.method for run in runs if run.method.keep == 100]
    assert {(each.vectors, each.tuned) for each in controls} == {(given["compared"][-1], 2)}
    assert {run.method.keep for run in runs} == {0.0, 100.0, *map(float, given["keep"])}
    length = profile.settings["vpt"]["epochs"]
    long = {r.method.vectors for r in runs if r.schedule.epochs == given["longer"] * length}
    assert long == {given["prompts"][0], *given["compared"]}
    shallow = [run for run in runs if run.method.depth == 1]
    assert {run.method.vectors for run in shallow} == set(given["compared"])
    dense = [run for run in runs if run.low_rank]
    assert {run.method.keep for run in dense} == {0.0, *map(float, given["keep"])}
    assert not any(run.method.tuned for run in dense)


def test_condensed_runs_of_one_source_are_measured_together() -> None:
    profile = load_profile("embedded-full")
    together = list(batches(study.visual(profile, fingerprint=""), 100))
    for batch in together:
        assert len({run.source() for run in batch}) == 1
        assert len({bool(run.method.keep) for run in batch}) == 1
    several = sum(len(batch) > 1 for batch in together)
    assert several == 8 * profile.visual["seeds"]  # of VPT and of its DIPs, in four families


def test_every_profile_asks_for_what_its_tower_can_have() -> None:
    for name in ("embedded-full", "paper"):
        profile = load_profile(name)
        runs = study.visual(profile, fingerprint="")
        towers = {run.tower.backbone for run in runs}
        assert towers == {"glyph-vit" if "full" in name else "ViT-B-16"}
        assert max(run.method.vectors for run in runs) <= 200
        assert len({run.seed for run in runs}) == profile.visual["seeds"]


@pytest.mark.parametrize("name", ["smoke", "embedded", "embedded-full", "paper"])
def test_glyph_world_states_what_its_runs_did_and_the_paper_has_the_authors_settings(
    name: str,
) -> None:
    profile = load_profile(name)
    for method in ("spt", "cvpt"):
        kind = METHODS[method]
        runs = [r for r in study.visual(profile, fingerprint="") if type(r.method) is kind]
        settings = {} if name == "paper" else dict(kind.earlier)
        assert {r.method for r in runs} == {
            kind.of({"vectors": n, "depth": profile.settings["vpt"]["depth"], **settings})
            for n in profile.visual["compared"]
        }
        batch = 32 if (name, method) == ("paper", "cvpt") else profile.settings["vpt"]["batch"]
        schedule = {"lr": profile.settings["vpt"]["lr"], "batch": batch}
        found = [{key: getattr(r.schedule, key) for key in schedule} for r in runs]
        assert found == [schedule] * len(runs)


# ---- bad input ----------------------------------------------------------------------------------


def test_what_cannot_be_run_is_refused(clip: Backbone, dataset: Few, whole: Result) -> None:
    half = visual(keep=50.0)
    with pytest.raises(ValueError, match="condense"):
        train_visual([half], clip, dataset)
    with pytest.raises(ValueError, match="sources"):
        train_visual([half, replace(half, seed=2)], clip, dataset, whole.tensors)
    with pytest.raises(ValueError, match="120"):
        visual(keep=120.0)
    other = whole.tensors | {"head.weight": torch.zeros(7, 128), "head.bias": torch.zeros(7)}
    with pytest.raises(ValueError, match="greek"):
        train_visual([half], clip, dataset, other)
    with pytest.raises(ValueError, match="ModifiedResNet"):
        train_visual([RUN], load_backbone("glyph-resnet"), dataset)
    with pytest.raises(ValueError, match="300"):
        train_visual([visual(vectors=300)], clip, dataset)
