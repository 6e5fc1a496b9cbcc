"""Drawings in the book are written short: what no reader sees of Matplotlib's SVG is left out.

A figure of a page keeps hundredths of a point and its comments, which say in words what is drawn as
outlines; :mod:`.gallery` shortens the pictures of cards further.
"""

from __future__ import annotations

import re
from pathlib import Path

from sphinx.application import Sphinx

GLYPH = re.compile(r'id="(DejaVu[\w-]+)"')
NUMBER = re.compile(r"(?P<scale>scale\([^)]*\))|\.(?P<part>\d+)")
"""What follows a decimal point; scales give letters their size and keep it."""
USE = re.compile(r'<use xlink:href="#(\w+)"(?: transform="translate\(([\d.-]+) 0\)")?/>')


def short_text(svg: str) -> str:
    """The drawing with short names of its letters, and their places in whole units of a font.

    A letter of a drawn text is a reference to an outline, and there are thousands in the book.
    """
    for number, name in enumerate(dict.fromkeys(GLYPH.findall(svg))):
        svg = svg.replace(f'id="{name}"', f'id="l{number}"').replace(f'"#{name}"', f'"#l{number}"')

    def shorter(found: re.Match[str]) -> str:
        place = f' x="{float(found[2]):.0f}"' if found[2] else ""
        return f'<use href="#{found[1]}"{place}/>'

    return USE.sub(shorter, svg)


def anonymous(svg: str) -> str:
    """The drawing without the names that nothing in it refers to."""
    used = set(re.findall(r'(?:href="|url\()#([^")]+)', svg))
    return re.sub(r' id="([^"]+)"', lambda name: name[0] if name[1] in used else "", svg)


def short(svg: str, digits: int = 2) -> str:
    """The drawing without indentation and metadata, with so many digits after the point."""
    told = re.sub(r"<metadata>.*?</metadata>\n", "", re.sub(r"\n +", "\n", svg), flags=re.DOTALL)
    outlines = re.sub(r" ?\n([LQCz]) ?", r"\1", short_text(anonymous(told)))  # a segment each

    def cut(found: re.Match[str]) -> str:
        return found["scale"] or f".{found['part'][:digits]}"

    return NUMBER.sub(cut, outlines)


def shorten_figures(app: Sphinx, exception: Exception | None) -> None:
    """Write the drawings of the built book's pages again, short."""
    for path in [] if exception else sorted((Path(app.outdir) / "_images").glob("*.svg")):
        path.write_text(short(path.read_text("utf-8")), "utf-8")
