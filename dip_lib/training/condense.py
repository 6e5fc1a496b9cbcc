"""Prompt Condensation (Kim et al., 2023): few of many trained prompts, chosen by importance.

A prompt's importance is what the loss would change by if a mask m = 1 on it moved, to first order:
|dL/dm| = |<P, dL/dP>|, over the training images. The top k % stay, ranked over all blocks at once
or within each, so that blocks then hold different counts. No public code of it was found; this
follows the paper's description (arXiv 2305.17223).

Symbols: N images, n prompts of a block, w width.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dip_lib.errors import one_of
from dip_lib.methods.vpt import RANKINGS, VisualPrompts


def importance(
    model: VisualPrompts, pixels: Tensor, labels: Tensor, batch: int = 64
) -> list[Tensor]:
    """The importance of every prompt for the mean loss over N images: (n,) for each block.

    Args:
        pixels: (N, 3, S, S), the encoder's input.
        labels: (N,).
        batch: images at once.
    """
    prompts = model.matrices
    total = [torch.zeros_like(prompt) for prompt in prompts]
    for part, truth in zip(pixels.split(batch), labels.split(batch), strict=True):
        images = part.to(model.tower.device).float()
        loss = F.cross_entropy(model(images), truth, reduction="sum")
        for sum_, gradient in zip(total, torch.autograd.grad(loss, prompts), strict=True):
            sum_ += gradient / len(labels)
    pairs = zip(prompts, total, strict=True)
    return [(prompt.detach() * gradient).sum(1).abs() for prompt, gradient in pairs]


def top_prompts(scores: Sequence[Tensor], percent: float, ranking: str = "global") -> list[Tensor]:
    """Which prompts stay: for each block the indices, ascending, of the top ``percent``.

    At least one prompt stays: of all ("global"), or of each block ("layer").

    Raises:
        ValueError: a percentage outside (0, 100], or another ranking.
    """
    if not 0 < percent <= 100:
        raise ValueError(f"keep {percent:g} % of the prompts: k must be in (0, 100]")
    one_of("ranking", ranking, RANKINGS)
    groups = [torch.cat(list(scores))] if ranking == "global" else list(scores)
    stay = []
    for group in groups:
        count = max(1, round(percent / 100 * len(group))) if len(group) else 0
        mask = torch.zeros_like(group, dtype=torch.bool)
        mask[group.argsort(descending=True, stable=True)[:count]] = True
        stay.append(mask)
    masks = torch.cat(stay).split([len(each) for each in scores])
    return [mask.nonzero().flatten() for mask in masks]


def condensed(model: VisualPrompts, stay: Sequence[Tensor]) -> VisualPrompts:
    """A model of its own with only these prompts of each block, and the head as it is."""
    small = deepcopy(model, {id(model.tower): model.tower})  # all but the encoder is its own
    kept = [prompt.detach()[rows] for prompt, rows in zip(model.matrices, stay, strict=True)]
    small.prompts = nn.ParameterList([nn.Parameter(prompt) for prompt in kept])
    return small
