"""Protocols: which images and class names a run trains on, and which judge it.

Base-to-new, as CoCoOp introduced it: the classes in the order of their labels are halved; a run
trains on ``shots`` images of each base class, and is tested on the base half and on the new half,
each among its own names. The images are drawn over *all* classes before the halving, as the peers
do, so that base-to-new and few-shot runs of a seed share them.

Symbols: R runs, V views, N training images, M test images, C base classes, e embedding size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dip_lib.datasets import Dataset, base_new, few_shot
from dip_lib.features import Draw, Features
from dip_lib.spec import RunSpec


@dataclass(frozen=True)
class Split:
    """Half of the classes: their names, their test images, labels from 0."""

    names: tuple[str, ...]
    images: Tensor  # (M, e)
    labels: Tensor  # (M,)


@dataclass(frozen=True)
class Task:
    """Base-to-new data of R runs."""

    names: tuple[str, ...]  # C base class names
    images: Tensor  # (R, V, N, e) training views
    labels: Tensor  # (R, N)
    val: list[Split]  # one a run
    base: Split
    new: Split


def _half(features: Tensor, labels: Tensor, classes: Sequence[int], names: Sequence[str]) -> Split:
    inside = torch.isin(labels, torch.tensor(classes, device=labels.device))
    # labels of either half are consecutive, so they start from 0 after subtracting the first
    return Split(tuple(names[c] for c in classes), features[inside], labels[inside] - min(classes))


def draws(specs: Iterable[RunSpec], labels: Callable[[str], Tensor]) -> dict[int, Draw]:
    """Seed -> rows of the training and of the validation images, all of base classes.

    Args:
        specs: runs that share dataset and shots.
        labels: split -> (N,) class index of every image of the dataset.

    Source: CoOp's ``datasets/oxford_pets.py::subsample_classes`` and Dassl's
    ``generate_fewshot_dataset``.
    """
    splits = [labels(split).tolist() for split in ("train", "val")]
    base, found = set(base_new(splits[0])[0]), dict[int, Draw]()
    for seed, shots in {(spec.seed, spec.shots) for spec in specs}:
        rows = few_shot(splits[0], shots, seed, splits[1])
        pairs = zip(splits, rows, strict=True)
        train, val = ([i for i in drawn if of[i] in base] for of, drawn in pairs)
        found[seed] = train, val
    return found


def base_to_new(specs: Sequence[RunSpec], dataset: Dataset, features: Features) -> Task:
    """The data of R base-to-new runs that share dataset, shots and views."""
    names, labels = dataset.class_names, features.labels
    base, new = base_new(labels["train"].tolist())
    found, base_names = draws(specs, labels.__getitem__), tuple(names[c] for c in base)
    rows = [found[spec.seed] for spec in specs]
    return Task(
        base_names,
        torch.stack([features.pick("train", train) for train, _ in rows]),
        torch.stack([labels["train"][train] for train, _ in rows]),
        [Split(base_names, features.pick("val", val), labels["val"][val]) for _, val in rows],
        _half(features.test, labels["test"], base, names),
        _half(features.test, labels["test"], new, names),
    )
