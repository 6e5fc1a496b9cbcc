"""CVPT (Huang et al., 2024): the image's tokens read the prompts by cross-attention.

Prompts are no tokens of the sequence. Between a block's self-attention and its MLP it computes x +
CA(x, P): queries of x, keys and values of the block's prompts, all by the block's own frozen
self-attention weights, without the biases of values and output: they would move every token even
where the prompts are zero. Source: ``CVPT.py`` of Lingyun0419/CVPT, whose prompts start by Xavier's
rule over their own shape; here they start as VPT's, so that the two differ in nothing else. It also
drops a tenth of the prompts' entries and of the residual paths, which VPT does not and nothing does
here, and takes batches of 32, where the profile "paper" has SPT's 64 for all three.

Symbols: B images, T tokens, w width, n prompts, h heads.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from dip_lib.clip.onednn import fast_linear
from dip_lib.clip.vision_encoder import Block
from dip_lib.methods.vpt import VPT, VisualPrompts


def cross_attention(block: Block, x: Tensor, prompt: Tensor) -> Tensor:
    """CA(x, P) by the block's own weights: (B, T, w) and (n, w) -> (B, T, w); P = 0 gives 0."""
    rows = prompt[None].to(x.dtype)
    query, key = block.projected(x, 0), block.projected(rows, 1)  # (B, h, T, ·), (1, h, n, ·)
    value = block.projected(rows, 2, bias=False)
    key, value = (each.expand(len(x), -1, -1, -1) for each in (key, value))
    read = F.scaled_dot_product_attention(query, key, value)
    return F.linear(read.transpose(1, 2).flatten(2), block.outward)


def crossed(block: Block, x: Tensor, prompt: Tensor) -> Tensor:
    """The block with cross-attention between its halves, (B, T, w) -> (B, T, w)."""
    x = x + block.scales[0](block.attention(block.norms[0](x)))
    x = x + cross_attention(block, x, prompt)
    return x + block.scales[1](block.mlp(block.norms[1](x)))


class CrossPrompts(VisualPrompts):
    """As :class:`VisualPrompts`, but block i reads ``prompts.i`` by cross-attention."""

    in_sequence = False

    @fast_linear()
    def features(self, pixels: Tensor) -> Tensor:
        """(B, w)."""
        with torch.no_grad():
            x = self.tower.embed(pixels)  # (B, t, w)
        prompts = {i: prompt for i, prompt in enumerate(self.matrices) if len(prompt)}
        for i, block in enumerate(self.tower.blocks):
            x = crossed(block, x, prompts[i]) if i in prompts else block(x)
        return self.tower.finish(x)

    def flops(self) -> int:
        """Of one image's forward pass, head included."""
        counts = [len(prompt) for prompt in self.prompts]
        return self.tower.flops(counts, cross=True) + 2 * self.head.weight.numel()


@dataclass(frozen=True, kw_only=True)
class CVPT(VPT):
    """CVPT; settings as VPT's."""

    name = "cvpt"
    label = "CVPT"
    settings_of = "vpt"
    module = CrossPrompts
