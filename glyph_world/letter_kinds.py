"""Drawings of letters of two kinds, whose label is where the one of its kind is.

Eight letters stand on a ring, and the label numbers the place of the one that is not as the others,
clockwise from the right. Everything else is drawn at random. Lengths are pixels of a mask (64, 64).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageFilter

from glyph_world.draw import SIZE
from glyph_world.scenes import any_letter, blank, ink, paste

Drawing = Callable[[int, np.random.Generator], np.ndarray]
"""Draws one mask (64, 64) of a label, from 0."""
Kind = Callable[[np.random.Generator], Image.Image]
"""Draws the ink of a letter of a kind."""

THIN, BOLD = "DejaVuSans", "DejaVuSans-Bold"
MIDDLE = SIZE / 2
RADIUS = 23
"""Of the ring."""
HEIGHT = 12
"""Of every letter."""
FAINT = 0.5
"""Share of its ink that a pale letter keeps."""
DIGITS = "2345679"


def thin(random: np.random.Generator) -> Image.Image:
    return ink(any_letter(random), THIN, HEIGHT)


def bold(random: np.random.Generator) -> Image.Image:
    return ink(any_letter(random), BOLD, HEIGHT)


def pale(random: np.random.Generator) -> Image.Image:
    return thin(random).point(lambda value: FAINT * value)


def hollow(random: np.random.Generator) -> Image.Image:
    """The outline of a bold letter."""
    large = ink(any_letter(random), BOLD, 3 * HEIGHT)
    edge = Image.fromarray(np.asarray(large) - np.asarray(large.filter(ImageFilter.MinFilter(5))))
    return edge.resize((round(large.width / 3), HEIGHT), Image.Resampling.BILINEAR)


def underlined(random: np.random.Generator) -> Image.Image:
    """A thin letter above a line, together as high as the others."""
    letter, both = ink(any_letter(random), THIN, HEIGHT - 3), Image.new("L", (HEIGHT, HEIGHT), 0)
    both.paste(letter, ((HEIGHT - letter.width) // 2, 0))
    both.paste(255, (0, HEIGHT - 1, HEIGHT, HEIGHT))
    return both


def digit(random: np.random.Generator) -> Image.Image:
    return ink(DIGITS[random.integers(len(DIGITS))], THIN, HEIGHT)


def which(one: Kind, others: Kind = thin) -> Drawing:
    """Eight letters on a ring; that at the label's place is of another kind."""

    def drawing(label: int, random: np.random.Generator) -> np.ndarray:
        canvas = blank()
        for place in range(8):
            x, y = (MIDDLE + RADIUS * f(2 * np.pi * place / 8) for f in (np.cos, np.sin))
            paste(canvas, (one if place == label else others)(random), x, y)
        return np.asarray(canvas)

    return drawing
