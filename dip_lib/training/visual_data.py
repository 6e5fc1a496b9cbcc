"""The images of runs of visual prompts, as the encoder reads them.

Symbols: N training images, M images, V views, S side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from dip_lib.clip.backbone import Backbone
from dip_lib.clip.timm_tower import TimmTower
from dip_lib.data import Dataset
from dip_lib.data.protocols import Classes, Split, among, evaluation_halves, renumbered
from dip_lib.training.batch_data import draws
from dip_lib.training.run import Run


@dataclass(frozen=True)
class VisualData:
    """The images of one run; in main memory.

    Attributes:
        train: (V, N, 3, S, S) in half precision, and labels (N,). Of no views, the images
            themselves.
        val: (M, 3, S, S), of the trained classes and never trained on, and labels (M,).
        test: rows of the dataset's test split, of the trained classes, and labels (M,).
        halves: test images of the trained classes and of the others, as records count them.
    """

    train: Tensor
    train_labels: Tensor
    val: Tensor
    val_labels: Tensor
    test: list[int]
    test_labels: Tensor
    halves: tuple[Split, Split]


def visual_data(run: Run, clip: Backbone | TimmTower, dataset: Dataset) -> VisualData:
    """The images of a run: its few-shot draw, and the test images of its classes.

    The last ones are kept: runs of the same draw often follow one another.
    """
    ((train, val),) = draws([run], dataset)
    return _load(clip, dataset, tuple(train), tuple(val), run.data.views, run.data.classes)


@lru_cache(maxsize=1)
def _load(
    clip: Backbone | TimmTower,
    dataset: Dataset,
    train: tuple[int, ...],
    val: tuple[int, ...],
    views: int,
    which: Classes,
) -> VisualData:
    def pixels(split: str, rows: Sequence[int], views: Sequence[int | None]) -> Tensor:
        order = sorted(rows)
        parts = dataset.batches(split, views, order, clip.image_size, clip.device)
        loaded = torch.cat([clip.normalise(part).half().cpu() for part in parts], 1)
        place = {row: i for i, row in enumerate(order)}
        return loaded[:, [place[row] for row in rows]]

    labels = {split: dataset.labels(split).to(clip.device) for split in ("train", "val", "test")}
    nothing = torch.zeros(len(labels["test"]), 0)
    halves = evaluation_halves(dataset, nothing, which)
    classes, _ = which.part(range(len(dataset.class_names)))
    tested, test_labels = among(labels["test"], classes)
    return VisualData(
        pixels("train", train, tuple(range(views)) or (None,)),
        renumbered(labels["train"][list(train)], classes),
        pixels("val", val, (None,))[0],
        renumbered(labels["val"][list(val)], classes),
        tested.nonzero().flatten().tolist(),
        test_labels,
        halves,
    )
