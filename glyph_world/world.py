"""Glyph World: Unicode characters, the fonts that draw them and the names that caption them.

Images are characters drawn with matplotlib's fonts, captions are their Unicode names. Eleven
families of characters stand for the eleven photo datasets of the field; a larger *source* set,
disjoint from them, stands for ImageNet.
"""

from __future__ import annotations

import json
import unicodedata
from functools import cache
from pathlib import Path

import matplotlib

from dip_lib.errors import one_of

WORLD_FILE = Path(__file__).with_name("world.json")

PRETRAINING_FONTS = (
    "DejaVuSans",
    "DejaVuSans-Bold",
    "DejaVuSans-Oblique",
    "DejaVuSansMono",
    "DejaVuSerif",
    "DejaVuSerif-Italic",
    "STIXGeneral",
    "STIXGeneralBol",
)
HELD_OUT_FONTS = (
    "DejaVuSerif-Bold",
    "DejaVuSansMono-BoldOblique",
    "DejaVuSans-BoldOblique",
    "STIXGeneralItalic",
)
FONTS = PRETRAINING_FONTS + HELD_OUT_FONTS

FAMILIES = (
    "arrows",
    "boxes",
    "cyrillic",
    "dingbats",
    "dominoes",
    "greek",
    "latin",
    "operators",
    "shapes",
    "symbols",
    "syllabics",
)

TEMPLATES = {
    "arrows": "a photo of a {}.",
    "boxes": "box drawings {}.",
    "cyrillic": "a photo of a {}, a type of cyrillic.",
    "dingbats": "a photo of a {}.",
    "dominoes": "domino tile {}.",
    "greek": "a photo of a {}, a type of greek.",
    "latin": "a photo of a {}, a type of latin.",
    "operators": "a photo of a {}.",
    "shapes": "a photo of a {}.",
    "symbols": "a photo of a {}.",
    "syllabics": "canadian syllabics {}.",
    "source": "a photo of a {}.",
}
"""Hand-written zero-shot templates, the counterpart of CoOp's ``CUSTOM_TEMPLATES``."""

# Words of a Unicode name that say to which script or set a character belongs; a class name leaves
# them out, as the class names of photo datasets leave out "a type of pet".
GROUPS = (
    "greek",
    "cyrillic",
    "latin",
    "armenian",
    "box drawings",
    "canadian syllabics",
    "domino tile",
    "roman numeral",
    "circled",
    "apl functional",
)
FILLERS = ("letter", "sign", "symbol")


def font_path(font: str) -> Path:
    """The font file that matplotlib ships. Raises ValueError for a font outside the world."""
    one_of("font", font, FONTS)
    return Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"{font}.ttf"


@cache
def world() -> dict[str, dict]:
    """The committed lists: ``sets`` (name -> code points) and ``fonts`` (name -> digests)."""
    return json.loads(WORLD_FILE.read_text())


@cache
def characters() -> tuple[int, ...]:
    """All code points of the world, ascending. Position in this tuple is the character's index."""
    return tuple(sorted({p for members in world()["sets"].values() for p in members}))


def full_name(point: int) -> str:
    """Unicode's name in lower case: "greek small letter alpha"."""
    return unicodedata.name(chr(point)).lower()


def split_name(point: int) -> tuple[str, str]:
    """(short name, group): ("small alpha", "greek"); group is "" where the name has none."""
    name, group = full_name(point), ""
    for prefix in GROUPS:
        if name.startswith(prefix + " "):
            group, name = prefix, name[len(prefix) + 1 :]
            break
    kept = [word for word in name.split() if word not in FILLERS]
    return " ".join(kept) or name, group


def short_name(point: int) -> str:
    """The class name of a character: its Unicode name without group and filler words."""
    return split_name(point)[0]


def members(name: str) -> list[int]:
    """Code points of a family or of "source", in alphabetical order of their class names.

    Raises:
        ValueError: an unknown family, with the nearest names.
    """
    points = world()["sets"][one_of("glyph family", name, world()["sets"])]
    return sorted(points, key=short_name)
