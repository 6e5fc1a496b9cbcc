"""Evaluating visual prompts: accuracy, attention, and the Information Density of the prompts.

Symbols: M images, n prompts of a block.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from dip_lib.clip.backbone import Backbone
from dip_lib.clip.timm_tower import TimmTower
from dip_lib.data import Dataset
from dip_lib.methods.vpt import VisualPrompts
from dip_lib.prompt.density import information_density
from dip_lib.randomness import uniform
from dip_lib.training.attention import attention
from dip_lib.training.visual_data import VisualData

ATTENTION_IMAGES = 64
"""Test images, evenly spread, whose attention is described."""
SUBSETS = 20
"""Random subsets of a trained run's prompts that a condensed run's density is compared with."""


@torch.no_grad()
def evaluate_visual(
    model: VisualPrompts, data: VisualData, clip: Backbone | TimmTower, dataset: Dataset
) -> dict[str, Any]:
    """Test and validation accuracy in percent, attention, and the density of the prompts.

    ``id``: ID_1 and ID_2, averaged over the blocks that have prompts. ``counts``, ``mass`` and
    ``map_rank``: of each block.
    """
    model.eval()
    size, device = clip.image_size, clip.device
    parts = dataset.batches("test", (None,), data.test, size, device)
    right, for_attention, begin = [], [], 0
    stride = max(1, len(data.test) // ATTENTION_IMAGES)
    for (part,) in parts:
        images = clip.normalise(part)
        right.append(model(images).argmax(1) == data.test_labels[begin : begin + len(images)])
        for_attention.append(images[-begin % stride :: stride])
        begin += len(images)
    val = [model(part.to(device).float()) for part in data.val.split(128)]
    val_best = torch.cat(val).argmax(1)
    row: dict[str, Any] = {
        "base": _percent(torch.cat(right)),
        "new": None,
        "val": _percent(val_best == data.val_labels),
        "counts": [len(prompt) for prompt in model.matrices],
        "flops": model.flops(),
        "id": density(model.matrices),
    }
    if model.in_sequence:
        row["mass"], row["map_rank"] = attention(model, torch.cat(for_attention))
    return row


def _percent(right: Tensor) -> float:
    return 100 * float(right.double().mean())


def density(prompts: Sequence[Tensor]) -> list[float | None]:
    """ID_1 and ID_2, averaged over the blocks with (finite) prompts enough for them; or None."""
    densities: list[float | None] = []
    finite = [prompt for prompt in prompts if bool(torch.isfinite(prompt).all())]
    for k in (1, 2):
        values = [information_density(p.detach().double(), k) for p in finite if len(p) >= k]
        densities.append(float(torch.stack(values).mean()) if values else None)
    return densities


def chance_density(model: VisualPrompts, counts: Sequence[int], seed: int) -> list[float]:
    """:func:`density` of random subsets with these counts, on average."""
    drawn = []
    for i in range(SUBSETS):
        rows = [uniform(seed, i, (len(p),), 40 + b) for b, p in enumerate(model.matrices)]
        pairs = zip(model.matrices, rows, counts, strict=True)
        drawn.append(density([p[r.argsort()[:n].to(p.device)] for p, r, n in pairs]))
    columns = zip(*drawn, strict=True)
    return [sum(x for x in column if x is not None) / SUBSETS for column in columns]
