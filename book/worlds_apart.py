"""Figures that stack worlds, taken apart for paper: a picture of each world.

Whole, such a strip fits a page only with small letters, and leaves the page before it half empty.
"""

from __future__ import annotations

import re
from copy import copy
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote, urlsplit

from bs4 import Tag

from dip_book.claims import CLAIMED

HEIGHT = re.compile(r'viewBox="0 0 [\d.]+ ([\d.]+)"')
HEADING = re.compile(
    rf"<!-- (?:{'|'.join(map(re.escape, CLAIMED))}) -->\s*<g [^>]*translate\([\d.]+ ([\d.]+)\)"
)
"""A world's name above its panels, as Matplotlib writes text: the height of its baseline."""


def cuts_of(svg: str) -> list[float]:
    """Where a figure is cut, as shares of its height from the top; none for a single world.

    Each world begins as far above its heading as the figure above the first one.
    """
    height = HEIGHT.search(svg)
    headings = sorted({float(y) for y in HEADING.findall(svg)})
    return [(each - headings[0]) / float(height[1]) for each in headings[1:]] if height else []


def take_apart(article: Tag) -> None:
    """Put a picture of each world in the place of a figure that stacks several."""
    for image in article.select('img[src$=".svg"]'):
        path = Path(unquote(urlsplit(str(image["src"])).path))
        cuts = cuts_of(path.read_text("utf-8")) if path.is_file() else []
        if not cuts:
            continue
        for number, (top, bottom) in enumerate(pairwise((0.0, *cuts, 1.0)), 1):
            part = copy(image)
            part["style"] = f"object-view-box: inset({top:.2%} 0 {1 - bottom:.2%} 0)"
            part["alt"] = f"{image.get('alt', '')} (part {number} of {len(cuts) + 1})"
            image.insert_before(part)
        image.decompose()
