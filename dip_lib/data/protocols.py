"""Protocols: on which images and class names a run trains, and on which it is evaluated.

Base-to-new, as CoCoOp introduced it: the classes in the order of their labels are halved; a run
trains on ``shots`` images of each base class, and is tested on the base half and on the new half,
each among its own names. Which half is base is arbitrary, and datasets are few: ten random halves
stand beside the field's (``class_split``, see :func:`dip_lib.base_new`). All-classes
trains and tests on every class: few-shot learning, and the source of transfer. The images are drawn
over *all* classes before the halving, as the peers do, so that runs of either protocol and of every
class split share them.

Symbols: M images, e embedding size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dip_lib.data.dataset import Dataset
from dip_lib.data.splits import base_new, check_class_split, few_shot
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


def check_protocol(protocol: str, class_split: int) -> None:
    """Raise ValueError for an unknown protocol or class split, or two that do not go together."""
    one_of("protocol", protocol, PROTOCOLS)
    check_class_split(class_split)
    if class_split and protocol != "base-to-new":
        raise ValueError(
            f"{protocol} parts no classes, so it has no class_split = {class_split}: leave it out, "
            "or choose base-to-new"
        )


def trained_and_new(
    labels: Iterable[int], protocol: str, class_split: int = 0
) -> tuple[list[int], list[int]]:
    """The trained classes of a protocol, and the others, each in sorted order.

    Raises:
        ValueError: what :func:`check_protocol` refuses.
    """
    check_protocol(protocol, class_split)
    if protocol == "base-to-new":
        return base_new(labels, class_split)
    return sorted(set(labels)), []


def among(labels: Tensor, classes: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Which labels are of some sorted classes, (N,), and the place of each of these among them."""
    wanted = torch.tensor(classes, dtype=labels.dtype, device=labels.device)
    inside = torch.isin(labels, wanted)
    return inside, torch.searchsorted(wanted, labels[inside]).to(labels.dtype)


def renumbered(labels: Tensor, classes: Sequence[int]) -> Tensor:
    """The place of each label among the trained classes, as a classifier into these counts them.

    Raises:
        ValueError: a label of another class.
    """
    inside, places = among(labels, classes)
    if not inside.all():
        raise ValueError(f"label {labels[~inside][0]} is of no trained class: {list(classes)}")
    return places


def _part(features: Tensor, labels: Tensor, classes: Sequence[int], names: Sequence[str]) -> Split:
    inside, places = among(labels, classes)
    return Split(tuple(names[c] for c in classes), features[..., inside, :], places)


def evaluation_halves(
    dataset: Dataset, test: Tensor, protocol: str, class_split: int = 0
) -> tuple[Split, Split]:
    """Test images of the trained classes and of the others; ``test`` are features (..., M, e).

    Raises:
        ValueError: a half of one class: whatever classifies it, accuracy would be 100 %.
    """
    labels = dataset.labels("test").to(test.device)
    halves = trained_and_new(range(len(dataset.class_names)), protocol, class_split)
    for half, classes in zip(("base", "new"), halves, strict=True):
        if len(classes) == 1:
            raise ValueError(
                f"the {half} half of {dataset.name} has one class, "
                f"{dataset.class_names[classes[0]]!r}, so its accuracy would always be 100 %: "
                f"{protocol} needs more classes"
            )
    base, new = (_part(test, labels, classes, dataset.class_names) for classes in halves)
    return base, new


def draw(
    labels: Callable[[str], Tensor], shots: int, seed: int, protocol: str, class_split: int = 0
) -> Draw:
    """Rows of the training and of the validation images of a run, all of trained classes.

    Args:
        labels: split -> (N,) class index of every image of the dataset.
        shots: training images a class.
        seed: of the draw.
        class_split: which classes are trained; the images of a class are the same in all.

    Source: CoOp's ``datasets/oxford_pets.py::subsample_classes`` and Dassl's
    ``generate_fewshot_dataset``.
    """
    splits = [labels(split).tolist() for split in ("train", "val")]
    trained = set(trained_and_new(splits[0], protocol, class_split)[0])
    drawn = zip(splits, few_shot(splits[0], shots, seed, splits[1]), strict=True)
    train, val = ([i for i in rows if of[i] in trained] for of, rows in drawn)
    return train, val
