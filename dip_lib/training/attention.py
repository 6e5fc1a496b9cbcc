"""Attention under visual prompts: how much of it falls on prompts, and the rank of its maps.

Symbols: B images, h heads, t tokens of an image, n prompts of a block, T = t + n.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dip_lib.methods.vpt import VisualPrompts


def effective_rank(values: Tensor) -> Tensor:
    """exp of the entropy of singular values as shares, (..., k) -> (...) (Roy, Vetterli, 2007)."""
    share = values / values.sum(-1, keepdim=True)
    return (-torch.special.xlogy(share, share).sum(-1)).exp()


@torch.no_grad()
def attention(model: VisualPrompts, pixels: Tensor) -> tuple[list[float], list[float]]:
    """Of each block, how the image's t tokens attend, averaged over images and heads.

    Returns:
        The share of attention that falls on prompts, and the effective rank of the map (t, T):
        between 1 (all tokens look the same way) and t.
    """
    tower = model.tower
    mass, rank = [], []
    for block, x in zip(tower.blocks, tower.states(pixels, model.matrices), strict=False):
        maps = block.maps(x)[:, :, : tower.tokens].double()  # (B, h, t, T)
        mass.append(float(maps[..., tower.tokens :].sum(-1).mean()))
        # singular values by the small symmetric matrix: much faster, exact enough
        squares = torch.linalg.eigvalsh(maps @ maps.transpose(-1, -2)).clamp_min(0)  # (B, h, t)
        rank.append(float(effective_rank(squares.sqrt()).mean()))
    return mass, rank
