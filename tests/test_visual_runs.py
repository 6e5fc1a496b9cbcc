"""Runs of visual prompts: trained, condensed and stored like all others."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from few_glyphs import Few

from dip_lib import load_backbone
from dip_lib.clip.backbone import Backbone
from dip_lib.errors import UnknownNameError
from dip_lib.training.run import RunSpec
from dip_lib.training.visual import Found, rate, train_visual
from dip_study import study
from dip_study.measure import groups
from dip_study.profiles import load_profile

SPEC = RunSpec(
    dataset="greek",
    method="vpt",
    seed=1,
    backbone="glyph-vit",
    context="",
    vectors=5,
    depth=4,
    shots=2,
    epochs=3,
    batch=3,
    lr=0.003,
    views=2,
    checkpoints=1,
)
SMOKE = load_profile("smoke")


@pytest.fixture(scope="module")
def clip() -> Backbone:
    return load_backbone("glyph-vit")


@pytest.fixture(scope="module")
def dataset() -> Few:
    return Few()


@pytest.fixture(scope="module")
def whole(clip: Backbone, dataset: Few) -> Found:
    (found,) = train_visual([SPEC], clip, dataset)
    return found


def end(found: Found) -> dict[str, object]:
    return found[0]["checkpoints"][-1]


# ---- training -----------------------------------------------------------------------------------


def test_a_run_is_reproducible_and_learns(clip: Backbone, dataset: Few, whole: Found) -> None:
    (again,) = train_visual([SPEC], clip, dataset)
    assert end(again) == end(whole)
    assert all(torch.equal(again[1][name], each) for name, each in whole[1].items())
    (longer,) = train_visual([replace(SPEC, epochs=12)], clip, dataset)
    assert end(longer)["loss"] < end(whole)["loss"]
    assert end(longer)["loss"] < 0.5


def test_a_record_says_what_was_trained_and_what_it_costs(whole: Found) -> None:
    record, learnt = whole
    assert record["status"] == "finished"
    assert record["classes"] == [3, 3]
    assert record["test_images"] == [15, 15]
    assert record["trainable"] == 4 * 5 * 128 + 3 * (128 + 1)
    assert learnt.keys() == {f"prompts.{i}" for i in range(4)} | {"head.weight", "head.bias"}
    point = end(whole)
    assert point["counts"] == [5] * 4
    assert point["new"] is None
    assert len(point["mass"]) == len(point["map_rank"]) == 4
    assert 0.2 < point["id"][0] < point["id"][1] < 1


@pytest.mark.parametrize(
    ("changes", "numbers"),
    [
        ({"method": "spt"}, 4 * 5 * 128),
        ({"method": "cvpt"}, 4 * 5 * 128),
        ({"depth": 1}, 5 * 128),
        ({"vectors": 0}, 0),
        ({"rank": 1, "dropout": 0.5}, 4 * (5 + 128)),
    ],
)
def test_relatives_train_what_they_say_from_other_starts(
    clip: Backbone, dataset: Few, whole: Found, changes: dict[str, object], numbers: int
) -> None:
    (found,) = train_visual([replace(SPEC, epochs=6, **changes)], clip, dataset)
    assert found[0]["trainable"] == numbers + 3 * (128 + 1)
    assert end(found)["loss"] < 1.1  # ln 3 is chance
    same = [torch.equal(found[1].get(n, torch.empty(0)), each) for n, each in whole[1].items()]
    assert not any(same)


def test_the_rate_rises_over_a_tenth_and_falls_to_zero() -> None:
    rates = [rate(step, 100) for step in range(100)]
    assert rates[:10] == pytest.approx([i / 10 for i in range(1, 11)])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] < 1e-3
    assert rate(0, 1) == 1


def test_a_run_that_diverges_says_so(clip: Backbone, dataset: Few) -> None:
    (found,) = train_visual([replace(SPEC, lr=1e30, epochs=4)], clip, dataset)
    assert found[0]["status"].startswith("stopped: non-finite loss in epoch")


# ---- condensing ---------------------------------------------------------------------------------


def test_condensing_to_100_per_cent_changes_nothing(
    clip: Backbone, dataset: Few, whole: Found
) -> None:
    runs = [replace(SPEC, keep=100.0, ranking=ranking) for ranking in ("global", "layer")]
    for found in train_visual(runs, clip, dataset, whole[1]):
        assert all(torch.equal(found[1][name], each) for name, each in whole[1].items())
        kept, trained = end(found), end(whole)
        assert all(kept[name] == trained[name] for name in ("base", "val", "id", "mass", "flops"))
        assert kept["id_chance"] == pytest.approx(kept["id"][0])


def test_a_condensed_run_keeps_its_share_and_trains_on(
    clip: Backbone, dataset: Few, whole: Found
) -> None:
    runs = [replace(SPEC, keep=30.0, tuned=tuned) for tuned in (0, 2)]
    fixed, tuned = train_visual(runs, clip, dataset, whole[1])
    for found in (fixed, tuned):
        assert sum(end(found)["counts"]) == 6
        assert end(found)["flops"] < end(whole)["flops"]
        assert found[0]["trainable"] == 6 * 128 + 3 * (128 + 1)
    assert end(fixed)["loss"] is None
    rows = [tuple(row.tolist()) for i in range(4) for row in whole[1][f"prompts.{i}"]]
    for i in range(4):
        assert {tuple(row.tolist()) for row in fixed[1][f"prompts.{i}"]} <= set(rows)
        if len(tuned[1][f"prompts.{i}"]):
            assert not torch.equal(tuned[1][f"prompts.{i}"], fixed[1][f"prompts.{i}"])


def test_a_source_is_trained_before_what_condenses_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIP_WORKERS", "1")
    run = next(r for r in study.visual(SMOKE) if r.keep == 50 and not r.tuned)
    (record,) = study.collect([run], SMOKE, results="fresh")
    assert sum(record["checkpoints"][-1]["counts"]) == 4  # half of two in each of four blocks
    store = study.open_store(SMOKE, "fresh")
    assert store.get(run.source()) and store.learnt(run.source())


# ---- which runs ---------------------------------------------------------------------------------


def test_the_study_names_its_runs_once_with_one_rate_for_all() -> None:
    profile = load_profile("embedded")
    runs = study.visual(profile)
    assert len({run.key() for run in runs}) == len(runs)
    given = profile.visual
    assert {run.dataset for run in runs} == set(profile.costly["datasets"])
    trained = [run for run in runs if not run.keep]
    assert all(run.source() in trained for run in runs)
    lengths = {run.lr for run in runs if run.method in ("spt", "cvpt") or run.keep}
    assert lengths == {profile.settings["vpt"]["lr"]} <= set(given["rates"])
    controls = [run for run in runs if run.keep == 100]
    assert {(run.vectors, run.tuned) for run in controls} == {(given["compared"][-1], 2)}
    assert {run.keep for run in runs} == {0.0, 100.0, *map(float, given["keep"])}
    length = profile.settings["vpt"]["epochs"]
    long = {run.vectors for run in runs if run.epochs == given["longer"] * length}
    assert long == {given["prompts"][0], *given["compared"]}
    shallow = [run for run in runs if run.depth == 1]
    assert {run.vectors for run in shallow} == set(given["compared"])
    dense = [run for run in runs if run.rank]
    assert {run.keep for run in dense} == {0.0, *map(float, given["keep"])}
    assert not any(run.tuned for run in dense)


def test_condensed_runs_of_one_source_are_measured_together() -> None:
    found = list(groups(study.visual(load_profile("embedded")), 100))
    for group in found:
        assert len({run.source() for run in group}) == 1
        assert len({bool(run.keep) for run in group}) == 1
    assert sum(len(group) > 1 for group in found) == 8  # of VPT and of its DIPs, in four families


def test_every_profile_asks_for_what_its_tower_can_have() -> None:
    for name in ("embedded-full", "paper"):
        profile = load_profile(name)
        runs = study.visual(profile, data="")
        assert {run.backbone for run in runs} == {"glyph-vit" if "full" in name else "ViT-B-16"}
        assert max(run.vectors for run in runs) <= 200
        assert len({run.seed for run in runs}) == profile.visual["seeds"]


# ---- bad input ----------------------------------------------------------------------------------


def test_what_cannot_be_run_is_refused(clip: Backbone, dataset: Few, whole: Found) -> None:
    half = replace(SPEC, keep=50.0)
    with pytest.raises(ValueError, match="condense"):
        train_visual([half], clip, dataset)
    with pytest.raises(ValueError, match="sources"):
        train_visual([half, replace(half, seed=2)], clip, dataset, whole[1])
    with pytest.raises(ValueError, match="100"):
        train_visual([replace(SPEC, keep=120.0)], clip, dataset, whole[1])
    other = whole[1] | {"head.weight": torch.zeros(7, 128), "head.bias": torch.zeros(7)}
    with pytest.raises(ValueError, match="greek"):
        train_visual([half], clip, dataset, other)
    with pytest.raises(UnknownNameError, match="maple"):
        train_visual([replace(SPEC, method="maple")], clip, dataset)
    with pytest.raises(ValueError, match="ModifiedResNet"):
        train_visual([SPEC], load_backbone("glyph-resnet"), dataset)
    with pytest.raises(ValueError, match="300"):
        train_visual([replace(SPEC, vectors=300)], clip, dataset)
