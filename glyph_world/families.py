"""Glyph World's datasets: eleven families, the source set and its four shifts, drawn from seeds.

A dataset is a list of draws (character, font) and a seed for each split. Images are rendered in
memory, a chunk at a time; the same split and view always give the same pixels, and no two splits
share a seed. Symbols: N images, S = 48 pixels.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dip_lib.errors import one_of
from glyph_world.draw import masks
from glyph_world.render import IMAGE_SIZE, render
from glyph_world.styles import STYLES, style_of
from glyph_world.world import (
    FAMILIES,
    FONTS,
    HELD_OUT_FONTS,
    PRETRAINING_FONTS,
    TEMPLATES,
    WORLD_FILE,
    characters,
    full_name,
    members,
    short_name,
)

PER_CLASS = {"train": 48, "val": 8, "test": 50}
"""Images a class: the pool that few-shot sets are drawn from, and what they are evaluated on."""
HARD_DRAWS = 100
"""Draws a class among which "source-a" keeps the hard ones."""
CROP = (0.6, 1.0)
"""Area kept by the random resized crop of an augmented view. Glyphs are never flipped: a mirrored
glyph is another glyph."""
CHUNK = 256
DRAWING = 1
"""Version of the drawing code; part of every dataset's fingerprint."""

SHIFTS = {
    "source-v2": "plain",
    "source-sketch": "sketch",
    "source-a": "plain",
    "source-r": "dilation+half-tone+rotation",
}
HARD_FILE = WORLD_FILE.with_name("source_a.json")
"""Draws of the source set that the zero-shot vision transformer gets wrong; see ``hard.py``."""

NAMES = (*FAMILIES, "source", *SHIFTS)


