"""A CLIP's image embeddings with prompts in its vision transformer (MaPLe, PromptSRC).

Symbols: R runs, B images, S side, w width of the encoder, n prompts, e embedding size.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

from dip_lib.clip.backbone import Backbone


def image_width(clip: Backbone) -> int:
    """w, the width of the image encoder. Raises ValueError for one without blocks (a ResNet)."""
    return clip.image_tower.width


def image_as_read(clip: Backbone, prompt: Tensor) -> Tensor:
    """Image prompts of the first block as this reads them: behind CLIP's ``ln_pre``.

    The LayerNorm takes away a token's mean over the width and, up to its eps, its scale. Prompts
    have no position. The counterpart of ``Backbone.as_read`` for MaPLe's and PromptSRC's image
    prompts; prompts of deeper blocks are read as they are.

    Args:
        prompt: (..., n, w).

    Returns:
        (..., n, w), in the dtype of the encoder.

    Raises:
        ValueError: an encoder without blocks (a ResNet), or a prompt of another width.
    """
    if prompt.shape[-1] != (width := image_width(clip)):
        raise ValueError(
            f"the image encoder of {clip.name} reads prompts (..., n, {width}), got "
            f"{tuple(prompt.shape)}"
        )
    visual = clip.model.visual
    read: Tensor = visual.ln_pre(prompt.to(visual.conv1.weight))
    return read


def encode_prompted(clip: Backbone, pixels: Tensor, prompts: Sequence[Tensor]) -> Tensor:
    """Unit image embeddings with prompts behind the patches.

    Block i reads ``prompts[i]`` in place of what block i - 1 made of its own; blocks without any
    pass on the states of the last. Prompts have no position; the first pass the LayerNorm that
    precedes the blocks (as MaPLe, ``clip/model.py::VisionTransformer_MaPLe``).

    Args:
        pixels: the encoder's input, (R, B, 3, S, S) or (1, B, 3, S, S) for all runs.
        prompts: (R, n, w) each; n may differ from block to block.

    Returns:
        (R, B, e), fp32, differentiable in the prompts.

    Raises:
        ValueError: an encoder without blocks, no prompts, or more than it has blocks.
    """
    visual, tower = clip.model.visual, clip.image_tower
    first = [image_as_read(clip, prompt) for prompt in prompts[:1]]
    tokens = tower.prompted(pixels, [*first, *prompts[1:]])
    features = F.normalize((tower.finish(tokens) @ visual.proj).float(), dim=-1)
    return features.unflatten(0, (len(prompts[0]), pixels.shape[1]))
