"""Which images and names a run sees under each protocol, and which judge it."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Any

import pytest
import torch

from dip_lib import load_backbone, protocols
from dip_lib.clip.features import Features, load_features
from dip_lib.data import Dataset, load_dataset
from dip_lib.data.protocols import Task, draws, halves
from dip_lib.errors import UnknownNameError
from dip_lib.training.run import RunSpec

SPLITS = ("train", "val", "test")


def numbered(dataset: Dataset, views: int = 2) -> Features:
    """Features that say which image they are: (view, index)."""
    labels = {split: dataset.labels(split) for split in SPLITS}

    def each(split: str, view: int) -> torch.Tensor:
        index = torch.arange(len(labels[split]))
        return torch.stack([torch.full_like(index, view), index], 1).float()

    train = torch.stack([each("train", view) for view in range(views)])
    return Features(train, each("val", 0), each("test", 0), labels)


def run(method: str = "coop", seed: int = 1, shots: int = 16, **changes: Any) -> RunSpec:
    return RunSpec(dataset="greek", method=method, seed=seed, shots=shots, **changes)


def task_of(name: str, specs: Sequence[RunSpec]) -> tuple[Dataset, Features, Task]:
    dataset = load_dataset(name)
    features = numbered(dataset)
    return dataset, features, protocols.task(specs, dataset, features)


@pytest.mark.parametrize("name", ["greek", "boxes", "dominoes"])
def test_the_halves_are_disjoint_and_cover_every_class_and_test_image(name: str) -> None:
    dataset, features, task = task_of(name, [run()])
    count = len(dataset.class_names)
    assert task.base.names + task.new.names == dataset.class_names
    assert len(task.base.names) == math.ceil(count / 2)
    assert task.names == task.base.names == task.val.names
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
    (images,), (labels,) = task.val.images, task.val.labels
    assert torch.bincount(labels).tolist() == [held] * len(task.names)
    assert torch.equal(features.labels["val"][images[:, 1].long()], labels)


def test_methods_of_one_seed_see_the_same_images_and_seeds_see_others() -> None:
    _, _, task = task_of("greek", [run("coop"), run("dip"), run("coop", seed=2)])
    assert torch.equal(task.images[0], task.images[1])
    assert torch.equal(task.val.images[0], task.val.images[1])
    assert not torch.equal(task.images[0], task.images[2])
    assert not torch.equal(task.val.images[0], task.val.images[2])
    assert task.rows == tuple(drawn.long().tolist() for drawn in task.images[:, 0, :, 1])


def test_more_shots_than_images_uses_them_all_and_says_so() -> None:
    dataset, features = load_dataset("greek"), numbered(load_dataset("greek"))
    with pytest.warns(UserWarning, match="56"):
        found = protocols.task([run(shots=100)], dataset, features)
    assert found.images.shape[2] == 28 * 48


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
    task = protocols.task(runs, dataset, part)
    assert torch.equal(task.images, expected.images)
    assert torch.equal(task.labels, expected.labels)
    for here, there in ((task.val, expected.val), (task.new, expected.new)):
        assert here.names == there.names
        assert torch.equal(here.images, there.images)
        assert torch.equal(here.labels, there.labels)


# ---- all classes --------------------------------------------------------------------------------


def test_the_protocols_part_the_classes_and_an_unknown_one_is_refused() -> None:
    labels = [4, 0, 2, 2, 1, 3]
    assert halves(labels, "base-to-new") == ([0, 1, 2], [3, 4])
    assert halves(labels, "all-classes") == ([0, 1, 2, 3, 4], [])
    with pytest.raises(UnknownNameError, match="'all'"):
        halves(labels, "all")


def test_on_all_classes_every_class_is_trained_held_and_tested_and_none_is_new() -> None:
    dataset, features, task = task_of("greek", [run(shots=2, protocol="all-classes")])
    count = len(dataset.class_names)
    assert task.names == task.base.names == task.val.names == dataset.class_names
    assert torch.bincount(task.labels[0]).tolist() == [2] * count
    assert torch.bincount(task.val.labels[0]).tolist() == [2] * count
    assert task.base.images[:, 1].tolist() == list(range(len(features.test)))
    assert torch.equal(task.base.labels, features.labels["test"])
    assert task.new.names == ()
    assert task.new.images.shape == (0, 2)
    assert len(task.new.labels) == 0


def test_the_protocols_draw_the_same_images_of_the_base_classes() -> None:
    dataset, features, half = task_of("greek", [run(shots=4)])
    every = protocols.task([run(shots=4, protocol="all-classes")], dataset, features)
    base = every.labels[0] < len(half.names)
    assert torch.equal(every.images[:, :, base], half.images)
    assert [row for row, kept in zip(every.rows[0], base, strict=True) if kept] == half.rows[0]
    base = every.val.labels[0] < len(half.names)
    assert torch.equal(every.val.images[:, base], half.val.images)


def test_features_of_each_run_are_parted_like_those_that_runs_share() -> None:
    dataset, features, task = task_of("boxes", [run()])
    own = torch.stack([features.test, features.test + 0.5])  # as under prompts in the image tower
    for part, expected in zip(
        protocols.tested(dataset, own, "base-to-new"), (task.base, task.new), strict=True
    ):
        assert part.names == expected.names
        assert torch.equal(part.labels, expected.labels)
        assert torch.equal(part.images, torch.stack([expected.images, expected.images + 0.5]))


def test_pixels_are_the_pictures_whose_features_a_run_trains_on() -> None:
    clip, dataset = load_backbone("glyph-resnet"), load_dataset("greek")
    runs = [run(seed=seed, shots=1, views=2) for seed in (1, 2, 1)]
    features = load_features(clip, dataset, 2, draws(runs, dataset.labels).values())
    task = protocols.task(runs, dataset, features)
    found = protocols.pixels(task, dataset, clip, 2)
    assert found.shape == (3, 2, len(task.names), 3, 48, 48)
    assert found.dtype == torch.float16
    encoded = clip.encode_image(found.flatten(0, 2).float()).view_as(task.images)
    torch.testing.assert_close(encoded, task.images, rtol=0, atol=2e-3)
    apart = (task.images[0] - task.images[1]).abs().amax()
    assert apart > 0.05  # other pictures are further away than half precision
