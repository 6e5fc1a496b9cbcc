"""Prompts inside a frozen vision transformer, by composition of open_clip's own blocks.

Symbols: R runs, B images, S side, w width of the tower, n prompts, e embedding size.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from open_clip.transformer import VisionTransformer
from torch import Tensor

from dip_lib.backbone import Backbone
from dip_lib.products import fast_products


def vision_transformer(clip: Backbone) -> VisionTransformer:
    """The image tower. Raises ValueError where it has no blocks, as in a ResNet."""
    visual = clip.model.visual
    if not isinstance(visual, VisionTransformer):
        raise ValueError(
            f"the image tower of {clip.name} is a {type(visual).__name__}: prompts need a vision "
            "transformer, such as ViT-B-16 or glyph-vit"
        )
    return visual


def width(clip: Backbone) -> int:
    """w, the width of the image tower. Raises ValueError as :func:`vision_transformer`."""
    return int(vision_transformer(clip).positional_embedding.shape[1])


@fast_products()
def encode_prompted(clip: Backbone, pixels: Tensor, prompts: Sequence[Tensor]) -> Tensor:
    """Unit image embeddings with prompts behind the patches.

    Block i reads ``prompts[i]`` in place of what block i - 1 made of its own; blocks without any
    go on with the states of the last. Prompts have no position; the first pass the LayerNorm that
    precedes the blocks (as MaPLe, ``clip/model.py::VisionTransformer_MaPLe``).

    Args:
        pixels: the tower's input, (R, B, 3, S, S) or (1, B, 3, S, S) for all runs.
        prompts: (R, n, w) each; n may differ from block to block.

    Returns:
        (R, B, e), fp32, differentiable in the prompts.

    Raises:
        ValueError: a tower without blocks, no prompts, or more than it has blocks.
    """
    visual = vision_transformer(clip)
    blocks, count = visual.transformer.resblocks, pixels.shape[1]
    if not 1 <= len(prompts) <= len(blocks):
        raise ValueError(
            f"{len(prompts)} prompts for the {len(blocks)} blocks of {clip.name}: at least the "
            "first reads one, and none reads more"
        )
    runs = len(prompts[0])
    with torch.no_grad():
        embedded = visual._embeds(pixels.flatten(0, 1).to(visual.conv1.weight))  # (·B, 1 + M, w)
    x = embedded.unflatten(0, (-1, count)).expand(runs, -1, -1, -1).flatten(0, 1)  # (R B, 1+M, w)
    patches = x.shape[1]
    for i, block in enumerate(blocks):
        if i < len(prompts):
            read = prompts[i].to(x.dtype)
            read = visual.ln_pre(read) if i == 0 else read
            x = torch.cat([x[:, :patches], read.repeat_interleave(count, 0)], 1)
        x = block(x)
    pooled, _ = visual._pool(x[:, :patches])
    return F.normalize((pooled @ visual.proj).float(), dim=-1).unflatten(0, (runs, count))