def seed_of(*parts: object) -> int:
    """A 63-bit seed from names."""
    digest = hashlib.sha256("|".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def augment(images: Tensor, random: torch.Generator) -> Tensor:
    """Random resized crop of each image, (N, 3, S, S) -> (N, 3, S, S), on their device."""
    count = len(images)
    area = torch.rand(count, generator=random) * (CROP[1] - CROP[0]) + CROP[0]
    side = area.sqrt()
    x, y = ((torch.rand(count, generator=random) * 2 - 1) * (1 - side) for _ in "xy")
    zero = torch.zeros_like(side)
    rows = [torch.stack([side, zero, x], 1), torch.stack([zero, side, y], 1)]
    boxes = torch.stack(rows, 1).to(images.device)
    grid = F.affine_grid(boxes, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


def resized(images: Tensor, size: int | None) -> Tensor:
    """Images (V, B, 3, S, S) at another S, for an encoder that reads larger ones."""
    flat = F.interpolate(images.flatten(0, 1), size, mode="bicubic", antialias=True)
    return flat.clamp(0, 1).unflatten(0, images.shape[:2])


@dataclass(frozen=True)
class GlyphDataset:
    """One dataset of Glyph World: :func:`glyph_dataset` makes them.

    Attributes:
        name: "greek", "source-v2", ...
        style: name of the style, or several joined by "+" (each image takes one of them).
        points: code points, in alphabetical order of the class names.
        fonts: fonts the images are drawn with.
        template: the hand-written zero-shot template.
        all_draws: for "source-a", every draw and not only the hard ones.
    """

    name: str
    style: str
    points: tuple[int, ...]
    fonts: tuple[str, ...]
    template: str
    all_draws: bool = False

    @cached_property
    def class_names(self) -> tuple[str, ...]:
        """Short names; where two characters of the set share one, Unicode's full names."""
        short = [short_name(point) for point in self.points]
        pairs = zip(self.points, short, strict=True)
        return tuple(name if short.count(name) == 1 else full_name(p) for p, name in pairs)

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits it has: shifts of the source set have a test split alone."""
        return ("test",) if self.name in SHIFTS else tuple(PER_CLASS)

    @cached_property
    def fingerprint(self) -> str:
        """12 digits that change when any pixel of any split may change."""
        looks = [STYLES[s] for s in self.style.split("+")]
        parts = (DRAWING, WORLD_FILE.read_bytes(), self, looks, PER_CLASS, CROP, CHUNK)
        hard = HARD_FILE.read_bytes() if self.name == "source-a" else b""
        return hashlib.sha256(repr(parts).encode() + hard).hexdigest()[:12]

    def _per_class(self, split: str) -> int:
        return HARD_DRAWS if self.name == "source-a" else PER_CLASS[split]

    def _draws(self, split: str) -> tuple[np.ndarray, np.ndarray]:
        """(label, row of the masks) of every image of the split, in order of label."""
        one_of(f"split of {self.name}", split, self.splits)
        drawn = masks()
        usable = np.isin(drawn.font, [FONTS.index(f) for f in self.fonts])
        random = np.random.default_rng(seed_of(self.name, split, "fonts"))
        index = {point: i for i, point in enumerate(characters())}
        labels, rows = [], []
        for label, point in enumerate(self.points):
            choices = np.nonzero(usable & (drawn.character == index[point]))[0]
            rows.append(random.choice(choices, self._per_class(split)))
            labels.append(np.full(self._per_class(split), label))
        return np.concatenate(labels), np.concatenate(rows)

    def _kept(self, split: str) -> np.ndarray:
        """Positions of the split's images among its draws (all, but for source-a)."""
        if self.name != "source-a" or self.all_draws:
            return np.arange(len(self.points) * self._per_class(split))
        return np.array(json.loads(HARD_FILE.read_text())["kept"])

    def labels(self, split: str) -> Tensor:
        """(N,) class index of every image of the split."""
        return torch.from_numpy(self._draws(split)[0][self._kept(split)])

    def drawn_fonts(self, split: str) -> list[str]:
        """Name of the font of every image of the split."""
        rows = self._draws(split)[1][self._kept(split)]
        return [FONTS[f] for f in masks().font[rows]]

    def groups(self, split: str) -> list[str]:
        """For every image of the split whether pre-training knew its font."""
        known = {True: "pre-training fonts", False: "other fonts"}
        return [known[f in PRETRAINING_FONTS] for f in self.drawn_fonts(split)]

    def examples(self, count: int) -> Tensor:
        """One picture of each of ``count`` classes, evenly spread: (count, 3, S, S) in 0..1."""
        _, rows = self._draws("test")
        per_class = self._per_class("test")
        classes = np.linspace(0, len(self.points) - 1, count).astype(int)
        source = torch.Generator().manual_seed(seed_of(self.name, self.style, "examples"))
        part = torch.from_numpy(masks().pixels[rows[classes * per_class]])
        return render(part, STYLES[self.style.split("+")[0]], source)[0]

    def batches(
        self,
        split: str,
        views: Sequence[int | None] = (None,),
        rows: Sequence[int] | None = None,
        size: int | None = None,
        device: str | torch.device = "cpu",
    ) -> Iterator[Tensor]:
        """The split's images in order, drawn once for all views: (V, <= 256, 3, S, S) in 0..1.

        Args:
            split: "train", "val" or "test".
            views: None for the image itself, a number for an augmented view of it.
            rows: ascending indices of the images wanted; default all.
            size: S; default 48, as they are drawn.
            device: where the images are augmented and handed over.

        Raises:
            ValueError: ``rows`` out of order.
        """
        pixels = torch.from_numpy(masks().pixels)
        _, draws = self._draws(split)
        kept = self._kept(split) if rows is None else self._kept(split)[list(rows)]
        if (np.diff(kept) <= 0).any():
            raise ValueError("Glyph World draws in order: give rows ascending, each once")
        source = torch.Generator().manual_seed(seed_of(self.name, self.style, split, "looks"))
        crops = {v: torch.Generator() for v in views if v is not None}
        for view, generator in crops.items():
            generator.manual_seed(seed_of(self.name, self.style, split, view))
        looks = [STYLES[s] for s in self.style.split("+")]
        for start in range(0, kept.max(initial=-1) + 1, CHUNK):
            part = pixels[torch.from_numpy(draws[start : start + CHUNK])]
            images = torch.empty(len(part), 3, IMAGE_SIZE, IMAGE_SIZE)
            for i, look in enumerate(looks):
                images[i :: len(looks)], _ = render(part[i :: len(looks)], look, source)
            images = images.to(device)
            by_view: dict[int | None, Tensor] = {None: images}
            by_view |= {view: augment(images, crops[view]) for view in crops}
            inside = kept[(kept >= start) & (kept < start + CHUNK)] - start
            if len(inside):
                keep = torch.from_numpy(inside).to(images.device)
                part = torch.stack([by_view[view][keep] for view in views])
                yield part if size in (None, IMAGE_SIZE) else resized(part, size)


def glyph_dataset(name: str, style: str = "default") -> GlyphDataset:
    """A dataset of Glyph World by name, in its own style or in any other.

    Raises:
        ValueError: an unknown dataset or style, with the nearest names.
    """
    one_of("glyph dataset", name, NAMES)
    family = name.split("-")[0]
    style_name = SHIFTS[name] if name in SHIFTS and style == "default" else style_of(family, style)
    fonts = HELD_OUT_FONTS if name == "source-v2" else FONTS
    drawn = masks()
    covered = np.isin(drawn.font, [FONTS.index(f) for f in fonts])
    available = {characters()[c] for c in np.unique(drawn.character[covered])}
    points = tuple(p for p in members(family) if p in available)
    return GlyphDataset(name, style_name, points, fonts, TEMPLATES[family])
