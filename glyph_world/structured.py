"""Drawings whose label is a relation: how many letters of a kind, where, how far apart.

Everything but the label is drawn at random. Each function takes a label, from 0, and draws one mask
(64, 64); lengths are pixels of a mask. Letters of two kinds are in :mod:`.letter_kinds`.
"""

from __future__ import annotations

import numpy as np
from PIL import ImageDraw

from glyph_world import letter_kinds
from glyph_world.draw import SIZE
from glyph_world.letter_kinds import BOLD, MIDDLE, THIN, Drawing
from glyph_world.scenes import (
    COUNTS,
    LETTERS,
    any_font,
    any_letter,
    blank,
    how_many,
    ink,
    paste,
    places_apart,
    which_font,
)
from glyph_world.world import PRETRAINING_FONTS

SMALL = (11, 14)
"""Range of heights."""
EDGE = 9
"""Least distance of a small letter's centre to the edge."""
DOT = (7, 13)
"""Range of a dot's diameter."""
AIMS = 0.3
"""Largest error of a direction or distance, in steps from one label to the next."""


def _pair(
    direction: float, distance: float, random: np.random.Generator
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Two centres inside the mask, the second at this angle, clockwise from the right, and distance
    from the first."""
    apart = distance * np.array([np.cos(direction), np.sin(direction)])
    while True:
        first = random.uniform(EDGE, SIZE - EDGE, 2)
        second = first + apart
        if (second > EDGE).all() and (second < SIZE - EDGE).all():
            return (first[0], first[1]), (second[0], second[1])


def how_many_kinds(label: int, random: np.random.Generator) -> np.ndarray:
    """Eight letters in one font, of so many kinds: one and the label."""
    kinds = [LETTERS[i] for i in random.permutation(len(LETTERS))[: label + 1]]
    more = [kinds[i] for i in random.integers(len(kinds), size=8 - len(kinds))]
    letters, font, heights = [*kinds, *more], any_font(random), random.uniform(*SMALL, 8).tolist()
    canvas = blank()
    for letter, height, (x, y) in zip(letters, heights, places_apart(heights, random), strict=True):
        paste(canvas, ink(letter, font, height), x, y)
    return np.asarray(canvas)


def how_many_tall(label: int, random: np.random.Generator) -> np.ndarray:
    """Seven letters, as many of them tall as the label says."""
    heights = [17.0] * label + [9.0] * (7 - label)
    canvas = blank()
    for height, (x, y) in zip(heights, places_apart(heights, random), strict=True):
        paste(canvas, ink(any_letter(random), any_font(random), height), x, y)
    return np.asarray(canvas)


def how_many_bold(label: int, random: np.random.Generator) -> np.ndarray:
    """Seven letters, as many of them bold as the label says."""
    fonts, heights = [BOLD] * label + [THIN] * (7 - label), random.uniform(11, 16, 7).tolist()
    canvas = blank()
    for font, height, (x, y) in zip(fonts, heights, places_apart(heights, random), strict=True):
        paste(canvas, ink(any_letter(random), font, height), x, y)
    return np.asarray(canvas)


def where_from(label: int, random: np.random.Generator) -> np.ndarray:
    """A large letter and a small one, which lies from it in the direction of the label."""
    direction = 2 * np.pi * (label + random.uniform(-AIMS, AIMS)) / 8
    places = _pair(direction, random.uniform(16, 24), random)
    canvas = blank()
    for height, (x, y) in zip((18, 11), places, strict=True):
        paste(canvas, ink(any_letter(random), any_font(random), height), x, y)
    return np.asarray(canvas)


def how_far(label: int, random: np.random.Generator) -> np.ndarray:
    """Two letters, 14 pixels and four for each label apart."""
    distance = 14 + 4 * (label + random.uniform(-AIMS, AIMS))
    canvas = blank()
    for x, y in _pair(random.uniform(0, 2 * np.pi), distance, random):
        paste(canvas, ink(any_letter(random), any_font(random), random.uniform(*SMALL)), x, y)
    return np.asarray(canvas)


def sum_of_two(label: int, random: np.random.Generator) -> np.ndarray:
    """Two digits whose sum is the label."""
    first = int(random.integers(label + 1))
    canvas = blank()
    for digit, x in ((first, 20), (label - first, 44)):
        letter = ink(str(digit), any_font(random), random.uniform(18, 24))
        paste(canvas, letter, x + random.uniform(-4, 4), MIDDLE + random.uniform(-12, 12))
    return np.asarray(canvas)


def how_large(label: int, random: np.random.Generator) -> np.ndarray:
    """One letter, ten pixels and three for each label high."""
    height = 10 + 3 * (label + random.uniform(-AIMS, AIMS))
    ((x, y),) = places_apart([height], random)
    canvas = blank()
    paste(canvas, ink(any_letter(random), any_font(random), height), x, y)
    return np.asarray(canvas)


def how_many_dots(label: int, random: np.random.Generator) -> np.ndarray:
    """One dot and as many more as the label says, of any size."""
    sizes, canvas = random.uniform(*DOT, label + 1).tolist(), blank()
    pen = ImageDraw.Draw(canvas)
    for size, (x, y) in zip(sizes, places_apart(sizes, random), strict=True):
        pen.ellipse((x - size / 2, y - size / 2, x + size / 2, y + size / 2), fill=255)
    return np.asarray(canvas)


NUMBERS = ("none", *COUNTS, "nine")
DIRECTIONS = (
    "right",
    "lower right",
    "below",
    "lower left",
    "left",
    "upper left",
    "above",
    "upper right",
)
DRAWINGS: dict[str, tuple[tuple[str, ...], Drawing]] = {
    "how_many": (COUNTS, how_many),
    "which_font": (PRETRAINING_FONTS, which_font),
    "how_many_kinds": (NUMBERS[1:6], how_many_kinds),
    "how_many_tall": (NUMBERS[:8], how_many_tall),
    "how_many_bold": (NUMBERS[:8], how_many_bold),
    "where_from": (DIRECTIONS, where_from),
    "how_far": (tuple(f"{14 + 4 * i} pixels" for i in range(8)), how_far),
    "which_bold": (DIRECTIONS, letter_kinds.which(letter_kinds.bold)),
    "sum_of_two": (NUMBERS, sum_of_two),
    "how_large": (tuple(f"{10 + 3 * i} pixels" for i in range(8)), how_large),
    "which_pale": (DIRECTIONS, letter_kinds.which(letter_kinds.pale)),
    "which_hollow": (DIRECTIONS, letter_kinds.which(letter_kinds.hollow, letter_kinds.bold)),
    "which_underlined": (DIRECTIONS, letter_kinds.which(letter_kinds.underlined)),
    "which_digit": (DIRECTIONS, letter_kinds.which(letter_kinds.digit)),
    "how_many_dots": (COUNTS, how_many_dots),
}
"""Name of a drawing, as tasks.toml has it, -> names of classes, of which a task has the first ones,
and what draws a label."""
