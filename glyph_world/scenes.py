"""Drawings whose label is not a character: how many letters, and in which font.

Everything but the label is drawn at random. Symbols: N images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from PIL import Image

from glyph_world.draw import SIZE, draw
from glyph_world.styles import CRISP
from glyph_world.world import PRETRAINING_FONTS

LETTERS = "ABEFGJKLPRTY"
COUNTS = ("one", "two", "three", "four", "five", "six", "seven", "eight")
HEIGHT = (11, 17)
"""Range of a letter of many, pixels of a mask."""
MARGIN = 2
STILL = replace(CRISP, rotation=3.0, zoom=(0.95, 1.05), shear=0.0, shift=0.02)
"""The look of many letters: none is moved out of the image."""
APART = 0.9
"""Least distance between two letters' centres, in heights of the larger one."""


def _drawn(character: str, font: str) -> np.ndarray:
    """The mask (64, 64) of a character."""
    mask = draw(ord(character), font)
    if mask is None:
        raise LookupError(f"{font} has no {character}: choose LETTERS that every font has")
    return mask


def ink(character: str, font: str, height: float) -> Image.Image:
    """The ink of a character, so many pixels high."""
    full = Image.fromarray(_drawn(character, font))
    inked = full.crop(full.getbbox())
    size = max(1, round(inked.width * height / inked.height)), max(1, round(height))
    return inked.resize(size, Image.Resampling.BILINEAR)


def any_font(random: np.random.Generator) -> str:
    """A font of pre-training."""
    return PRETRAINING_FONTS[random.integers(len(PRETRAINING_FONTS))]


def any_letter(random: np.random.Generator) -> str:
    """One of LETTERS."""
    return LETTERS[random.integers(len(LETTERS))]


def paste(canvas: Image.Image, letter: Image.Image, x: float, y: float) -> None:
    """Draw a letter whose centre is at (x, y)."""
    canvas.paste(255, (round(x - letter.width / 2), round(y - letter.height / 2)), letter)


def blank() -> Image.Image:
    """A mask without ink."""
    return Image.new("L", (SIZE, SIZE), 0)


def _scene(count: int, random: np.random.Generator) -> np.ndarray:
    """The mask of so many small letters at random places, none on another's centre."""
    canvas, placed = blank(), list[tuple[float, float, float]]()
    while len(placed) < count:
        height = random.uniform(*HEIGHT)
        low = height / 2 + MARGIN
        x, y = random.uniform(low, SIZE - low, 2)
        if all(np.hypot(x - a, y - b) >= APART * max(height, h) for a, b, h in placed):
            font = any_font(random)
            paste(canvas, ink(any_letter(random), font, height), x, y)
            placed.append((x, y, height))
    return np.asarray(canvas)


def places_apart(
    heights: Sequence[float], random: np.random.Generator
) -> list[tuple[float, float]]:
    """Random centres of letters of these heights, none on another's; all anew if one finds none."""
    while True:
        placed = list[tuple[float, float, float]]()
        for height in heights:
            low = height / 2 + MARGIN
            for x, y in random.uniform(low, SIZE - low, (200, 2)):
                if all(np.hypot(x - a, y - b) >= APART * max(height, h) for a, b, h in placed):
                    placed.append((x, y, height))
                    break
            else:
                break
        if len(placed) == len(heights):
            return [(x, y) for x, y, _ in placed]


def how_many(label: int, random: np.random.Generator) -> np.ndarray:
    """The mask (64, 64) of one letter and as many more as the label says."""
    return _scene(1 + label, random)


def which_font(label: int, random: np.random.Generator) -> np.ndarray:
    """The mask (64, 64) of one letter in the font that the label numbers."""
    return _drawn(any_letter(random), PRETRAINING_FONTS[label])
