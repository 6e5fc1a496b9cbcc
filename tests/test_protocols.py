"""Which images and names a run sees under each protocol, and which judge it."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import Any

import pytest
import torch

from dip_lib import load_backbone
from dip_lib.clip.features import Features, load_features
from dip_lib.data import Dataset, load_dataset, protocols
from dip_lib.data.protocols import Classes, draw
from dip_lib.errors import UnknownNameError
from dip_lib.methods import CoOp
from dip_lib.training.batch_data import (
    EvaluationData,
    TrainingData,
    draws,
    evaluation_data,
    training_data,
)
from dip_lib.training.parts import Data, LowRank, Schedule, Tower
from dip_lib.training.run import Run

SPLITS = ("train", "val", "test")


def numbered(dataset: Dataset, views: int = 2) -> Features:
    """Features that say which image they are: (view, index)."""
    labels = {split: dataset.labels(split) for split in SPLITS}

    def each(split: str, view: int) -> torch.Tensor:
        index = torch.arange(len(labels[split]))
        return torch.stack([torch.full_like(index, view), index], 1).float()

    train = torch.stack([each("train", view) for view in range(views)])
    return Features(train, each("val", 0), each("test", 0), labels)


def run(seed: int = 1, low_rank: LowRank | None = None, **data: Any) -> Run:
    return Run(
        data=Data(**{"dataset": "greek", "views": 2} | data),
        tower=Tower(backbone="glyph-resnet"),
        method=CoOp(),
        low_rank=low_rank,
        schedule=Schedule(),
        seed=seed,
    )


class Task:
    """What some runs on a dataset train on, and what evaluates them."""

    def __init__(self, name: str, *runs: Run, features: Features | None = None) -> None:
        self.dataset = load_dataset(name)
        self.features = features or numbered(self.dataset)
        self.rows = draws(runs, self.dataset)
        given = runs, self.dataset, self.features, self.rows
        self.train: TrainingData = training_data(*given)
        self.evaluation: EvaluationData = evaluation_data(*given)


@pytest.mark.parametrize("name", ["greek", "boxes", "dominoes"])
def test_the_halves_are_disjoint_and_cover_every_class_and_test_image(name: str) -> None:
    task = Task(name, run())
    base, new = task.evaluation.base, task.evaluation.new
    count = len(task.dataset.class_names)
    assert base.names + new.names == task.dataset.class_names
    assert len(base.names) == math.ceil(count / 2)
    assert task.train.names == base.names == task.evaluation.val.names
    images = torch.cat([base.images[:, 1], new.images[:, 1]]).long()
    assert sorted(images.tolist()) == list(range(len(task.features.test)))
    for half in (base, new):
        labels = task.features.labels["test"][half.images[:, 1].long()]
        assert [half.names[label] for label in half.labels] == [
            task.dataset.class_names[c] for c in labels
        ]


@pytest.mark.parametrize("shots", [1, 16])
@pytest.mark.parametrize("seed", [1, 2])
def test_images_are_those_the_peers_draw_over_all_classes(seed: int, shots: int) -> None:
    task = Task("greek", run(seed, shots=shots))
    labels = task.features.labels["train"].tolist()
    # Dassl's generate_fewshot_dataset with the standard library, then CoOp's subsample_classes
    rng = random.Random(seed)
    drawn: list[int] = []
    for label in dict.fromkeys(labels):
        drawn += rng.sample([i for i, other in enumerate(labels) if other == label], shots)
    base = math.ceil(len(task.dataset.class_names) / 2)
    expected = [i for i in drawn if labels[i] < base]
    assert task.train.images[0, 0, :, 1].long().tolist() == expected
    assert task.train.labels[0].tolist() == [labels[i] for i in expected]
    assert torch.bincount(task.train.labels[0]).tolist() == [shots] * base


def test_every_view_shows_the_same_images() -> None:
    images = Task("greek", run()).train.images
    assert images.shape[1] == 2
    assert torch.equal(images[:, 0, :, 1], images[:, 1, :, 1])
    assert images[0, :, 0, 0].tolist() == [0, 1]


@pytest.mark.parametrize(("shots", "held"), [(1, 1), (2, 2), (4, 4), (16, 4)])
def test_validation_has_at_most_four_images_of_each_base_class(shots: int, held: int) -> None:
    task = Task("greek", run(shots=shots))
    (images,), (labels,) = task.evaluation.val.images, task.evaluation.val.labels
    assert torch.bincount(labels).tolist() == [held] * len(task.train.names)
    assert torch.equal(task.features.labels["val"][images[:, 1].long()], labels)


def test_methods_of_one_seed_see_the_same_images_and_seeds_see_others() -> None:
    task = Task("greek", run(), run(low_rank=LowRank()), run(seed=2))
    for images in (task.train.images, task.evaluation.val.images):
        assert torch.equal(images[0], images[1])
        assert not torch.equal(images[0], images[2])
    drawn = task.train.images[:, 0, :, 1].long().tolist()
    assert [train for train, _ in task.rows] == drawn


def test_more_shots_than_images_uses_them_all_and_says_so() -> None:
    with pytest.warns(UserWarning, match="56"):
        task = Task("greek", run(shots=100))
    assert task.train.images.shape[2] == 28 * 48


def test_features_of_the_draws_alone_give_the_same_task() -> None:
    runs = [run(), run(seed=2, low_rank=LowRank()), run(low_rank=LowRank())]
    expected = Task("greek", *runs)
    whole, drawn = expected.features, {}
    assert expected.rows[0] == expected.rows[2] != expected.rows[1]
    for train, val in expected.rows:
        assert set(whole.labels["train"][train].tolist()) == set(range(28))  # base classes alone
        drawn["train", tuple(train)] = whole.pick("train", train)
        drawn["val", tuple(val)] = whole.pick("val", val)
    part = Features(whole.train[:, :0], whole.val[:0], whole.test, whole.labels, drawn)
    task = Task("greek", *runs, features=part)
    assert torch.equal(task.train.images, expected.train.images)
    assert torch.equal(task.train.labels, expected.train.labels)
    for half in ("val", "new"):
        here, there = getattr(task.evaluation, half), getattr(expected.evaluation, half)
        assert here.names == there.names
        assert torch.equal(here.images, there.images)
        assert torch.equal(here.labels, there.labels)


# ---- all classes --------------------------------------------------------------------------------


def test_the_protocols_part_the_classes_and_an_unknown_one_is_refused() -> None:
    labels = [4, 0, 2, 2, 1, 3]
    assert Classes().part(labels) == ([0, 1, 2], [3, 4])
    assert Classes("all-classes").part(labels) == ([0, 1, 2, 3, 4], [])
    with pytest.raises(UnknownNameError, match="'all'"):
        Classes("all")


def test_on_all_classes_every_class_is_trained_held_and_tested_and_none_is_new() -> None:
    task = Task("greek", run(shots=2, protocol="all-classes"))
    base, new, val = task.evaluation.base, task.evaluation.new, task.evaluation.val
    count = len(task.dataset.class_names)
    assert task.train.names == base.names == val.names == task.dataset.class_names
    assert torch.bincount(task.train.labels[0]).tolist() == [2] * count
    assert torch.bincount(val.labels[0]).tolist() == [2] * count
    assert base.images[:, 1].tolist() == list(range(len(task.features.test)))
    assert torch.equal(base.labels, task.features.labels["test"])
    assert new.names == ()
    assert new.images.shape == (0, 2)
    assert len(new.labels) == 0


def test_the_protocols_draw_the_same_images_of_the_base_classes() -> None:
    labels = load_dataset("greek").labels
    half, every = (draw(labels, 4, 1, Classes(each)) for each in ("base-to-new", "all-classes"))
    for split, few, all_rows in zip(("train", "val"), half, every, strict=True):
        assert few == [row for row in all_rows if labels(split)[row] < 28]


def test_features_of_each_run_are_parted_like_those_that_runs_share() -> None:
    dataset = load_dataset("boxes")
    test = numbered(dataset).test
    own = torch.stack([test, test + 0.5])  # as under prompts in the image tower
    shared = protocols.evaluation_halves(dataset, test, Classes())
    for part, expected in zip(
        protocols.evaluation_halves(dataset, own, Classes()), shared, strict=True
    ):
        assert part.names == expected.names
        assert torch.equal(part.labels, expected.labels)
        assert torch.equal(part.images, torch.stack([expected.images, expected.images + 0.5]))


def test_pixels_are_the_pictures_whose_features_a_run_trains_on() -> None:
    clip, dataset = load_backbone("glyph-resnet"), load_dataset("greek")
    runs = [run(seed, shots=1) for seed in (1, 2, 1)]
    rows = draws(runs, dataset)
    features = load_features(clip, dataset, 2, rows)
    data = training_data(runs, dataset, features, rows, clip)
    assert data.pixels is not None
    assert data.pixels.shape == (3, 2, len(data.names), 3, 48, 48)
    assert data.pixels.dtype == torch.float16
    encoded = clip.encode_image(data.pixels.flatten(0, 2).float()).view_as(data.images)
    torch.testing.assert_close(encoded, data.images, rtol=0, atol=2e-3)
    apart = (data.images[0] - data.images[1]).abs().amax()
    assert apart > 0.05  # other pictures are further away than half precision


# ---- a half of one class ------------------------------------------------------------------------


@dataclass(frozen=True)
class Named:
    """A dataset as far as the halves need it: some classes, one test image of each."""

    class_names: tuple[str, ...]
    name: str = "animals"

    def labels(self, split: str) -> torch.Tensor:
        return torch.arange(len(self.class_names))


@pytest.mark.parametrize(
    ("classes", "protocol", "half"),
    [(2, "base-to-new", "base"), (3, "base-to-new", "new"), (1, "all-classes", "base")],
)
def test_a_half_of_one_class_is_refused_since_it_is_always_right(
    classes: int, protocol: str, half: str
) -> None:
    animals: Any = Named(("wolf", "lynx", "hare", "fox")[:classes])
    with pytest.raises(ValueError, match=f"{half} half of animals"):
        protocols.evaluation_halves(animals, torch.zeros(classes, 2), Classes(protocol))


@pytest.mark.parametrize(("classes", "protocol"), [(4, "base-to-new"), (2, "all-classes")])
def test_two_classes_in_each_half_are_enough(classes: int, protocol: str) -> None:
    animals: Any = Named(("wolf", "lynx", "hare", "fox")[:classes])
    base, new = protocols.evaluation_halves(animals, torch.zeros(classes, 2), Classes(protocol))
    assert base.names + new.names == animals.class_names
