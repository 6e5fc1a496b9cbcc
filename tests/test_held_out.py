"""Leaving classes out of training: which ones, which images are evaluated, what is measured."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from counted import Counted
from pandas import json_normalize
from pandas.testing import assert_frame_equal
from test_protocols import Task, run

from dip_lib import load_backbone
from dip_lib.clip.features import Features, load_features
from dip_lib.data import load_dataset
from dip_lib.data.protocols import FOLDS, Classes, draw, folds, thirds
from dip_lib.data.splits import base_new
from dip_lib.methods.zero_shot import ZeroShot
from dip_lib.training import measure
from dip_lib.training.measure import Group
from dip_lib.training.parts import Data, LowRank, Schedule, Tower
from dip_lib.training.run import Run
from dip_lib.training.trainer import train

PARTS = range(1, FOLDS + 1)
THIRDS_OF_NINE = [[0, 4, 6], [2, 7, 8], [1, 3, 5]]
"""Written out, so that no other machine, Python or library may give others."""


# ---- which classes ------------------------------------------------------------------------------


@pytest.mark.parametrize("split", [0, 3])
@pytest.mark.parametrize("count", [6, 10, 47, 100])
def test_the_thirds_are_all_base_classes_once_and_no_new_one(count: int, split: int) -> None:
    base, _ = base_new(range(count), split)
    parts = [Classes(class_split=split, held_out=k).part(range(count)) for k in PARTS]
    assert sorted(c for _, left_out in parts for c in left_out) == base
    for kept, left_out in parts:
        assert sorted(kept + left_out) == base
        assert (kept, left_out) == (sorted(kept), sorted(left_out))
    sizes = [len(left_out) for _, left_out in parts]
    assert max(sizes) - min(sizes) <= 1


def test_a_third_is_a_function_of_the_classes_indices() -> None:
    assert thirds(range(9)) == thirds([*range(9)][::-1]) == THIRDS_OF_NINE


def test_thirds_of_one_class_are_not_evaluated() -> None:
    assert folds(100) == folds(12) == [1, 2, 3]
    assert folds(10) == [1, 2]  # of five base classes
    assert folds(4) == []
    with pytest.raises(ValueError, match="new half of photo-eurosat has one class"):
        Task("photo-eurosat", run(held_out=3))


@pytest.mark.parametrize("part", [-1, FOLDS + 1, 0.5])
def test_a_third_that_there_is_not_is_refused_with_the_range(part: Any) -> None:
    for refused in (lambda: Classes(held_out=part), lambda: Data(dataset="x", held_out=part)):
        with pytest.raises(ValueError, match=rf"{part}.* 1 to {FOLDS}"):
            refused()


def test_what_cannot_be_evaluated_on_validation_images_is_refused() -> None:
    with pytest.raises(ValueError, match="held_out = 1"):
        Data(dataset="greek", held_out=1, protocol="all-classes")
    with pytest.raises(ValueError, match="target 'latin'"):
        Data(dataset="greek", held_out=1, target="latin")
    data = Data(dataset="greek", held_out=1, shots=0, views=0)
    with pytest.raises(ValueError, match="zero-shot"):
        Run(data=data, tower=Tower(backbone="glyph-resnet"), method=ZeroShot())


def test_leaving_nothing_out_changes_no_key_and_leaving_out_shares_no_batch() -> None:
    assert run(held_out=0).key() == run().key()
    assert len({run(held_out=k).shared() for k in (0, *PARTS)}) == 1 + FOLDS
    assert run(held_out=1).shared() == run(2, LowRank(), held_out=1).shared()


# ---- which images -------------------------------------------------------------------------------


@pytest.mark.parametrize("split", [0, 4])
@pytest.mark.parametrize("part", PARTS)
def test_a_run_is_evaluated_on_its_own_validation_images(split: int, part: int) -> None:
    data = {"class_split": split, "held_out": part}
    task = Task("greek", run(**data), run(seed=2, **data))
    whole = Task("greek", run(class_split=split), run(seed=2, class_split=split))
    base, new, val = task.evaluation.base, task.evaluation.new, task.evaluation.val
    assert val == base
    names, labels = task.dataset.class_names, task.features.labels["val"]
    halves = Classes(**data).part(range(len(names)))
    assert [base.names, new.names] == [tuple(names[c] for c in half) for half in halves]
    for half in (base, new):  # the name that a label has is the name of the image's class
        for images, places in zip(half.images, half.labels, strict=True):
            truth = labels[images[:, 1].long()]
            assert [half.names[i] for i in places] == [names[c] for c in truth]
    for r in range(2):  # the same images as the run that trains all base classes, parted
        both = torch.cat([base.images[r], new.images[r]])[:, 1]
        assert sorted(both.tolist()) == sorted(whole.evaluation.val.images[r, :, 1].tolist())
    assert not torch.equal(base.images[0], base.images[1])


def test_a_run_trains_on_the_images_that_it_had_without_the_left_out_classes() -> None:
    dataset = load_dataset("greek")
    labels = dataset.labels("train")
    every, _ = draw(dataset.labels, 4, 1, Classes())
    for part in PARTS:
        classes = Classes(held_out=part)
        kept = set(classes.part(range(len(dataset.class_names)))[0])
        few, _ = draw(dataset.labels, 4, 1, classes)
        assert few == [row for row in every if int(labels[row]) in kept]


# ---- what a run measures ------------------------------------------------------------------------


STEPS = Schedule(epochs=3, batch=32, lr=0.03, checkpoints=1)


def short(seed: int = 1, low_rank: LowRank | None = None, **data: Any) -> Run:
    return replace(run(seed, low_rank, views=1, **data), schedule=STEPS)


@pytest.fixture(scope="module")
def greek(tmp_path_factory: pytest.TempPathFactory) -> Features:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DIP_HOME", str(tmp_path_factory.mktemp("home")))
        return load_features(load_backbone("glyph-resnet"), load_dataset("greek"), 1)


def test_accuracies_are_those_of_the_learned_prompt_and_no_test_image_is_read(
    greek: Features,
) -> None:
    clip, dataset = load_backbone("glyph-resnet"), load_dataset("greek")
    blind = replace(greek, test=torch.full_like(greek.test, torch.nan))
    runs = [short(held_out=2), short(2, LowRank(), held_out=2)]
    results = train(runs, clip, dataset, blind)
    for each, (record, tensors) in zip(runs, results, strict=True):
        halves = each.data.classes.part(range(len(dataset.class_names)))
        _, rows = draw(dataset.labels, 16, each.seed, each.data.classes)
        labels = greek.labels["val"]
        (end,) = record["checkpoints"]
        for half, classes in zip(("base", "new"), halves, strict=True):
            own = [row for row in rows if int(labels[row]) in classes]
            names = [dataset.class_names[c] for c in classes]
            with torch.no_grad():
                text = clip.class_embeddings(tensors["prompt"], names)
            best = torch.tensor(classes)[(greek.val[own] @ text.T).argmax(1)]
            right = 100 * float((best == labels[own]).double().mean())
            assert end[half] == pytest.approx(right, abs=1e-6)
        assert end["val"] == end["base"]
        assert record["classes"] == [len(half) for half in halves]
        assert record["test_images"] == [4 * len(half) for half in halves]
        assert {"x 0.25", "x 0.5", "x 0.75"} <= end["shrunk"].keys()
    (alone,) = train(runs[:1], clip, dataset, blind)  # in whatever company, up to rounding
    found, expected = (json_normalize(each.record["checkpoints"]) for each in (alone, results[0]))
    assert_frame_equal(found, expected, rtol=1e-6, atol=1e-6)


def test_a_run_that_diverges_leaves_its_neighbours_their_own_images(greek: Features) -> None:
    clip, dataset = load_backbone("glyph-resnet"), load_dataset("greek")
    mad = replace(short(3, held_out=1), schedule=replace(STEPS, lr=1e30))
    well = [short(held_out=1), short(2, held_out=1)]
    broken, *others = train([mad, *well], clip, dataset, greek)
    alone = train(well, clip, dataset, greek)
    assert broken.record["status"].startswith("stopped")
    for here, there in zip(others, alone, strict=True):
        assert here.record["checkpoints"][-1]["shrunk"] == there.record["checkpoints"][-1]["shrunk"]


def test_thirds_share_the_encoded_images_of_base_to_new_and_ask_for_no_test_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIP_HOME", str(tmp_path))
    clip, few = load_backbone("glyph-resnet"), Counted(load_dataset("greek", "stripes"))
    data = {"style": "stripes", "shots": 2, "views": 1}
    groups = [Group([run(1, **data, held_out=part)], clip, few) for part in PARTS]
    parts = [measure._features(group) for group in groups]
    assert few.asked == [("train", 56), ("val", 56)]
    measure._features(Group([run(1, **data)], clip, few))
    assert few.asked[2:] == [("test", len(few.labels("test")))]
    for group, found in zip(groups, parts, strict=True):
        assert len(found.test) == 0
        ((train_rows, val_rows),) = measure.draws(group.runs, few)
        assert found.pick("train", train_rows).shape[1] == len(train_rows)
        assert found.pick("val", val_rows).shape[0] == len(val_rows) == 56


def test_features_of_whole_splits_are_read_without_those_of_the_test_split() -> None:
    clip, dataset = load_backbone("glyph-resnet"), load_dataset("greek")
    found = measure._features(Group([short(held_out=1)], clip, dataset))
    assert len(found.test) == 0 and len(found.val) == len(dataset.labels("val"))


def test_packed_features_serve_runs_that_leave_classes_out() -> None:
    clip, dataset = load_backbone("photo-lite0"), load_dataset("photo-dtd10")
    few = Data(dataset="photo-dtd10", views=1, held_out=1)
    each = replace(short(), data=few, tower=Tower(backbone="photo-lite0"))
    (result,) = measure.measure_group(Group([each], clip, dataset))
    assert result.record["test_images"] == [4 * 3, 4 * 2]
    assert result.record["classes"] == [3, 2]
