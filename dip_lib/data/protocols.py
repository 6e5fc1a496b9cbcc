"""Protocols: on which images and class names a run trains, and on which it is evaluated.

Base-to-new, as CoCoOp introduced it: the classes in the order of their labels are halved; a run
trains on ``shots`` images of each base class, and is tested on the base half and on the new half,
each among its own names. All-classes trains and tests on every class: few-shot learning, and the
source of transfer. The images are drawn over *all* classes before the halving, as the peers do, so
that runs of either protocol share them.

Symbols: M images, e embedding size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dip_lib.data.dataset import Dataset
from dip_lib.data.splits import base_new, few_shot
from dip_lib.errors import one_of

PROTOCOLS = ("base-to-new", "all-classes")
Draw = tuple[list[int], list[int]]
"""Rows of the training and of the validation images of a few-shot run."""


@dataclass(frozen=True)
class Split:
    """Some classes: their names, image features of them, labels from 0."""

    names: tuple[str, ...]
    images: Tensor  # (M, e), or (R, M, e)
    labels: Tensor  # (M,), or (R, M)


def trained_and_new(labels: Iterable[int], protocol: str) -> tuple[list[int], list[int]]:
    """The trained classes of a protocol, and the others. Raises ValueError: an unknown protocol."""
    one_of("protocol", protocol, PROTOCOLS)
    return base_new(labels) if protocol == "base-to-new" else (sorted(set(labels)), [])


def _part(features: Tensor, labels: Tensor, classes: Sequence[int], names: Sequence[str]) -> Split:
    inside = torch.isin(labels, torch.tensor(classes, dtype=labels.dtype, device=labels.device))
    # labels of either half are consecutive, so they start from 0 after subtracting the first
    first = min(classes, default=0)
    return Split(tuple(names[c] for c in classes), features[..., inside, :], labels[inside] - first)


def evaluation_halves(dataset: Dataset, test: Tensor, protocol: str) -> tuple[Split, Split]:
    """Test images of the trained classes and of the others; ``test`` are features (..., M, e).

    Raises:
        ValueError: a half of one class: whatever classifies it, accuracy would be 100 %.
    """
    labels = dataset.labels("test").to(test.device)
    halves = trained_and_new(range(len(dataset.class_names)), protocol)
    for half, classes in zip(("base", "new"), halves, strict=True):
        if len(classes) == 1:
            raise ValueError(
                f"the {half} half of {dataset.name} has one class, "
                f"{dataset.class_names[classes[0]]!r}, so its accuracy would always be 100 %: "
                f"{protocol} needs more classes"
            )
    base, new = (_part(test, labels, classes, dataset.class_names) for classes in halves)
    return base, new


def draw(labels: Callable[[str], Tensor], shots: int, seed: int, protocol: str) -> Draw:
    """Rows of the training and of the validation images of a run, all of trained classes.

    Args:
        labels: split -> (N,) class index of every image of the dataset.
        shots: training images a class.
        seed: of the draw.

    Source: CoOp's ``datasets/oxford_pets.py::subsample_classes`` and Dassl's
    ``generate_fewshot_dataset``.
    """
    splits = [labels(split).tolist() for split in ("train", "val")]
    trained = set(trained_and_new(splits[0], protocol)[0])
    drawn = zip(splits, few_shot(splits[0], shots, seed, splits[1]), strict=True)
    train, val = ([i for i in rows if of[i] in trained] for of, rows in drawn)
    return train, val
