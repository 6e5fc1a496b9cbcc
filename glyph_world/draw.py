"""Drawing a character with a font: a 64 x 64 coverage mask, the same on every machine."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
from fontTools.ttLib import TTFont
from PIL import Image, ImageDraw, ImageFont

from glyph_world.world import FONTS, characters, font_path, world

SIZE = 64
"""Side of a mask, pixels."""
LIMIT = 54
"""Longest side of the ink, pixels: larger glyphs are drawn with a smaller font size."""
EM = 40
"""Font size, pixels."""
FAINTEST = 60
"""A glyph whose darkest pixel stays below this has no usable ink."""


@dataclass(frozen=True)
class Masks:
    """All drawn glyphs of the world.

    Attributes:
        pixels: (M, 64, 64) uint8, 255 = ink.
        character: (M,) index into :func:`~glyph_world.world.characters`.
        font: (M,) index into :data:`~glyph_world.world.FONTS`.
    """

    pixels: np.ndarray
    character: np.ndarray
    font: np.ndarray


@cache
def _sized(font: str, em: int) -> ImageFont.FreeTypeFont:
    # The basic layout engine: Raqm, where present, would shape text differently.
    return ImageFont.truetype(str(font_path(font)), em, layout_engine=ImageFont.Layout.BASIC)


@cache
def _coverage(font: str) -> frozenset[int]:
    return frozenset(TTFont(font_path(font)).getBestCmap())


def draw(point: int, font: str) -> np.ndarray | None:
    """Mask of one character, ink centred, (64, 64) uint8; None where the font has no ink for it."""
    if point not in _coverage(font):
        return None
    canvas = Image.new("L", (2 * SIZE, 2 * SIZE), 0)
    pen, text, sized = ImageDraw.Draw(canvas), chr(point), _sized(font, EM)
    left, top, right, bottom = pen.textbbox((0, 0), text, font=sized, anchor="ls")
    longest = max(right - left, bottom - top)
    if min(right - left, bottom - top) <= 0:
        return None
    if longest > LIMIT:
        sized = _sized(font, max(8, int(EM * LIMIT / longest)))
        left, top, right, bottom = pen.textbbox((0, 0), text, font=sized, anchor="ls")
    middle = (SIZE - (left + right) / 2, SIZE - (top + bottom) / 2)
    pen.text(middle, text, font=sized, fill=255, anchor="ls")
    pixels = np.asarray(canvas)[SIZE // 2 : SIZE // 2 + SIZE, SIZE // 2 : SIZE // 2 + SIZE]
    return pixels.copy() if pixels.max() > FAINTEST else None  # lets go of the canvas


def font_digest(font: str) -> str:
    """sha256 of the font file."""
    return hashlib.sha256(font_path(font).read_bytes()).hexdigest()


def mask_digest(drawn: Iterable[np.ndarray | None]) -> str:
    """sha256 over the masks of one font, in order: changes when rendering changes."""
    digest = hashlib.sha256()
    for mask in drawn:
        digest.update(b"-" if mask is None else mask.tobytes())
    return digest.hexdigest()


def every_mask() -> dict[str, list[np.ndarray | None]]:
    """Font -> the mask of each of :func:`~glyph_world.world.characters`, or None."""
    return {font: [draw(point, font) for point in characters()] for font in FONTS}


def changed_fonts(drawn: Mapping[str, Iterable[np.ndarray | None]]) -> list[str]:
    """Fonts whose masks differ from the committed digests (normally none)."""
    recorded = world()["fonts"]
    return [font for font in drawn if mask_digest(drawn[font]) != recorded[font]["masks"]]


@cache
def masks() -> Masks:
    """Every character in every font that has it; about a second, then kept.

    Warns, naming the fonts, when this machine's fonts or FreeType draw other pixels than those
    the committed weights and results were made with.
    """
    drawn = every_mask()
    if changed := changed_fonts(drawn):
        warnings.warn(
            f"these fonts render differently from the committed world: {', '.join(changed)}. "
            "Results of this machine are not comparable with the book's; install the versions "
            "of matplotlib and Pillow in requirements.lock to get the same pixels.",
            stacklevel=2,
        )
    pixels, character, font = [], [], []
    for f, name in enumerate(FONTS):
        for c, mask in enumerate(drawn[name]):
            if mask is not None:
                pixels.append(mask)
                character.append(c)
                font.append(f)
    return Masks(np.stack(pixels), np.array(character), np.array(font))
