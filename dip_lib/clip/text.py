"""Exact class embeddings for a learnable context, through a frozen causal text encoder.

Only the rows of :mod:`dip_lib.clip.layout` are computed: no padding, every shared beginning once.
What depends on no context is computed once and for all (the queries, keys and values of names in
the first block), and in the last block only the query of EOT. Every step is exact: results agree
with the full-length forward to float rounding. The residual stream and the prompt are fp32; matrix
products run in the precision of the encoder's weights.

Symbols: R contexts at once, S context slots, d width, N rows, P shared rows, C classes, H heads,
h = d / H, e embedding size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dip_lib.clip.layout import Layout
from dip_lib.clip.onednn import fast_linear

if TYPE_CHECKING:
    from open_clip.model import CLIP


@dataclass(frozen=True)
class Classes:
    """A layout with the tensors that are constant for one text encoder."""

    layout: Layout
    embedding: Tensor  # (N, d) token plus position embeddings, fp32; slots hold the position alone
    first: Tensor  # (N, 3d) queries, keys and values of the first block; unused in the slots


def unsupported_reason(model: nn.Module) -> str:
    """Why ``model``'s text encoder cannot be encoded exactly here; "" when it can."""
    from open_clip.model import CLIP
    from open_clip.transformer import ResidualAttentionBlock

    if not isinstance(model, CLIP):
        return "it has no text encoder of CLIP's layout"
    blocks, positions = model.transformer.resblocks, len(model.positional_embedding)
    causal = torch.full((positions, positions), -torch.inf).triu(1)
    if model.attn_mask is None or not torch.equal(model.attn_mask.float().cpu(), causal):
        return "its text encoder is not causal, so every token depends on every other"
    if model.text_pool_type not in ("argmax", "eos"):
        return f"its text encoder pools {model.text_pool_type!r} and not the end-of-text token"
    if not all(
        type(block) is ResidualAttentionBlock and isinstance(block.ls_1, nn.Identity)
        for block in blocks
    ):
        return f"its text encoder has blocks of another kind ({type(blocks[0]).__name__})"
    if not isinstance(model.text_projection, nn.Parameter):
        return "its text projection is not one matrix"
    return ""


def _norm(norm: Any, x: Tensor, scale: float = 1.0) -> Tensor:
    """LayerNorm in fp32, times ``scale``."""
    return F.layer_norm(
        x, norm.normalized_shape, scale * norm.weight.float(), scale * norm.bias.float(), norm.eps
    )


def _project(block: Any, x: Tensor, part: slice = slice(None)) -> Tensor:
    """Queries, keys and values of rows x (..., d): (..., 3d), or a ``part`` of these columns."""
    weight, bias = block.attn.in_proj_weight[part], block.attn.in_proj_bias[part]
    return F.linear(_norm(block.ln_1, x).to(weight.dtype), weight, bias)


def _finish(block: Any, x: Tensor, mixed: Tensor) -> Tensor:
    """The block's residual attention output and residual MLP; ``mixed`` is (R, rows, d)."""
    from open_clip.transformer import QuickGELU

    x = x + block.attn.out_proj(mixed)
    fc, activation, proj = block.mlp
    if not isinstance(activation, QuickGELU):
        return x + proj(activation(fc(_norm(block.ln_2, x).to(fc.weight.dtype))))
    # QuickGELU(z) = silu(1.702 z) / 1.702, and silu is one pass forward and one backward. The
    # factor goes into the small vectors around the matrices.
    s = 1.702
    hidden = F.linear(_norm(block.ln_2, x, s).to(fc.weight.dtype), fc.weight, s * fc.bias)
    out = F.linear(F.silu(hidden), proj.weight, s * proj.bias)
    return torch.add(x, out, alpha=1 / s)


def prepare(model: CLIP, layout: Layout) -> Classes:
    """Compute what is constant for ``layout``, which lies on the model's device."""
    with torch.no_grad():
        tokens = model.token_embedding.weight[layout.tokens].float()
        tokens[layout.slots] = 0
        embedding = tokens + model.positional_embedding[layout.position].float()
        return Classes(layout, embedding, _project(model.transformer.resblocks[0], embedding))


@fast_linear()
def encode(model: CLIP, classes: Classes, context: Tensor, deep: Sequence[Tensor] = ()) -> Tensor:
    """Unit class embeddings for R contexts.

    Args:
        model: a CLIP of OpenAI's layout with a causal text encoder, frozen.
        classes: from :func:`prepare`, C classes.
        context: (R, S, d), fp32, what fills the context slots.
        deep: (R, S, d) each; ``deep[i]`` replaces the context rows before block i + 1.

    Returns:
        (R, C, e), fp32, unit length, differentiable in ``context`` and ``deep``.
    """
    rows, runs, blocks = classes.layout, len(context), model.transformer.resblocks
    heads = blocks[0].attn.num_heads
    x = classes.embedding.expand(runs, -1, -1)
    x = x.index_add(1, rows.slots, context)  # (R, N, d)
    qkv = classes.first.expand(runs, -1, -1)
    qkv = qkv.index_copy(1, rows.slots, _project(blocks[0], x[:, rows.slots]))
    for i, block in enumerate(blocks[:-1]):
        if i:
            if i <= len(deep):
                x = x.index_copy(1, rows.slots, deep[i - 1])
            qkv = _project(block, x)
        q, k, v = qkv.view(runs, -1, 3, heads, x.shape[-1] // heads).permute(2, 0, 3, 1, 4)
        x = _finish(block, x, _attend(rows, q, k, v))

    # last block: queries of the EOT rows only
    if len(blocks) <= len(deep) + 1:
        x = x.index_copy(1, rows.slots, deep[len(blocks) - 2])
    width = x.shape[-1]
    last, asking = blocks[-1], x[:, rows.end]  # (R, C, d)
    k, v = (
        _project(last, x, slice(width, None))
        .view(runs, -1, 2, heads, width // heads)
        .permute(2, 0, 3, 1, 4)
    )
    q = _project(last, asking, slice(width)).view(runs, -1, heads, width // heads).transpose(1, 2)
    x = _finish(last, asking, _attend(rows, q, k, v, ends=True))
    x = _norm(model.ln_final, x).to(model.text_projection.dtype) @ model.text_projection
    return F.normalize(x.float(), dim=-1)[:, rows.order]


def _attend(rows: Layout, q: Tensor, k: Tensor, v: Tensor, ends: bool = False) -> Tensor:
    """Attention of every row, or of the EOT rows alone, along its path: (R, rows, d).

    Args:
        q: (R, H, N, h); with ``ends`` (R, H, C, h).
        k, v: (R, H, N, h).
    """
    # pieces by one split: its gradient is one concatenation, that of slices a sum of many
    sizes = [rows.shared, *(b.rows.stop - max(b.rows.start, rows.shared) for b in rows.bins)]
    (shared_k, *own_k), (shared_v, *own_v) = k.split(sizes, 2), v.split(sizes, 2)
    if ends:
        asked = q.split([b.classes.stop - b.classes.start for b in rows.bins], 2)
        masks = [b.mask[rows.end[b.classes] - b.rows.start] for b in rows.bins]
    else:
        asked = q.split([b.rows.stop - b.rows.start for b in rows.bins], 2)
        masks = [b.mask for b in rows.bins]
    mixed = [
        F.scaled_dot_product_attention(
            queries, torch.cat([shared_k, k], 2), torch.cat([shared_v, v], 2), attn_mask=mask
        )
        for queries, k, v, mask in zip(asked, own_k, own_v, masks, strict=True)
    ]
    return torch.cat(mixed, 2).transpose(1, 2).flatten(2)
