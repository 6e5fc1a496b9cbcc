"""The pre-training corpus: every character in every pre-training font, drawn and captioned anew.

Symbols: B images in a batch, L tokens of the longest caption.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from glyph_world.captions import FONT_WORDS, caption, tokenizer, vocabulary
from glyph_world.draw import masks
from glyph_world.models import normalise
from glyph_world.render import render
from glyph_world.styles import GENERIC
from glyph_world.world import FONTS, PRETRAINING_FONTS, characters


@dataclass(frozen=True)
class Batch:
    images: Tensor  # (B, 3, 48, 48), normalised
    tokens: Tensor  # (B, L) rows of the compact vocabulary
    character: Tensor  # (B,)


class Corpus:
    """All masks of the pre-training fonts, ready to be drawn and captioned."""

    def __init__(self) -> None:
        drawn = masks()
        usable = drawn.font < len(PRETRAINING_FONTS)
        order = np.argsort(drawn.character[usable], kind="stable")
        self.pixels = torch.from_numpy(drawn.pixels[usable][order])
        self.font = drawn.font[usable][order]
        self.count = len(characters())
        # masks of character c are rows start[c] : start[c + 1]
        self.start = np.searchsorted(drawn.character[usable][order], np.arange(self.count + 1))
        ids = vocabulary()
        self.row = {int(token): row for row, token in enumerate(ids)}
        self.ends = self.row[tokenizer().sot_token_id], self.row[tokenizer().eot_token_id]

    def tokens(self, texts: list[str]) -> Tensor:
        """Rows of the compact vocabulary, padded to the longest text, (B, L)."""
        first, last = self.ends
        rows = [[first, *(self.row[t] for t in tokenizer().encode(x)), last] for x in texts]
        width = max(map(len, rows))
        return torch.tensor([row + [0] * (width - len(row)) for row in rows])

    def batch(self, size: int, seed: int, step: int) -> Batch:
        """The batch of step ``step``, a little below ``size``: each character at most once.

        Half of it are random characters, half runs of neighbouring code points.
        """
        random = np.random.default_rng([seed, step])
        source = torch.Generator().manual_seed(seed * 1_000_003 + step)
        free = random.permutation(self.count)[: size // 2]
        starts = random.integers(0, self.count, 4)
        runs = [(s + np.arange(size // 8)) % self.count for s in starts]
        chosen = np.unique(np.concatenate([free, *runs]))
        size = self.start[chosen + 1] - self.start[chosen]
        mask = self.start[chosen] + (random.random(len(chosen)) * size).astype(int)
        images, tags = render(self.pixels[torch.from_numpy(mask)], GENERIC, source)
        texts = []
        for b, c in enumerate(chosen):
            looks = [word for word, applies in tags.items() if applies[b]]
            looks.append(FONT_WORDS[FONTS[self.font[mask[b]]]])
            texts.append(caption(characters()[c], looks, random))
        return Batch(normalise(images), self.tokens(texts), torch.from_numpy(chosen))
