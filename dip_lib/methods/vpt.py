"""VPT (Jia et al., ECCV 2022): prompts beside the patches of a frozen encoder, and a linear head.

Shallow: the first block reads prompts, and the later blocks read its outputs for them. Deep: every
block reads prompts of its own. Source: ``src/models/vit_prompt/vit.py`` of KMnP/vpt.

Symbols: B images, C classes, w width, n prompts of a block.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import torch
from torch import Tensor, nn

from dip_lib.clip.vision_encoder import VisionEncoder
from dip_lib.errors import one_of
from dip_lib.methods.method import Method
from dip_lib.methods.prompts import linear
from dip_lib.randomness import uniform

MOST = 200
"""Prompts of a block: where the grid of VPT's paper ends."""


RANKINGS = ("global", "layer")


class VisualPrompts(nn.Module):
    """Prompts in a frozen encoder with a linear head: pixels (B, 3, S, S) -> logits (B, C).

    The encoder is no part of the module: what trains, and what is saved, are ``prompts.0``, ... (n,
    w each; n may differ) and ``head``. :func:`dip_lib.densify` makes DIPs of the prompts.
    """

    in_sequence: ClassVar[bool] = True
    """Whether the image's tokens attend to the prompts in their own sequence."""

    def __init__(self, tower: VisionEncoder, prompts: Sequence[Tensor], head: nn.Linear) -> None:
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


def check_counts(tower: VisionEncoder, vectors: int, depth: int) -> None:
    """Raise ValueError for more prompts or prompted blocks than the encoder allows."""
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


def first_prompts(tower: VisionEncoder, vectors: int, depth: int, seed: int) -> list[Tensor]:
    """Uniform prompts (n, w) for ``depth`` blocks, Xavier's bound over the patch projection.

    Raises:
        ValueError: as :func:`check_counts`.
    """
    check_counts(tower, vectors, depth)
    bound = (6 / (tower.fan_in + tower.width)) ** 0.5
    shape = vectors, tower.width
    return [bound * (2 * uniform(seed, 0, shape, 30 + i) - 1) for i in range(depth)]


def first_head(tower: VisionEncoder, classes: int, seed: int) -> nn.Linear:
    """A linear layer as torch starts one, the same on every device."""
    head = nn.utils.skip_init(nn.Linear, tower.width, classes)
    with torch.no_grad():
        for parameter, start in zip(
            head.parameters(), linear(seed, tower.width, classes, 29), strict=True
        ):
            parameter.copy_(start)
    return head


@dataclass(frozen=True, kw_only=True)
class VPT(Method):
    """VPT, or a trained VPT condensed to a part of its prompts (see :mod:`..training.condense`).

    Args:
        vectors: prompts of a block.
        depth: blocks that read prompts of their own; 1: VPT-shallow.
        keep: percentage of a trained run's prompts that stay; 0: this run trains them.
        ranking: over which prompts importance is ranked: of all blocks ("global"), or each "layer".
        tuned: epochs in which the prompts that stay are trained on.

    Raises:
        ValueError: a percentage outside 0..100, another ranking, or a ranking or epochs of tuning
            where nothing is condensed.
    """

    name = "vpt"
    label = "VPT"
    side = "visual"
    sites = ("update",)
    module: ClassVar[type[VisualPrompts]] = VisualPrompts

    vectors: int = 10
    depth: int = 12
    keep: float = 0.0
    ranking: str = "global"
    tuned: int = 0

    def check(self) -> None:
        one_of("ranking", self.ranking, RANKINGS)
        if not 0 <= self.keep <= 100:
            raise ValueError(f"keep {self.keep:g} % of the prompts: k must be in (0, 100]")
        if not self.keep and (self.ranking, self.tuned) != ("global", 0):
            raise ValueError(
                f"ranking={self.ranking!r} and tuned={self.tuned} belong to a condensed run: give "
                "keep, the percentage of the prompts that stays"
            )

    def source(self) -> Self:
        """The method that trains the prompts which this one condenses; else itself."""
        return replace(self, keep=0.0, ranking="global", tuned=0)

    def prompts(self, tower: VisionEncoder, images: Tensor, seed: int) -> list[Tensor]:
        """The prompts (n, w) of each block before the first step.

        Args:
            images: (N, 3, S, S), the training images in their first view.

        Raises:
            ValueError: a number of prompts or of blocks that the encoder cannot have.
        """
        return first_prompts(tower, self.vectors, self.depth, seed)
