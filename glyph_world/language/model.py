"""A small causal language model in plain torch: four blocks, norms first, no biases.

What a method changes is given with every call and nothing is rebound: rows before the text, and
what each block takes for its feed-forward layer.

Symbols: B texts, T tokens, P earlier positions, d width, h heads, V words.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from safetensors.torch import load, save
from torch import Tensor, nn

from dip_lib.errors import DamagedFileError
from glyph_world.language.texts import LONGEST, vocabulary
from glyph_world.models import WEIGHTS

NAME = "glyph-lm"
FILE = WEIGHTS / f"{NAME}.safetensors"
CARD = WEIGHTS / "language.json"
"""sha256 of the weights file, recipe and what the model knows; written by its pre-training."""
WIDTH, BLOCKS, HEADS = 64, 4, 4
FeedForward = Callable[[Tensor], Tensor]
"""(B, T, d) -> (B, T, d), a token at a time."""
Past = Sequence[tuple[Tensor, Tensor]]
"""Of each block the keys and values of earlier positions, (B, h, P, d / h) each."""


class Block(nn.Module):
    """x + attention(norm(x)), then x + feed_forward(norm(x))."""

    def __init__(self) -> None:
        super().__init__()
        self.attention_norm, self.norm = (nn.LayerNorm(WIDTH, bias=False) for _ in range(2))
        self.inward = nn.Linear(WIDTH, 3 * WIDTH, bias=False)
        self.outward = nn.Linear(WIDTH, WIDTH, bias=False)
        self.feed_forward = nn.Sequential(
            nn.Linear(WIDTH, 4 * WIDTH, bias=False),
            nn.SiLU(),
            nn.Linear(4 * WIDTH, WIDTH, bias=False),
        )

    def forward(
        self, x: Tensor, past: tuple[Tensor, Tensor] | None, feed_forward: FeedForward
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """The block's result, and its keys and values of all positions so far."""
        parts = self.inward(self.attention_norm(x)).unflatten(-1, (3, HEADS, -1))
        query, key, value = parts.permute(2, 0, 3, 1, 4)  # (B, h, T, d / h) each
        if past is None:
            mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        else:
            key, value = torch.cat([past[0], key], 2), torch.cat([past[1], value], 2)
            earlier, rows = past[0].shape[2], query.shape[2]
            seen = torch.ones(rows, earlier + rows, dtype=torch.bool).tril(earlier)
            mixed = F.scaled_dot_product_attention(query, key, value, seen)
        x = x + self.outward(mixed.transpose(1, 2).flatten(2))
        return x + feed_forward(self.norm(x)), (key, value)


class LanguageModel(nn.Module):
    """Words in, logits of the next word out; the table of words is read at both ends."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(0.05 * torch.randn(len(vocabulary()), WIDTH))
        self.positions = nn.Parameter(0.02 * torch.randn(LONGEST, WIDTH))
        self.blocks = nn.ModuleList(Block() for _ in range(BLOCKS))
        self.norm = nn.LayerNorm(WIDTH, bias=False)

    @property
    def feed_forwards(self) -> list[nn.Module]:
        """The feed-forward layer of every block."""
        return [block.get_submodule("feed_forward") for block in self.blocks]

    def embed(self, tokens: Tensor, begin: int = 0) -> Tensor:
        """(B, T) tokens at the text's positions from ``begin`` on -> (B, T, d)."""
        return self.table[tokens] + self.positions[begin : begin + tokens.shape[1]]

    def forward(
        self,
        x: Tensor,
        past: Past = (),
        feed_forwards: Sequence[FeedForward] | None = None,
    ) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
        """What the last block makes of each row of x (B, T, d), and the past for later rows.

        Args:
            x: embedded words, or rows of a prefix, which see what is before them.
            past: of the rows before x; () for none.
            feed_forwards: what each block takes for its feed-forward layer; default its own.
        """
        given = feed_forwards or self.feed_forwards
        present = []
        for place, block in enumerate(self.blocks):
            x, kept = block(x, past[place] if past else None, given[place])
            present.append(kept)
        return x, present

    def logits(self, states: Tensor) -> Tensor:
        """Logits (..., V) of the word behind each row of what :meth:`forward` gave (..., d)."""
        return F.linear(self.norm(states), self.table)


def pack(model: LanguageModel) -> bytes:
    """The weights in half precision, as safetensors bytes."""
    return save({name: value.half().contiguous() for name, value in model.state_dict().items()})


def unpack(data: bytes) -> LanguageModel:
    """The model in fp32, frozen."""
    model = LanguageModel()
    model.load_state_dict({name: value.float() for name, value in load(data).items()})
    return model.eval().requires_grad_(False)


def load_language_model() -> LanguageModel:
    """The committed model, frozen, on the CPU.

    Raises:
        DamagedFileError: the weights' hash is not the one that their card records.
    """
    data, recorded = FILE.read_bytes(), json.loads(CARD.read_text("utf-8"))["sha256"]
    if (digest := hashlib.sha256(data).hexdigest()) != recorded:
        reason = (
            f"sha256 {digest[:12]}…, expected {recorded[:12]}…. Restore it (git checkout), or make "
            "it anew with `python pretraining/language.py`"
        )
        raise DamagedFileError(str(FILE), reason)
    return unpack(data)
