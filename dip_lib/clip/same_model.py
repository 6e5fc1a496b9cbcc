"""The same CLIP, written down otherwise: what of its numbers is a choice and not the model.

A text encoder reads the sum of token and positional embedding alone, so a vector can move from all
rows of one table to all rows of the other. Weights that do not change are shared, not copied.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

from torch import Tensor, nn

from dip_lib.clip.backbone import Backbone


def moved_gauge(clip: Backbone, vector: Tensor) -> Backbone:
    """The same model with ``vector`` taken from every token and added to every position.

    Contexts of words, ``Backbone.context``, move by -``vector``; what the first block reads of
    them, ``Backbone.as_read``, does not.

    Args:
        vector: (d,), the width of the text encoder.

    Raises:
        ValueError: a vector of another shape.
    """
    width = clip.model.positional_embedding.shape[1]
    if vector.shape != (width,):
        raise ValueError(f"{clip.name} needs a vector ({width},), got {tuple(vector.shape)}")
    moved = _with_shared_weights(clip)
    tokens, places = moved.model.token_embedding, moved.model.positional_embedding
    tokens.weight = nn.Parameter(tokens.weight - vector.to(places), requires_grad=False)
    moved.model.positional_embedding = nn.Parameter(places + vector.to(places), requires_grad=False)
    return moved


def without_eps(clip: Backbone) -> Backbone:
    """The model with eps = 0 in every LayerNorm: what this changes is due to eps alone."""
    exact = _with_shared_weights(clip)
    for module in exact.model.modules():
        if isinstance(module, nn.LayerNorm):
            module.eps = 0.0
    return exact


def _with_shared_weights(clip: Backbone) -> Backbone:
    """Another backbone with modules of its own, which hold the same tensors."""
    held = {id(each): each for each in (*clip.model.parameters(), *clip.model.buffers())}
    return replace(clip, model=deepcopy(clip.model, held), _encoders={})
