"""Random base/new splits beside the field's: which classes, which images, which runs."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest
import torch
from test_protocols import Task, numbered, run

from dip_lib import load_backbone
from dip_lib.data import load_dataset, protocols
from dip_lib.data.protocols import Classes, among, draw, renumbered
from dip_lib.data.splits import RANDOM_SPLITS, base_new
from dip_lib.methods.vpt import VPT
from dip_lib.training.parts import Data, Tower, VisualSchedule
from dip_lib.training.run import Run
from dip_lib.training.visual_data import visual_data

RANDOM = range(1, RANDOM_SPLITS + 1)
BASE_OF_TEN = {1: [0, 4, 6, 8, 9], 2: [0, 1, 3, 8, 9]}
"""Written out, so that no other machine, Python or library may give others."""


# ---- which classes ------------------------------------------------------------------------------


@pytest.mark.parametrize("split", RANDOM)
@pytest.mark.parametrize("n", [2, 3, 10, 47, 1000])
def test_a_split_and_its_complement_are_all_classes_once(n: int, split: int) -> None:
    labels = [*range(n), *range(n)]
    random.Random(split).shuffle(labels)
    base, new = base_new(labels, split)
    assert len(base) == math.ceil(n / 2)
    assert sorted(base + new) == list(range(n))
    assert (base, new) == (sorted(base), sorted(new))


def test_a_split_is_a_function_of_its_number_and_of_how_many_classes_there_are() -> None:
    for split, base in BASE_OF_TEN.items():
        assert base_new(range(10), split)[0] == base
        names = [f"name {i}" for i in range(10)]  # what the classes are called changes nothing
        assert base_new(names, split)[0] == [names[i] for i in base]
        assert base_new(torch.arange(10), split) == base_new(range(10), split)


@pytest.mark.parametrize("n", [9, 10, 14, 47, 56, 100, 101])
def test_no_two_splits_of_enough_classes_are_the_same(n: int) -> None:
    assert len({tuple(base_new(range(n), split)[0]) for split in (0, *RANDOM)}) == 11


def test_a_random_half_is_no_nearer_to_the_fields_than_chance() -> None:
    shared = [len(set(base_new(range(200), split)[0]) & set(range(100))) for split in RANDOM]
    assert 45 < sum(shared) / len(shared) < 55


def test_the_fields_split_is_the_default() -> None:
    assert base_new(range(7)) == base_new(range(7), 0) == ([0, 1, 2, 3], [4, 5, 6])
    assert Classes().part(range(7)) == base_new(range(7))


@pytest.mark.parametrize("split", [-1, RANDOM_SPLITS + 1, 0.5])
def test_a_split_that_there_is_not_is_refused_with_the_range(split: Any) -> None:
    for refused in (
        lambda: base_new(range(4), split),
        lambda: Data(dataset="greek", class_split=split),
    ):
        with pytest.raises(ValueError, match=rf"{split}.* 1 to {RANDOM_SPLITS}"):
            refused()


def test_only_base_to_new_has_class_splits() -> None:
    with pytest.raises(ValueError, match="all-classes"):
        Data(dataset="greek", protocol="all-classes", class_split=1)
    with pytest.raises(ValueError, match="all-classes"):
        Classes("all-classes", 1)


# ---- which images -------------------------------------------------------------------------------


def test_labels_are_places_among_the_classes() -> None:
    labels = torch.tensor([5, 1, 9, 1, 5, 0])
    inside, places = among(labels, [1, 5])
    assert inside.tolist() == [True, True, False, True, True, False]
    assert places.tolist() == [1, 0, 0, 1]
    assert [each.tolist() for each in among(labels, [])] == [[False] * 6, []]
    assert renumbered(labels, [0, 1, 5, 9]).tolist() == [2, 1, 3, 1, 2, 0]
    assert renumbered(labels, [0, 1, 5, 9]).dtype == labels.dtype
    with pytest.raises(ValueError, match="9"):
        renumbered(labels, [0, 1, 5])


@pytest.mark.parametrize("split", [0, 1, 7])
def test_a_run_trains_and_is_tested_on_the_names_of_its_split(split: int) -> None:
    task = Task("greek", run(class_split=split), run(seed=2, class_split=split))
    names, labels = task.dataset.class_names, task.features.labels
    halves = base_new(range(len(names)), split)
    base, new = task.evaluation.base, task.evaluation.new
    assert [base.names, new.names] == [tuple(names[c] for c in half) for half in halves]
    assert task.train.names == task.evaluation.val.names == base.names
    seen = torch.cat([base.images[:, 1], new.images[:, 1]]).long()
    assert sorted(seen.tolist()) == list(range(len(task.features.test)))
    val = task.evaluation.val
    parts = [(base, "test"), (new, "test")]
    for part, of in parts:  # the name that a label has is the name of the image's class
        truth = labels[of][part.images[:, 1].long()]
        assert [part.names[i] for i in part.labels] == [names[c] for c in truth]
    for images, places, of in (
        (task.train.images[:, 0], task.train.labels, "train"),
        (val.images, val.labels, "val"),
    ):
        truth = labels[of][images[..., 1].long()]
        assert [base.names[i] for i in places.flatten()] == [names[c] for c in truth.flatten()]


def test_the_images_of_a_class_are_the_same_in_every_split() -> None:
    dataset = load_dataset("greek")
    of = {split: dataset.labels(split).tolist() for split in ("train", "val")}
    every = draw(dataset.labels, 4, 1, Classes("all-classes"))
    for class_split in (0, 1, RANDOM_SPLITS):
        trained = set(base_new(range(56), class_split)[0])
        parts = draw(dataset.labels, 4, 1, Classes(class_split=class_split))
        for split, rows, all_rows in zip(of, parts, every, strict=True):
            assert rows == [row for row in all_rows if of[split][row] in trained]


def test_halves_are_cut_alike_whether_features_are_shared_or_of_each_run() -> None:
    dataset = load_dataset("boxes")
    test = numbered(dataset).test
    shared = protocols.evaluation_halves(dataset, test, Classes(class_split=3))
    own = protocols.evaluation_halves(dataset, test.expand(2, -1, -1), Classes(class_split=3))
    for part, expected in zip(own, shared, strict=True):
        assert (part.names, part.labels.tolist()) == (expected.names, expected.labels.tolist())
        assert torch.equal(part.images, expected.images.expand(2, -1, -1))


def test_visual_prompts_see_the_images_of_their_split() -> None:
    clip, dataset = load_backbone("glyph-vit"), load_dataset("greek")
    base, _ = base_new(range(56), 4)
    each = Run(
        data=Data(dataset="greek", shots=1, views=1, class_split=4),
        tower=Tower(backbone="glyph-vit"),
        method=VPT(vectors=1, depth=1),
        schedule=VisualSchedule(),
        seed=1,
    )
    data = visual_data(each, clip, dataset)
    (train, val), test = draw(dataset.labels, 1, 1, Classes(class_split=4)), data.test
    assert data.halves[0].names == tuple(dataset.class_names[c] for c in base)
    for labels, split, rows in (
        (data.train_labels, "train", train),
        (data.val_labels, "val", val),
        (data.test_labels, "test", test),
    ):
        assert [base[i] for i in labels] == dataset.labels(split)[rows].tolist()
    assert len(test) == sum(int(label) in set(base) for label in dataset.labels("test"))
