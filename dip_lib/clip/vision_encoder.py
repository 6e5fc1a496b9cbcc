"""A frozen vision transformer, whichever library made it, with prompts in its blocks.

One forward pass serves prompted CLIPs (MaPLe, PromptSRC) and visual prompts (VPT). Nothing is
copied or rebound: a block is called as it is, and where a method needs its parts (CVPT, the
analysis of attention) they are read from it.

Nothing reads what a block makes of its prompts where the next block has prompts of its own
(VPT-deep), so there a prompt is only a key and a value, the same for every image: it has no query
and no MLP. And of the last block only the tokens that the image's feature is made of are needed.
Both change results by rounding alone (:meth:`Block.read`).

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
        outward_bias: its bias (w,), where it has one.
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
    outward_bias: Tensor | None
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

    def read(self, x: Tensor, rows: int, prompts: Tensor | None = None) -> Tensor:
        """What the block makes of the first tokens of images that read prompts beside them.

        As calling the block on tokens and prompts in one sequence, but only what is asked for is
        computed; queries, keys, values and softmax in fp32 on a CPU, where half precision is slow.

        Args:
            x: (R B, T, w).
            rows: how many of the T tokens are wanted.
            prompts: (R, n, w), in the dtype of ``x``.

        Returns:
            (R B, rows, w), differentiable in ``x`` and ``prompts``.
        """
        normed = self.norms[0](x)
        query = self.projected(normed[:, :rows], 0)
        key, value = (self.projected(normed, part) for part in (1, 2))
        if prompts is not None:
            own, images = self.norms[0](prompts), len(x) // len(prompts)
            parts = (self.projected(own, part)[:, None] for part in (1, 2))  # (R, 1, h, n, w / h)
            more = [each.expand(-1, images, -1, -1, -1).flatten(0, 1) for each in parts]
            key, value = (torch.cat(pair, 2) for pair in zip((key, value), more, strict=True))
        if x.device.type == "cpu":
            query, key, value = query.float(), key.float(), value.float()
        mixed = F.scaled_dot_product_attention(query, key, value).to(x.dtype)
        outward = F.linear(mixed.transpose(1, 2).flatten(2), self.outward, self.outward_bias)
        x = x[:, :rows] + self.scales[0](outward)
        return x + self.scales[1](self.mlp(self.norms[1](x)))

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
        pooled: how many of the first tokens ``finish`` reads: 1, the class token, or all t.
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
    pooled: int
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
        """The image tokens that ``finish`` reads, behind the last block, for R runs at once.

        Args:
            pixels: (R, B, 3, S, S), or (1, B, 3, S, S) for all runs.
            prompts: (R, n, w) each, placed as in :meth:`states`; n may differ between blocks.

        Returns:
            (R B, ``pooled``, w), differentiable in the prompts.

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
        return self._needed(x, prompts)

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
                    x = self._beside(x, prompts[i].to(x.dtype))
            states.append(x)
            x = block(x)
        return [*states, x]

    @staticmethod
    def _beside(x: Tensor, prompts: Tensor) -> Tensor:
        """Tokens (R B, t, w) and prompts (R, n, w) in one sequence, (R B, t + n, w)."""
        rows = prompts[:, None].expand(-1, len(x) // len(prompts), -1, -1)  # (R, B, n, w)
        return torch.cat([x, rows.flatten(0, 1)], 1)

    def _needed(self, x: Tensor, prompts: Sequence[Tensor]) -> Tensor:
        """As the end of :meth:`_through_blocks`, of the tokens that ``finish`` reads alone."""
        last, prompted = len(self.blocks) - 1, False
        for i, block in enumerate(self.blocks):
            own = prompts[i].to(x.dtype) if i < len(prompts) else None
            if own is not None:
                x = x[:, : self.tokens]
                own = own if own.shape[1] else None
                prompted |= own is not None
            if own is not None and i + 1 >= len(prompts) and i < last:  # the next block reads them
                x, own = self._beside(x, own), None
            if own is not None or (prompted and i == last):
                x = block.read(x, self.pooled if i == last else x.shape[1], own)
            else:
                x = block(x)
        return x[:, : self.pooled]

    @fast_linear()
    def features(self, pixels: Tensor, prompts: Sequence[Tensor] = ()) -> Tensor:
        """The image's feature under prompts, (B, w): class token or mean, behind the last norm.

        Raises:
            ValueError: as :meth:`states`.
        """
        self._check(prompts, 2)
        with torch.no_grad():
            x = self.embed(pixels)  # (B, t, w)
        return self.finish(self._needed(x, [prompt[None] for prompt in prompts]))

    def flops(self, counts: Sequence[int] = (), cross: bool = False) -> int:
        """Floating-point operations of one image's forward pass with so many prompts a block.

        Matrix products and attention, a multiplication and an addition each, as torch's counter
        has it, of the published computation, in which every prompt is a token of the sequence
        (:meth:`states`); :meth:`features` computes less. ``cross``: the prompts are read by
        cross-attention (CVPT) and not in the sequence.
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
