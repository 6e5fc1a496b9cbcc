"""A frozen vision transformer, whichever library made it, with prompts in its blocks.

One forward pass serves prompted CLIPs (MaPLe, PromptSRC) and visual prompts (VPT). Nothing is
copied or rebound: a block is called as it is, and where a method needs its parts (CVPT, the
analysis of attention) they are read from it.

Symbols: R runs, B images, S side, t tokens of an image (class token and patches), w width, n
prompts of a block, T = t + n, h heads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from dip_lib.clip.onednn import fast_linear

Part = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Block:
    """One frozen block; calling it on (B, T, w) runs its forward pass.

    Attributes:
        whole: the block.
        norms, attention, mlp, scales: its parts.
        inward: weight (3 w, w) and bias of queries, keys and values.
        outward: weight (w, w) of the attention's output projection.
        heads: h.
        hidden: width of the MLP's middle.
    """

    whole: Part
    norms: tuple[Part, Part]
    attention: Part
    mlp: Part
    scales: tuple[Part, Part]
    inward: tuple[Tensor, Tensor | None]
    outward: Tensor
    heads: int
    hidden: int

    def __call__(self, x: Tensor) -> Tensor:
        return self.whole(x)

    def projected(self, x: Tensor, part: int, bias: bool = True) -> Tensor:
        """Queries (part 0), keys (1) or values (2) of every head: (B, T, w) -> (B, h, T, w / h)."""
        weight, added = (None if each is None else each.chunk(3)[part] for each in self.inward)
        assert weight is not None
        projected = F.linear(x, weight, added if bias else None)
        return projected.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def maps(self, x: Tensor) -> Tensor:
        """The attention each token pays to each, (B, T, w) -> (B, h, T, T); rows sum to 1."""
        normed = self.norms[0](x)
        query, key = (self.projected(normed, part) for part in (0, 1))
        return (query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5).softmax(-1)


@dataclass(frozen=True)
class VisionEncoder:
    """A frozen vision transformer: :func:`frozen_vision_encoder` makes them.

    Attributes:
        name: what errors call it.
        embed: pixels (B, 3, S, S) -> (B, t, w), what the first block reads.
        finish: what the last block gave, (B, t, w) -> the feature of an image (B, w).
        width, tokens: w and t.
        patches: how many of the last tokens are patches; the class token and others precede them.
        fan_in: numbers in a patch, 3 times its area.
        device: where it lies.
    """

    name: str
    embed: Part
    blocks: tuple[Block, ...]
    finish: Part
    width: int
    tokens: int
    patches: int
    fan_in: int
    device: torch.device

    @fast_linear()
    def states(self, pixels: Tensor, prompts: Sequence[Tensor] = ()) -> list[Tensor]:
        """What each block reads, and what the last one gives: (B, T, w) each.

        Block i reads ``prompts[i]`` (n, w) behind the image's tokens, in place of what block i - 1
        made of its own; blocks without any pass on the states of the last (VPT-shallow has one).
        Attention does not depend on order, so VPT's place behind the class token gives the same.

        Raises:
            ValueError: more prompts than blocks, or of another width.
        """
        self._check(prompts, 2)
        with torch.no_grad():
            x = self.embed(pixels)  # (B, t, w)
        return self._through_blocks(x, [prompt[None] for prompt in prompts])

    @fast_linear()
    def prompted(self, pixels: Tensor, prompts: Sequence[Tensor]) -> Tensor:
        """The image tokens behind the last block for R runs at once.

        Args:
            pixels: (R, B, 3, S, S), or (1, B, 3, S, S) for all runs.
            prompts: (R, n, w) each, placed as in :meth:`states`; n may differ between blocks.

        Returns:
            (R B, t, w), differentiable in the prompts.

        Raises:
            ValueError: no prompts, more than blocks, or of another width.
        """
        if not prompts:
            raise ValueError(f"no prompts for {self.name}: at least the first block reads one")
        self._check(prompts, 3)
        runs = len(prompts[0])
        with torch.no_grad():
            x = self.embed(pixels.flatten(0, 1))  # (R B, t, w), or (B, t, w)
        x = x.unflatten(0, pixels.shape[:2]).expand(runs, -1, -1, -1).flatten(0, 1)  # (R B, t, w)
        return self._through_blocks(x, prompts)[-1][:, : self.tokens]

    def _check(self, prompts: Sequence[Tensor], dimensions: int) -> None:
        if len(prompts) > len(self.blocks):
            raise ValueError(
                f"{len(prompts)} prompts for the {len(self.blocks)} blocks of {self.name}: each "
                "reads at most one"
            )
        shapes = [tuple(p.shape) for p in prompts]
        if wrong := [s for s in shapes if len(s) != dimensions or s[-1] != self.width]:
            raise ValueError(f"{self.name} reads prompts (n, {self.width}), got {wrong[0]}")

    def _through_blocks(self, x: Tensor, prompts: Sequence[Tensor]) -> list[Tensor]:
        """Through all blocks: x (R B, t, w) and prompts (R, n, w); what each reads, and the end."""
        states = []
        for i, block in enumerate(self.blocks):
            if i < len(prompts):
                x = x[:, : self.tokens]
                if prompts[i].shape[1]:
                    rows = prompts[i].to(x.dtype)[:, None]  # (R, 1, n, w)
                    rows = rows.expand(-1, len(x) // len(rows), -1, -1).flatten(0, 1)
                    x = torch.cat([x, rows], 1)  # (R B, t + n, w)
            states.append(x)
            x = block(x)
        return [*states, x]

    def features(self, pixels: Tensor, prompts: Sequence[Tensor] = ()) -> Tensor:
        """The image's feature under prompts, (B, w): class token or mean, behind the last norm."""
        return self.finish(self.states(pixels, prompts)[-1][:, : self.tokens])

    def flops(self, counts: Sequence[int] = (), cross: bool = False) -> int:
        """Floating-point operations of one image's forward pass with so many prompts a block.

        Matrix products and attention, a multiplication and an addition each, as torch's counter
        has it. ``cross``: the prompts are read by cross-attention (CVPT) and not in the sequence.
        """
        w, n = self.width, 0
        total = 2 * self.patches * self.fan_in * w
        for i, block in enumerate(self.blocks):
            n = counts[i] if i < len(counts) else (0 if cross else n)
            rows = self.tokens + (0 if cross else n)
            total += 2 * rows * w * (4 * w + 2 * block.hidden) + 4 * rows * rows * w
            if cross and n:
                total += 4 * rows * w * w + 4 * n * w * w + 4 * rows * n * w
        return total
