"""VPT (Jia et al., ECCV 2022): prompts beside the patches of a frozen tower, and a linear head.

Shallow: the first block reads prompts, and the others go on with what it made of them. Deep: every
block reads prompts of its own. Source: ``src/models/vit_prompt/vit.py`` of KMnP/vpt.

Symbols: B images, C classes, w width, n prompts of a block.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from dip_lib.methods.method import linear
from dip_lib.randomness import uniform
from dip_lib.visual.tower import Tower

MOST = 200
"""Prompts of a block: where the grid of VPT's paper ends."""


class VisualPrompts(nn.Module):
    """Prompts in a frozen tower with a linear head: pixels (B, 3, S, S) -> logits (B, C).

    The tower is no part of the module: what trains, and what is saved, are ``prompts.0``, ... (n, w
    each; n may differ) and ``head``. :func:`dip_lib.densify` makes DIPs of the prompts.
    """

    def __init__(self, tower: Tower, prompts: Sequence[Tensor], head: nn.Linear) -> None:
        super().__init__()
        self.tower = tower
        self.prompts = nn.ParameterList([nn.Parameter(p.detach().clone()) for p in prompts])
        self.head = head

    @property
    def matrices(self) -> list[Tensor]:
        """The prompts as they are used now, (n, w) each."""
        return [self.prompts[i] for i in range(len(self.prompts))]

    def features(self, pixels: Tensor) -> Tensor:
        """(B, w)."""
        return self.tower.features(pixels, self.matrices)

    def forward(self, pixels: Tensor) -> Tensor:
        logits: Tensor = self.head(self.features(pixels).float())
        return logits

    def flops(self) -> int:
        """Of one image's forward pass, head included."""
        counts = [len(prompt) for prompt in self.prompts]
        return self.tower.flops(counts) + 2 * self.head.weight.numel()


def check_counts(tower: Tower, vectors: int, depth: int) -> None:
    """Raise ValueError for a number of prompts or of prompted blocks that the tower cannot have."""
    if not 0 <= vectors <= MOST:
        raise ValueError(
            f"{vectors} prompts in each block of {tower.name}: it has {tower.tokens} positions for "
            f"the image, and prompts may take 0 to {MOST} more"
        )
    if not 1 <= depth <= len(tower.blocks):
        raise ValueError(
            f"depth = {depth}: {tower.name} has {len(tower.blocks)} blocks; 1 is VPT-shallow, "
            f"{len(tower.blocks)} VPT-deep"
        )


def first_prompts(tower: Tower, vectors: int, depth: int, seed: int) -> list[Tensor]:
    """Uniform prompts (n, w) for ``depth`` blocks, Xavier's bound over the patch projection.

    Raises:
        ValueError: as :func:`check_counts`.
    """
    check_counts(tower, vectors, depth)
    bound = (6 / (tower.fan_in + tower.width)) ** 0.5
    shape = vectors, tower.width
    return [bound * (2 * uniform(seed, 0, shape, 30 + i) - 1) for i in range(depth)]


def first_head(tower: Tower, classes: int, seed: int) -> nn.Linear:
    """A linear layer as torch starts one, the same on every device."""
    head = nn.utils.skip_init(nn.Linear, tower.width, classes)
    with torch.no_grad():
        for parameter, start in zip(
            head.parameters(), linear(seed, tower.width, classes, 29), strict=True
        ):
            parameter.copy_(start)
    return head
