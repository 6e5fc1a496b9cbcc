"""Scores of trained visual prompts, by which Prompt Condensation and its controls choose.

Symbols: N images, B of them at once, n prompts of a block, w width, t tokens of an image, h heads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from dip_lib.methods.condensation import Condensation
from dip_lib.methods.vpt import VisualPrompts
from dip_lib.randomness import uniform
from dip_lib.training.condense import top_prompts

Scores = Sequence[Tensor]
"""(n,) for each block."""
STREAM = 60
"""Of the random subsets, a block each."""


def mask_derivatives(
    model: VisualPrompts, pixels: Tensor, labels: Tensor, batch: int = 64
) -> list[Tensor]:
    """The derivative of each image's loss in a mask m = 1 on each prompt: (N, n) for each block.

    Each image has prompts of its own for this, as each run has in ``VisionEncoder.prompted``.

    Args:
        pixels: (N, 3, S, S), the encoder's input.
        labels: (N,).
        batch: images at once.
    """
    parts, tower = [], model.tower
    for part, truth in zip(pixels.split(batch), labels.split(batch), strict=True):
        images = part.to(tower.device).float()[:, None]  # (B, 1, 3, S, S)
        masks = [
            images.new_ones(len(images), len(p), 1, requires_grad=True) for p in model.matrices
        ]
        prompts = [m * p.detach() for m, p in zip(masks, model.matrices, strict=True)]
        features = tower.finish(tower.prompted(images, prompts)).float()
        loss = F.cross_entropy(model.head(features), truth.to(tower.device), reduction="sum")
        parts.append([g[..., 0] for g in torch.autograd.grad(loss, masks)])
    return [torch.cat(block) for block in zip(*parts, strict=True)]


@torch.no_grad()
def attended(model: VisualPrompts, pixels: Tensor, batch: int = 64) -> list[Tensor]:
    """The share of the image tokens' attention that each prompt gets: (n,) for each block."""
    tower, parts = model.tower, list[list[Tensor]]()
    for part in pixels.split(batch):
        states = tower.states(part.to(tower.device).float(), model.matrices)
        blocks = zip(tower.blocks, states[: len(model.matrices)], strict=False)
        maps = [block.maps(x)[:, :, : tower.tokens, tower.tokens :] for block, x in blocks]
        parts.append([each.float().mean((1, 2)) for each in maps])  # (B, n)
    return [torch.cat(block).mean(0) for block in zip(*parts, strict=True)]


def all_scores(model: VisualPrompts, pixels: Tensor, labels: Tensor) -> dict[str, Scores]:
    """The scores of every choice that is not random, by its name; the larger stays."""
    derivatives = mask_derivatives(model, pixels, labels)
    importance = [each.mean(0).abs() for each in derivatives]
    return {
        "sum": importance,
        "each": [each.abs().mean(0) for each in derivatives],
        "least": [-each for each in importance],
        "norm": [prompt.detach().norm(dim=1) for prompt in model.matrices],
        "attention": attended(model, pixels),
        "mean": importance,
    }


def stay(method: Condensation, scores: Mapping[str, Scores], seed: int) -> list[Tensor]:
    """Which prompts stay: for each block their indices, ascending.

    How many of a block follows from importance and the ranking, so that controls differ in which
    prompts stay and in nothing else; the other reading of importance is ranked by itself.

    Args:
        seed: of the run; with the draw it makes a random subset.
    """
    own = "each" if method.choice == "each" else "sum"
    chosen = top_prompts(scores[own], method.keep, method.ranking)
    if method.choice == own:
        return chosen
    if method.choice == "random":
        ranked = [
            uniform(seed, method.draw, (len(each),), STREAM + block).to(each.device)
            for block, each in enumerate(scores["sum"])
        ]
    else:
        ranked = list(scores[method.choice])
    pairs = zip(ranked, chosen, strict=True)
    return [
        each.argsort(descending=True, stable=True)[: len(rows)].sort().values
        for each, rows in pairs
    ]


def with_mean(model: VisualPrompts, rows: Sequence[Tensor]) -> list[Tensor]:
    """The prompts (n, w) of each block, of which those not in ``rows`` are copies of their mean."""
    changed = []
    for prompt, kept in zip(model.matrices, rows, strict=True):
        others = torch.ones(len(prompt), dtype=torch.bool, device=prompt.device)
        others[kept] = False
        made = prompt.detach().clone()
        if others.any():
            made[others] = made[others].mean(0)
        changed.append(made)
    return changed
