"""MemVP (Jie et al., ICML 2024): visual prompts as further keys and values of a feed-forward layer.

A feed-forward layer is a memory, FFN(x) = act(x W1) W2, and m rows of projected image features V
are appended to it: keys V + P1 and values V + P2, scaled by s. Source: ``memvp/adapter.py`` of
JieShibo/MemVP.

There the layer stands in every block of LLaMA (one P1 and P2 for all blocks): V = 0.01 times an
adapter (1024 -> 128 -> d, SiLU) of the tokens of CLIP's ViT-L/14, padded with zeros to m = 320
rows; s = 0.1, dropout 0.1; AdamW with betas (0.9, 0.95), weight decay 0.02, 20 epochs. That setting
is not measured here: it needs LLaMA's weights.

Symbols: B sequences, T tokens, d width, m rows.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dip_lib.randomness import normal


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
