"""Base-to-new: which images and names a run sees, and which judge it."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

import pytest
import torch

from dip_lib.datasets import Dataset, load_dataset
from dip_lib.features import Features
from dip_lib.protocols import Task, base_to_new, draws
from dip_lib.spec import RunSpec

SPLITS = ("train", "val", "test")


def numbered(dataset: Dataset, views: int = 2) -> Features:
    """Features that say which image they are: (view, index)."""
    labels = {split: dataset.labels(split) for split in SPLITS}

    def each(split: str, view: int) -> torch.Tensor:
        index = torch.arange(len(labels[split]))
        return torch.stack([torch.full_like(index, view), index], 1).float()

    train = torch.stack([each("train", view) for view in range(views)])
    return Features(train, each("val", 0), each("test", 0), labels)


def run(method: str = "coop", seed: int = 1, shots: int = 16) -> RunSpec:
    return RunSpec(dataset="greek", method=method, seed=seed, shots=shots)


def task_of(name: str, specs: Sequence[RunSpec]) -> tuple[Dataset, Features, Task]:
    dataset = load_dataset(name)
    features = numbered(dataset)
    return dataset, features, base_to_new(specs, dataset, features)


@pytest.mark.parametrize("name", ["greek", "boxes", "dominoes"])
def test_the_halves_are_disjoint_and_cover_every_class_and_test_image(name: str) -> None:
    dataset, features, task = task_of(name, [run()])
    count = len(dataset.class_names)
    assert task.base.names + task.new.names == dataset.class_names
    assert len(task.base.names) == math.ceil(count / 2)
    assert task.names == task.base.names == task.val[0].names
    seen = torch.cat([task.base.images[:, 1], task.new.images[:, 1]]).long()
    assert sorted(seen.tolist()) == list(range(len(features.test)))
    for half in (task.base, task.new):
        true = [dataset.class_names[c] for c in features.labels["test"][half.images[:, 1].long()]]
        assert [half.names[label] for label in half.labels] == true


@pytest.mark.parametrize("shots", [1, 16])
@pytest.mark.parametrize("seed", [1, 2])
def test_images_are_those_the_peers_draw_over_all_classes(seed: int, shots: int) -> None:
    dataset, features, task = task_of("greek", [run(seed=seed, shots=shots)])
    labels = features.labels["train"].tolist()
    # Dassl's generate_fewshot_dataset with the standard library, then CoOp's subsample_classes
    rng = random.Random(seed)
    drawn: list[int] = []
    for label in dict.fromkeys(labels):
        drawn += rng.sample([i for i, other in enumerate(labels) if other == label], shots)
    base = math.ceil(len(dataset.class_names) / 2)
    expected = [i for i in drawn if labels[i] < base]
    assert task.images[0, 0, :, 1].long().tolist() == expected
    assert task.labels[0].tolist() == [labels[i] for i in expected]
    assert torch.bincount(task.labels[0]).tolist() == [shots] * base


def test_every_view_shows_the_same_images() -> None:
    _, _, task = task_of("greek", [run()])
    assert task.images.shape[1] == 2
    assert torch.equal(task.images[:, 0, :, 1], task.images[:, 1, :, 1])
    assert task.images[0, :, 0, 0].tolist() == [0, 1]


@pytest.mark.parametrize(("shots", "held"), [(1, 1), (2, 2), (4, 4), (16, 4)])
def test_validation_has_at_most_four_images_of_each_base_class(shots: int, held: int) -> None:
    _, features, task = task_of("greek", [run(shots=shots)])
    (val,) = task.val
    assert torch.bincount(val.labels).tolist() == [held] * len(task.names)
    assert torch.equal(features.labels["val"][val.images[:, 1].long()], val.labels)


def test_methods_of_one_seed_see_the_same_images_and_seeds_see_others() -> None:
    _, _, task = task_of("greek", [run("coop"), run("dip"), run("coop", seed=2)])
    assert torch.equal(task.images[0], task.images[1])
    assert torch.equal(task.val[0].images, task.val[1].images)
    assert not torch.equal(task.images[0], task.images[2])


def test_more_shots_than_images_uses_them_all_and_says_so() -> None:
    dataset, features = load_dataset("greek"), numbered(load_dataset("greek"))
    with pytest.warns(UserWarning, match="56 of 56 classes have fewer than 100 training"):
        task = base_to_new([run(shots=100)], dataset, features)
    assert task.images.shape[2] == 28 * 48


def test_features_of_the_draws_alone_give_the_same_task() -> None:
    runs = [run("coop"), run("dip", seed=2), run("dip")]
    dataset, whole, expected = task_of("greek", runs)
    found = draws(runs, dataset.labels)
    assert sorted(found) == [1, 2]
    drawn = {}
    for train, val in found.values():
        assert set(whole.labels["train"][train].tolist()) == set(range(28))  # base classes alone
        drawn["train", tuple(train)] = whole.pick("train", train)
        drawn["val", tuple(val)] = whole.pick("val", val)
    part = Features(whole.train[:, :0], whole.val[:0], whole.test, whole.labels, drawn)
    task = base_to_new(runs, dataset, part)
    assert torch.equal(task.images, expected.images)
    assert torch.equal(task.labels, expected.labels)
    for here, there in zip([*task.val, task.new], [*expected.val, expected.new], strict=True):
        assert here.names == there.names
        assert torch.equal(here.images, there.images)
        assert torch.equal(here.labels, there.labels)
