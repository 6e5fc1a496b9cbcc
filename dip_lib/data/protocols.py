"""Protocols: on which images and class names a run trains, and on which it is evaluated.

Base-to-new, as CoCoOp introduced it: the classes in the order of their labels are halved; a run
trains on ``shots`` images of each base class, and is tested on the base half and on the new half,
each among its own names. Which half is base is arbitrary, and datasets are few: ten random halves
stand beside the field's (``class_split``, see :func:`dip_lib.base_new`). All-classes
trains and tests on every class: few-shot learning, and the source of transfer. The images are drawn
over *all* classes before the halving, as the peers do, so that runs of either protocol and of every
class split share them.

Settings can be chosen without a look at new classes: a run may leave a third of the base classes
out of its training (``held_out``), and is then evaluated on validation images of both parts. The
new classes and all test images play no part in it.

Symbols: R runs, M images, e embedding size.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from dip_lib.data.dataset import Dataset
from dip_lib.data.splits import base_new, check_class_split, few_shot
from dip_lib.errors import one_of

PROTOCOLS = ("base-to-new", "all-classes")
FOLDS = 3
"""Parts of the base classes, each of which can be left out of training."""
Draw = tuple[list[int], list[int]]
"""Rows of the training and of the validation images of a few-shot run."""


@dataclass(frozen=True)
class Split:
    """Some classes: their names, image features of them, labels from 0."""

    names: tuple[str, ...]
    images: Tensor  # (M, e), or (R, M, e)
    labels: Tensor  # (M,), or (R, M)


@dataclass(frozen=True)
class Classes:
    """Which classes a run trains on, and which others it is evaluated on.

    Args:
        protocol: "base-to-new" or "all-classes".
        class_split: which half of the classes is base, as :func:`dip_lib.base_new` counts halves.
        held_out: 0: the base classes are trained, the others are new; 1 to 3: this third of the
            base classes (``thirds``) is not trained and takes the place of the new classes,
            and evaluation is on validation images.

    Raises:
        ValueError: an unknown protocol, class split or third, or ones that do not go together.
    """

    protocol: str = "base-to-new"
    class_split: int = 0
    held_out: int = 0

    def __post_init__(self) -> None:
        one_of("protocol", self.protocol, PROTOCOLS)
        check_class_split(self.class_split)
        if self.held_out not in range(FOLDS + 1):
            raise ValueError(
                f"held_out = {self.held_out!r} is not 0, none, or a third of the base classes from "
                f"1 to {FOLDS}"
            )
        for name in ("class_split", "held_out"):
            if getattr(self, name) and self.protocol != "base-to-new":
                raise ValueError(
                    f"{self.protocol} parts no classes, so it has no {name} = "
                    f"{getattr(self, name)}: leave it out, or choose base-to-new"
                )

    def part(self, labels: Iterable[int]) -> tuple[list[int], list[int]]:
        """The trained classes, and the others that a run is evaluated on, each in sorted order.

        Args:
            labels: the class of each image, or each class once.
        """
        if self.protocol == "all-classes":
            return sorted(set(labels)), []
        base, new = base_new(labels, self.class_split)
        if not self.held_out:
            return base, new
        left_out = thirds(base)[self.held_out - 1]
        return [c for c in base if c not in left_out], left_out

    @property
    def shared_draw(self) -> Classes:
        """Those whose draw has the images of this one's, and which other runs have, too.

        Its features are encoded once for all thirds of a class split, or for all class splits.
        """
        if self.class_split:
            return Classes("all-classes")
        return replace(self, held_out=0)


def thirds(classes: Sequence[int]) -> list[list[int]]:
    """Three parts of some classes, of sizes that differ by one at most, each in sorted order.

    Class c has the sha256 of "class {c}, held out", and the classes are dealt out in the order of
    these: a function of the indices alone, on every machine.
    """
    texts = {c: f"class {c}, held out".encode() for c in classes}
    order = sorted(classes, key=lambda c: hashlib.sha256(texts[c]).digest())
    return [sorted(order[fold::FOLDS]) for fold in range(FOLDS)]


def folds(count: int, class_split: int = 0) -> list[int]:
    """The values of ``held_out`` that can be evaluated: both parts have two classes or more.

    Args:
        count: classes of the dataset, base and new ones.
    """
    parts = {k: Classes(class_split=class_split, held_out=k) for k in range(1, FOLDS + 1)}
    return [k for k, each in parts.items() if min(map(len, each.part(range(count)))) > 1]


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


def class_halves(dataset: Dataset, classes: Classes) -> tuple[list[int], list[int]]:
    """The trained classes of a dataset and the others, by index.

    Raises:
        ValueError: a half of one class: whatever classifies it, accuracy would be 100 %.
    """
    halves = classes.part(range(len(dataset.class_names)))
    for half, indices in zip(("base", "new"), halves, strict=True):
        if len(indices) == 1:
            raise ValueError(
                f"the {half} half of {dataset.name} has one class, "
                f"{dataset.class_names[indices[0]]!r}, so its accuracy would always be 100 %: "
                f"{classes} needs more classes"
            )
    return halves


def evaluation_halves(dataset: Dataset, test: Tensor, classes: Classes) -> tuple[Split, Split]:
    """Test images of the trained classes and of the others; ``test`` are features (..., M, e).

    Raises:
        ValueError: what ``class_halves`` refuses.
    """
    labels = dataset.labels("test").to(test.device)
    base, new = (
        Split(tuple(dataset.class_names[c] for c in half), test[..., inside, :], places)
        for half in class_halves(dataset, classes)
        for inside, places in [among(labels, half)]
    )
    return base, new


def drawn_halves(
    dataset: Dataset, images: Tensor, labels: Tensor, classes: Classes
) -> tuple[Split, Split]:
    """Images that R runs have drawn, of the trained classes and of the others.

    Args:
        images: (R, M, e) features.
        labels: (R, M) class indices; every run has as many images of a class.

    Raises:
        ValueError: what ``class_halves`` refuses.
    """
    runs, size = len(images), images.shape[-1]
    base, new = (
        Split(
            tuple(dataset.class_names[c] for c in half),
            images[inside].view(runs, -1, size),
            places.view(runs, -1),
        )
        for half in class_halves(dataset, classes)
        for inside, places in [among(labels, half)]
    )
    return base, new


def draw(labels: Callable[[str], Tensor], shots: int, seed: int, classes: Classes) -> Draw:
    """Rows of the training and of the validation images of a run.

    Those are of trained classes; if a third of the base classes is held out, there are validation
    images of it, too.

    Args:
        labels: split -> (N,) class index of every image of the dataset.
        shots: training images a class.
        seed: of the draw.
        classes: which are trained; the images of a class are the same in all.

    Source: CoOp's ``datasets/oxford_pets.py::subsample_classes`` and Dassl's
    ``generate_fewshot_dataset``.
    """
    of_train, of_val = (labels(split).tolist() for split in ("train", "val"))
    trained, others = classes.part(of_train)
    train, val = few_shot(of_train, shots, seed, of_val)
    of_trained, of_validated = set(trained), {*trained, *(others if classes.held_out else ())}
    return (
        [i for i in train if of_train[i] in of_trained],
        [i for i in val if of_val[i] in of_validated],
    )
