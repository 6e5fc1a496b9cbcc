"""Protocols: which images and class names a run trains on, and which judge it.

Base-to-new, as CoCoOp introduced it: the classes in the order of their labels are halved; a run
trains on ``shots`` images of each base class, and is tested on the base half and on the new half,
each among its own names. All-classes trains and tests on every class: few-shot learning, and the
source of transfer. The images are drawn over *all* classes before the halving, as the peers do, so
that runs of either protocol share them.

Symbols: R runs, V views, N training images, M images, C trained classes, e embedding size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dip_lib.backbone import Backbone
from dip_lib.datasets import Dataset, base_new, few_shot
from dip_lib.errors import one_of
from dip_lib.features import Draw, Features
from dip_lib.spec import RunSpec

PROTOCOLS = ("base-to-new", "all-classes")


@dataclass(frozen=True)
class Split:
    """Some classes: their names, images of them, labels from 0."""

    names: tuple[str, ...]
    images: Tensor  # (M, e), or (R, M, e)
    labels: Tensor  # (M,), or (R, M)


@dataclass(frozen=True)
class Task:
    """What R runs train on, and what judges them.

    Attributes:
        names: the C trained classes.
        images: (R, V, N, e) features of the training views.
        labels: (R, N).
        val: images of the trained classes, (R, M, e), never trained on.
        base: test images of the trained classes.
        new: test images of the others; without classes in the protocol "all-classes".
        rows: for each run the indices of its training images in the dataset's train split.
    """

    names: tuple[str, ...]
    images: Tensor
    labels: Tensor
    val: Split
    base: Split
    new: Split
    rows: tuple[list[int], ...] = ()


def halves(labels: Iterable[int], protocol: str) -> tuple[list[int], list[int]]:
    """The trained classes of a protocol, and the others. Raises ValueError: an unknown protocol."""
    one_of("protocol", protocol, PROTOCOLS)
    return base_new(labels) if protocol == "base-to-new" else (sorted(set(labels)), [])


def _part(features: Tensor, labels: Tensor, classes: Sequence[int], names: Sequence[str]) -> Split:
    inside = torch.isin(labels, torch.tensor(classes, dtype=labels.dtype, device=labels.device))
    # labels of either half are consecutive, so they start from 0 after subtracting the first
    first = min(classes, default=0)
    return Split(tuple(names[c] for c in classes), features[..., inside, :], labels[inside] - first)


def tested(dataset: Dataset, test: Tensor, protocol: str) -> tuple[Split, Split]:
    """Test images of the trained classes and of the others; ``test`` are features (..., M, e)."""
    labels = dataset.labels("test").to(test.device)
    base, new = halves(range(len(dataset.class_names)), protocol)
    return (
        _part(test, labels, base, dataset.class_names),
        _part(test, labels, new, dataset.class_names),
    )


def draws(specs: Iterable[RunSpec], labels: Callable[[str], Tensor]) -> dict[int, Draw]:
    """Seed -> rows of the training and of the validation images, all of trained classes.

    Args:
        specs: runs that share dataset, protocol and shots.
        labels: split -> (N,) class index of every image of the dataset.

    Source: CoOp's ``datasets/oxford_pets.py::subsample_classes`` and Dassl's
    ``generate_fewshot_dataset``.
    """
    splits, found = [labels(split).tolist() for split in ("train", "val")], dict[int, Draw]()
    for seed, shots, protocol in {(spec.seed, spec.shots, spec.protocol) for spec in specs}:
        base = set(halves(splits[0], protocol)[0])
        rows = few_shot(splits[0], shots, seed, splits[1])
        pairs = zip(splits, rows, strict=True)
        train, val = ([i for i in drawn if of[i] in base] for of, drawn in pairs)
        found[seed] = train, val
    return found


def task(specs: Sequence[RunSpec], dataset: Dataset, features: Features) -> Task:
    """The data of R runs that share dataset, protocol, shots and views."""
    labels, found = features.labels, draws(specs, features.labels.__getitem__)
    base, new = tested(dataset, features.test, specs[0].protocol)
    train, val = zip(*(found[spec.seed] for spec in specs), strict=True)
    held = Split(
        base.names,
        torch.stack([features.pick("val", rows) for rows in val]),
        torch.stack([labels["val"][rows] for rows in val]),
    )
    return Task(
        base.names,
        torch.stack([features.pick("train", rows) for rows in train]),
        torch.stack([labels["train"][rows] for rows in train]),
        held,
        base,
        new,
        train,
    )


def pixels(task: Task, dataset: Dataset, clip: Backbone, views: int) -> Tensor:
    """The training images as the tower reads them, (R, V, N, 3, S, S), in half precision.

    Kept in main memory, where a method that prompts the image tower takes them a batch at a time.
    """
    every = sorted({row for rows in task.rows for row in rows})
    parts = dataset.batches("train", tuple(range(views)), every, clip.image_size, clip.device)
    loaded = torch.cat([clip.normalise(part).half().cpu() for part in parts], 1)
    place = {row: i for i, row in enumerate(every)}
    return torch.stack([loaded[:, [place[row] for row in rows]] for rows in task.rows])
