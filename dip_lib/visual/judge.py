"""What a run of visual prompts sees, and how it is judged: accuracy, attention, density.

Symbols: N training images, M images, V views, S side, n prompts of a block.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from dip_lib.backbone import Backbone
from dip_lib.datasets import Dataset
from dip_lib.density import information_density
from dip_lib.protocols import Split, draws, tested
from dip_lib.randomness import uniform
from dip_lib.spec import RunSpec
from dip_lib.visual.attention import attention
from dip_lib.visual.cvpt import CrossPrompts
from dip_lib.visual.vpt import VisualPrompts

LOOKED_AT = 64
"""Test images, evenly spread, whose attention is described."""
SUBSETS = 20
"""Random subsets of a trained run's prompts that a condensed run's density is compared with."""


@dataclass(frozen=True)
class Seen:
    """What one run sees, as the tower reads it; the images in main memory.

    Attributes:
        train: (V, N, 3, S, S) in half precision, and labels (N,).
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


def images_of(spec: RunSpec, clip: Backbone, dataset: Dataset) -> Seen:
    """The images of a run: its few-shot draw, and the test images of its classes.

    The last ones are kept: runs of the same draw often follow one another.
    """
    train, val = draws([spec], dataset.labels)[spec.seed]
    return _images(clip, dataset, tuple(train), tuple(val), spec.views, spec.protocol)


@lru_cache(maxsize=1)
def _images(
    clip: Backbone,
    dataset: Dataset,
    train: tuple[int, ...],
    val: tuple[int, ...],
    views: int,
    protocol: str,
) -> Seen:
    def shown(split: str, rows: Sequence[int], views: Sequence[int | None]) -> Tensor:
        order = sorted(rows)
        parts = dataset.batches(split, views, order, clip.image_size, clip.device)
        loaded = torch.cat([clip.normalise(part).half().cpu() for part in parts], 1)
        place = {row: i for i, row in enumerate(order)}
        return loaded[:, [place[row] for row in rows]]

    labels = {split: dataset.labels(split).to(clip.device) for split in ("train", "val", "test")}
    halves = tested(dataset, torch.zeros(len(labels["test"]), 0), protocol)
    classes = len(halves[0].names)
    inside = (labels["test"] < classes).nonzero().flatten()  # trained classes come first
    return Seen(
        shown("train", train, range(views)),
        labels["train"][list(train)],
        shown("val", val, (None,))[0],
        labels["val"][list(val)],
        inside.tolist(),
        labels["test"][inside],
        halves,
    )


@torch.no_grad()
def judged(model: VisualPrompts, seen: Seen, clip: Backbone, dataset: Dataset) -> dict[str, Any]:
    """Test and validation accuracy in percent, attention, and the density of the prompts.

    ``id``: ID_1 and ID_2, averaged over the blocks that have prompts. ``counts``, ``mass`` and
    ``map_rank``: of each block.
    """
    model.eval()
    size, device = clip.image_size, clip.device
    parts = dataset.batches("test", (None,), seen.test, size, device)
    right, looked, every, at = [], [], max(1, len(seen.test) // LOOKED_AT), 0
    for (part,) in parts:
        images = clip.normalise(part)
        right.append(model(images).argmax(1) == seen.test_labels[at : at + len(images)])
        looked.append(images[-at % every :: every])
        at += len(images)
    val = [model(part.to(device).float()) for part in seen.val.split(128)]
    held = torch.cat(val).argmax(1)
    row: dict[str, Any] = {
        "base": _percent(torch.cat(right)),
        "new": None,
        "val": _percent(held == seen.val_labels),
        "counts": [len(prompt) for prompt in model.matrices],
        "flops": model.flops(),
        "id": density(model.matrices),
    }
    if not isinstance(model, CrossPrompts):
        row["mass"], row["map_rank"] = attention(model, torch.cat(looked))
    return row


def _percent(right: Tensor) -> float:
    return 100 * float(right.double().mean())


def density(prompts: Sequence[Tensor]) -> list[float | None]:
    """ID_1 and ID_2, averaged over the blocks with (finite) prompts enough for them; or None."""
    found: list[float | None] = []
    finite = [prompt for prompt in prompts if bool(torch.isfinite(prompt).all())]
    for k in (1, 2):
        values = [information_density(p.detach().double(), k) for p in finite if len(p) >= k]
        found.append(float(torch.stack(values).mean()) if values else None)
    return found


def chance_density(model: VisualPrompts, counts: Sequence[int], seed: int) -> list[float]:
    """:func:`density` of random subsets with these counts, on average."""
    drawn = []
    for i in range(SUBSETS):
        rows = [uniform(seed, i, (len(p),), 40 + b) for b, p in enumerate(model.matrices)]
        pairs = zip(model.matrices, rows, counts, strict=True)
        drawn.append(density([p[r.argsort()[:n].to(p.device)] for p, r, n in pairs]))
    columns = zip(*drawn, strict=True)
    return [sum(x for x in column if x is not None) / SUBSETS for column in columns]
