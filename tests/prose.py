"""What there is to read on a page, and how long it takes."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat

WORDS_A_MINUTE = 230
"""Of silent reading of English non-fiction: Brysbaert (2019) finds 238 in 190 studies."""
FENCE = re.compile(r"^(`{3,}|:{3,}).*?^\1\s*$", re.DOTALL | re.MULTILINE)
TARGET = re.compile(r"\]\([^)]*\)")
WORD = re.compile(r"[^\W_]+(?:[-'.][^\W_]+)*")


def paragraphs(page: Path) -> list[str]:
    """The text of a page, its title first: of a notebook its Markdown and what its cells say.

    Left out: code, tables, figures and the line under a figure that says how it was made.
    """
    if page.suffix == ".md":
        return [*FENCE.sub("", page.read_text("utf-8")).split("\n\n")]
    parts = []
    for cell in nbformat.read(page, as_version=4).cells:
        if cell.cell_type == "markdown":
            parts.append(FENCE.sub("", cell.source))
        elif "remove-input" not in cell.metadata.get("tags", ()):
            said = (out.get("data", {}).get("text/markdown", "") for out in cell.outputs)
            parts += [each for each in said if not re.match(r"\*\w", each)]  # *Glyph World · 9 runs
    return [part for text in parts for part in text.split("\n\n") if part.strip()]


def minutes(page: Path) -> float:
    """How long a page takes to read."""
    text = TARGET.sub("]", " ".join(paragraphs(page)))
    return len(WORD.findall(text)) / WORDS_A_MINUTE
