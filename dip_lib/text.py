"""Exact class embeddings for a learnable context, through a frozen causal text tower.

A prompt gives class c the tokens ``[SOS] [context 1..n] [class name] [.] [EOT] [padding]``. The
tower is causal: a state depends only on the tokens up to it. So nothing after EOT is computed; the
start token and the context are computed once for all classes; suffixes that begin with the same
words share those states (a trie); and in the last block only EOT asks. Every step is exact:
results agree with the full-length forward to float rounding.

Symbols: R contexts at once, n context vectors, d width, P = 1 + n prefix positions, C classes,
N distinct suffix nodes, L longest suffix, H heads, h = d / H, e embedding size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from open_clip.model import CLIP
from torch import Tensor


@dataclass(frozen=True)
class Layout:
    """Where the suffix tokens of each class live among the N states that are computed."""

    tokens: Tensor  # (N,) token of each node
    depth: Tensor  # (N,) position after the context, 0 = first
    slots: Tensor  # (C, L) node that class c reads at suffix position t; padding repeats its EOT
    owner: Tensor  # (N,) one flat slot c * L + t at which the node's own query is asked
    length: Tensor  # (C,) suffix length, EOT included

    @property
    def end(self) -> Tensor:
        """(C,) node of each class's EOT."""
        return self.slots.gather(1, self.length[:, None] - 1)[:, 0]

    def to(self, device: torch.device) -> Layout:
        return Layout(**{k: v.to(device) for k, v in vars(self).items()})


def layout(suffixes: Sequence[Sequence[int]]) -> Layout:
    """The trie of ``suffixes``, each the tokens after the context, EOT included."""
    longest = max(map(len, suffixes))
    node: dict[tuple[int, ...], int] = {}
    tokens: list[int] = []
    depth, owner, slots = [], [], []
    for c, suffix in enumerate(suffixes):
        path = []
        for t, token in enumerate(suffix):
            prefix = tuple(suffix[: t + 1])
            if prefix not in node:
                node[prefix] = len(tokens)
                tokens.append(token)
                depth.append(t)
                owner.append(c * longest + t)
            path.append(node[prefix])
        slots.append(path + [path[-1]] * (longest - len(path)))
    return Layout(
        torch.tensor(tokens),
        torch.tensor(depth),
        torch.tensor(slots),
        torch.tensor(owner),
        torch.tensor([len(s) for s in suffixes]),
    )


def _project(block: Any, x: Tensor, heads: int) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values of rows ``x``: 3 x (R, rows, H, h)."""
    attention = block.attn
    y = F.linear(block.ln_1(x), attention.in_proj_weight, attention.in_proj_bias)
    q, k, v = y.view(*x.shape[:2], 3, heads, -1).unbind(2)
    return q, k, v


def _finish(block: Any, x: Tensor, mixed: Tensor) -> Tensor:
    """The block's residual attention output and residual MLP; ``mixed`` is (R, rows, H, h)."""
    out = block.attn.out_proj
    x = x + F.linear(mixed.flatten(2), out.weight, out.bias)
    return x + block.mlp(block.ln_2(x))


def encode(model: CLIP, classes: Layout, context: Tensor, start_token: int) -> Tensor:
    """Unit class embeddings for R contexts.

    Args:
        model: a CLIP of OpenAI's layout with a causal text tower, frozen.
        classes: the suffixes of the C classes.
        context: (R, n, d), the only input that needs a gradient.
        start_token: id of the start-of-text token.

    Returns:
        (R, C, e), unit length, differentiable in ``context``.
    """
    runs, n, width = context.shape
    prefix_len, (count, longest) = 1 + n, classes.slots.shape
    blocks = model.transformer.resblocks
    heads = blocks[0].attn.num_heads
    position = model.positional_embedding
    start = model.token_embedding.weight[start_token].expand(runs, 1, width)
    prefix = torch.cat([start, context], 1) + position[:prefix_len]  # (R, P, d)
    suffix = model.token_embedding(classes.tokens) + position[prefix_len + classes.depth]
    suffix = suffix.expand(runs, -1, -1)  # (R, N, d)
    device = context.device
    causal = torch.ones(longest, prefix_len + longest, dtype=torch.bool, device=device)
    causal = causal.tril(prefix_len)  # (L, P + L)

    def gather(of_prefix: Tensor, of_suffix: Tensor) -> Tensor:
        """(R, P, H, h), (R, N, H, h) -> what each class attends to, (R * C, H, P + L, h)."""
        shared = of_prefix[:, None].expand(-1, count, -1, -1, -1)
        own = of_suffix[:, classes.slots]  # (R, C, L, H, h)
        return torch.cat([shared, own], 2).flatten(0, 1).transpose(1, 2)

    for block in blocks[:-1]:
        both = torch.cat([prefix, suffix], 1)  # (R, P + N, d)
        q, k, v = _project(block, both, heads)
        parts = [prefix_len, suffix.shape[1]]
        (pq, sq), (pk, sk), (pv, sv) = (z.split(parts, 1) for z in (q, k, v))
        of_prefix = F.scaled_dot_product_attention(
            pq.transpose(1, 2), pk.transpose(1, 2), pv.transpose(1, 2), is_causal=True
        ).transpose(1, 2)  # (R, P, H, h)
        queries = sq[:, classes.slots].flatten(0, 1).transpose(1, 2)  # (R * C, H, L, h)
        mixed = F.scaled_dot_product_attention(
            queries, gather(pk, sk), gather(pv, sv), attn_mask=causal
        )
        mixed = mixed.transpose(1, 2).reshape(runs, count * longest, heads, -1)
        of_suffix = mixed.index_select(1, classes.owner)  # (R, N, H, h)
        both = _finish(block, both, torch.cat([of_prefix, of_suffix], 1))
        prefix, suffix = both.split(parts, 1)

    # last block: only the EOT rows ask
    both = torch.cat([prefix, suffix], 1)
    q, k, v = _project(blocks[-1], both, heads)
    pk, pv = k[:, :prefix_len], v[:, :prefix_len]
    sq, sk, sv = (z[:, prefix_len:] for z in (q, k, v))
    asked = sq[:, classes.end].flatten(0, 1)[:, :, None]  # (R * C, H, 1, h)
    seen = causal[classes.length - 1][:, None, None]  # (C, 1, 1, P + L)
    mixed = F.scaled_dot_product_attention(
        asked, gather(pk, sk), gather(pv, sv), attn_mask=seen.repeat(runs, 1, 1, 1)
    )
    mixed = mixed[:, :, 0].view(runs, count, heads, -1)
    x = _finish(blocks[-1], suffix[:, classes.end], mixed)  # (R, C, d)
    return F.normalize(model.ln_final(x) @ model.text_projection, dim=-1)
