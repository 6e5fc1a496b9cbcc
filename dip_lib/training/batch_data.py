"""What R runs train on, and, apart from it, what evaluates them.

Symbols: R runs, V views, N training images, M images, C trained classes, e embedding size, S side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dip_lib.clip.backbone import Backbone
from dip_lib.clip.features import Features
from dip_lib.data import Dataset
from dip_lib.data.protocols import (
    Draw,
    Split,
    class_halves,
    draw,
    drawn_halves,
    evaluation_halves,
    renumbered,
)
from dip_lib.training.run import Run


@dataclass(frozen=True)
class TrainingData:
    """What R runs train on.

    Attributes:
        names: the C trained classes.
        template: the dataset's hand-written one, with {} for the class name.
        images: (R, V, N, e) features of the training views.
        labels: (R, N).
        pixels: (R, V, N, 3, S, S), the images as the encoder reads them, in half precision and in
            main memory; only for methods that prompt the image encoder.
    """

    names: tuple[str, ...]
    template: str
    images: Tensor
    labels: Tensor
    pixels: Tensor | None = None


@dataclass(frozen=True)
class EvaluationData:
    """What evaluates R runs; nothing of it is trained on.

    Attributes:
        base: test images of the trained classes; if a third of the base classes is held out,
            validation images, (R, M, e).
        new: the same of the others; without classes in the protocol "all-classes".
        val: validation images of the trained classes, (R, M, e).
    """

    base: Split
    new: Split
    val: Split

    def of_runs(self, places: list[int]) -> EvaluationData:
        """The same for some of the R runs; what all share stays shared."""

        def part(split: Split) -> Split:
            if split.labels.dim() == 1:
                return split
            return Split(split.names, split.images[places], split.labels[places])

        return EvaluationData(part(self.base), part(self.new), part(self.val))


def draws(runs: Sequence[Run], dataset: Dataset) -> list[Draw]:
    """The rows of the training and of the validation images of each run."""
    settings = [(run.data.shots, run.seed, run.data.classes) for run in runs]
    distinct = {each: draw(dataset.labels, *each) for each in dict.fromkeys(settings)}
    return [distinct[each] for each in settings]


def halves(run: Run, dataset: Dataset, test: Tensor) -> tuple[Split, Split]:
    """Test images of the run's trained classes and of the others; features (..., M, e)."""
    return evaluation_halves(dataset, test, run.data.classes)


def trained_classes(run: Run, dataset: Dataset) -> list[int]:
    """The trained classes of a run, in the order of its class names."""
    return class_halves(dataset, run.data.classes)[0]


def training_data(
    runs: Sequence[Run],
    dataset: Dataset,
    features: Features,
    rows: Sequence[Draw],
    clip: Backbone | None = None,
) -> TrainingData:
    """The training data of R runs that share dataset, classes, shots and views.

    Args:
        rows: of each run (:func:`draws`).
        clip: given for methods that prompt the image encoder, which read pixels, too.
    """
    train = [each for each, _ in rows]
    classes = trained_classes(runs[0], dataset)
    return TrainingData(
        tuple(dataset.class_names[c] for c in classes),
        dataset.template,
        torch.stack([features.pick("train", each) for each in train]),
        torch.stack([renumbered(features.labels["train"][each], classes) for each in train]),
        _pixels(train, dataset, clip, runs[0].data.views) if clip else None,
    )


def evaluation_data(
    runs: Sequence[Run], dataset: Dataset, features: Features, rows: Sequence[Draw]
) -> EvaluationData:
    """The evaluation data of R runs that share dataset, classes and shots."""
    images = torch.stack([features.pick("val", each) for _, each in rows])
    labels = torch.stack([features.labels["val"][each] for _, each in rows])
    val, left_out = drawn_halves(dataset, images, labels, runs[0].data.classes)
    if runs[0].data.held_out:
        return EvaluationData(val, left_out, val)
    return EvaluationData(*halves(runs[0], dataset, features.test), val)


def _pixels(rows: Sequence[list[int]], dataset: Dataset, clip: Backbone, views: int) -> Tensor:
    wanted = sorted({row for each in rows for row in each})
    parts = dataset.batches("train", tuple(range(views)), wanted, clip.image_size, clip.device)
    loaded = torch.cat([clip.normalise(part).half().cpu() for part in parts], 1)
    place = {row: i for i, row in enumerate(wanted)}
    return torch.stack([loaded[:, [place[row] for row in each]] for each in rows])
