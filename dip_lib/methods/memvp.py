"""MemVP (Jie et al., ICML 2024): visual prompts as further keys and values of a feed-forward layer.

A feed-forward layer is a memory, FFN(x) = act(x W1) W2, and m rows of projected image features V
are appended to it: keys V + P1 and values V + P2, scaled by s. Source: ``memvp/adapter.py`` and
``memvp/model.py`` of JieShibo/MemVP.

There the layer stands in every block of LLaMA (one P1 and P2 for all blocks): V = 0.01 times an
adapter (1024 -> 128 -> d, SiLU) of the 256 patch tokens of CLIP's ViT-L/14, padded with zeros to
m = 320 rows; s = 0.1, dropout 0.1; AdamW with betas (0.9, 0.95), weight decay 0.02, 20 epochs. That
setting is not measured here: it needs LLaMA's weights. ``benchmarks/memvp.py`` measures the method
with a small language model of Glyph World.

Symbols: B sequences, T tokens, d width, m rows, w width of an image's tokens.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dip_lib.randomness import normal, uniform


class Projection(nn.Module):
    """scale * (W2 silu(W1 x)) of an image's tokens, (B, t, w) -> (B, t, d): two layers with biases.

    Args:
        inward, hidden, outward: w, the middle's width, and d.
        scale: 0.01 in MemVP's memory.
        seed: of the weights, which start by Xavier's uniform rule; biases start at 0.
    """

    def __init__(
        self, inward: int, hidden: int, outward: int, scale: float = 0.01, seed: int = 0
    ) -> None:
        super().__init__()
        self.scale = scale
        skip = nn.utils.skip_init  # torch's own start would draw from its generator
        self.first, self.second = skip(nn.Linear, inward, hidden), skip(nn.Linear, hidden, outward)
        with torch.no_grad():
            for stream, layer in enumerate((self.first, self.second)):
                bound = (6 / (layer.in_features + layer.out_features)) ** 0.5
                drawn = uniform(seed, 0, layer.weight.shape, stream)
                layer.weight.copy_(bound * (2 * drawn - 1))
                layer.bias.zero_()

    def forward(self, tokens: Tensor) -> Tensor:
        projected: Tensor = self.scale * self.second(F.silu(self.first(tokens)))
        return projected


class MemoryPrompt(nn.Module):
    """FFN(x) + s * dropout(silu(x (V + P1)^T)) (V + P2), for x (B, T, d) and V (B, m, d).

    P1 ~ N(0, 0.02^2) and P2 = 0, both (1, m, d), are what trains; the feed-forward layer is frozen.

    Args:
        feed_forward: the frozen layer, (B, T, d) -> (B, T, d).
        rows, width: m and d.
        scale, dropout: s, and the probability of dropping an entry of the memory's activation.
        seed: of P1.
    """

    def __init__(
        self,
        feed_forward: nn.Module,
        rows: int,
        width: int,
        scale: float = 0.1,
        dropout: float = 0.1,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.feed_forward = feed_forward.requires_grad_(False)
        self.scale, self.dropout = scale, dropout
        self.keys = nn.Parameter(0.02 * normal(seed, (1, rows, width)))
        self.values = nn.Parameter(torch.zeros(1, rows, width))

    def forward(self, x: Tensor, visual: Tensor) -> Tensor:
        """Raises ValueError: ``visual`` has more rows than the memory, or another width."""
        rows, width = self.keys.shape[1:]
        if visual.shape[1] > rows or visual.shape[2] != width:
            raise ValueError(
                f"the memory has {rows} rows of width {width}, the image {tuple(visual.shape[1:])}"
            )
        visual = F.pad(visual, (0, 0, 0, rows - visual.shape[1]))  # (B, m, d)
        active = F.silu(x @ (visual + self.keys).transpose(1, 2))  # (B, T, m)
        read = F.dropout(active, self.dropout, self.training) @ (visual + self.values)
        return self.feed_forward(x) + self.scale * read  # (B, T, d)


def shared_memory(
    feed_forwards: Sequence[nn.Module],
    rows: int,
    width: int,
    scale: float = 0.1,
    dropout: float = 0.1,
    seed: int = 0,
) -> list[MemoryPrompt]:
    """A memory in the feed-forward layer of every block, with one P1 and one P2 for all blocks.

    Arguments as :class:`MemoryPrompt`, whose feed-forward layers are ``feed_forwards``.
    """
    layers = [MemoryPrompt(each, rows, width, scale, dropout, seed) for each in feed_forwards]
    for layer in layers[1:]:
        layer.keys, layer.values = layers[0].keys, layers[0].values
    return layers
