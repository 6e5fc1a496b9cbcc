"""How the characters were chosen: ``python pretraining/choose.py`` writes ``world.json``.

The committed list is what the library uses: this module is kept so that the list can be checked
and rebuilt. Rule: assigned, visible, non-combining characters of fourteen Unicode blocks and ASCII
that at least one pre-training font can draw, at most 64 a block, evenly spread over it.
"""

from __future__ import annotations

import json
import unicodedata

import numpy as np
from fontTools.ttLib import TTFont

from glyph_world.draw import draw, font_digest, mask_digest
from glyph_world.world import FONTS, PRETRAINING_FONTS, WORLD_FILE, font_path, short_name

MOST = 64
"""Largest number of characters taken from one block."""

FAMILY_BLOCKS = {
    "greek": (0x391, 0x3C9),
    "cyrillic": (0x410, 0x44F),
    "latin": (0xC0, 0x17F),
    "arrows": (0x2190, 0x21FF),
    "operators": (0x2200, 0x22FF),
    "boxes": (0x2500, 0x257F),
    "shapes": (0x25A0, 0x25FF),
    "symbols": (0x2600, 0x26FF),
    "dingbats": (0x2701, 0x27BF),
    "dominoes": (0x1F030, 0x1F093),
    "syllabics": (0x1401, 0x1460),
}
SOURCE_BLOCKS = {
    "ascii": (0x21, 0x7E),
    "armenian": (0x531, 0x586),
    "technical": (0x2300, 0x23FF),
    "faces": (0x1F600, 0x1F640),
}
# Blocks lie next to characters that would be ambiguous: modifier letters and presentation forms.
EXCLUDED = [(0x2B0, 0x2FF)]


def drawable() -> list[int]:
    """Code points that are nameable, visible and covered by a pre-training font."""
    covered: set[int] = set()
    for font in PRETRAINING_FONTS:
        covered |= set(TTFont(font_path(font)).getBestCmap())

    def visible(point: int) -> bool:
        kind = unicodedata.category(chr(point))
        named = unicodedata.name(chr(point), "") != ""
        return named and kind[0] not in "ZC" and kind not in ("Mn", "Me", "Mc")

    return sorted(p for p in covered if visible(p) and not any(a <= p <= b for a, b in EXCLUDED))


def spread(points: list[int], most: int) -> list[int]:
    """At most ``most`` of ``points``, evenly spaced, the first and last kept."""
    if len(points) <= most:
        return points
    return [points[int(i)] for i in np.linspace(0, len(points) - 1, most)]


def choose() -> dict[str, list[int]]:
    """Code points by set name: the eleven families (unique class names) and the source set."""
    points = drawable()
    chosen: dict[str, list[int]] = {}
    for name, (first, last) in (FAMILY_BLOCKS | SOURCE_BLOCKS).items():
        block = [p for p in points if first <= p <= last]
        taken = block if name == "ascii" else spread(block, MOST)
        unique = {short_name(p): p for p in reversed(taken)}  # the first of equal names stays
        chosen[name] = sorted(unique.values())
    source = sorted(p for name in SOURCE_BLOCKS for p in chosen.pop(name))
    return chosen | {"source": source}


def main() -> None:
    sets = choose()
    points = sorted(p for members in sets.values() for p in members)
    fonts = {
        font: {"file": font_digest(font), "masks": mask_digest(draw(p, font) for p in points)}
        for font in FONTS
    }
    WORLD_FILE.write_text(json.dumps({"sets": sets, "fonts": fonts}, indent=None) + "\n")
    print({name: len(members) for name, members in sets.items()}, len(points), "characters")


if __name__ == "__main__":
    main()
