"""Print the built book as one PDF, by Chromium: what make pdf calls.

    python book/pdf.py

``_build/html`` is printed to ``_build/pdf``: cover, contents, and the pages in the order of the
table of contents, as :mod:`one_page` puts them together.
"""

from __future__ import annotations

import sys
from pathlib import Path

import chromium
import yaml
from one_page import combine, edition

NAME = "dense-information-prompt"
WIDTH, HEIGHT, MM = 210, 297, 1 / 25.4
"""A4 in millimetres, and one of them in inches, which Chromium asks for."""
COLUMN = 642
"""CSS pixels between the margins of ``print.css``: tables.js chooses cards by this width."""
READY = """(async () => {
  const shown = [...document.images].map(each => { each.loading = 'eager'; return each.decode(); });
  await Promise.allSettled(shown);
  await window.MathJax?.startup?.promise;
  await document.fonts.ready;
  return [...document.images].filter(each => !each.naturalWidth).map(each => each.src);
})()"""
"""Waits until pictures, formulas and letters are there; the pictures that are not to be had."""


def write(source: Path, out: Path, program: str) -> None:
    """Print the combined page ``source``.

    Raises:
        ValueError: it names pictures that cannot be shown.
    """
    paper = {"width": COLUMN, "height": 1000, "deviceScaleFactor": 1, "mobile": False}
    with chromium.tab(program) as tab:
        tab.ask("Emulation.setEmulatedMedia", media="print")
        tab.ask("Emulation.setDeviceMetricsOverride", **paper)
        tab.open(source)
        if broken := tab.evaluate(READY):
            raise ValueError(f"pictures that cannot be shown: {broken}; build the book again")
        printed = tab.pdf(
            paperWidth=WIDTH * MM,
            paperHeight=HEIGHT * MM,
            preferCSSPageSize=True,
            printBackground=True,
            generateTaggedPDF=True,
            generateDocumentOutline=True,
        )
    out.write_bytes(printed)


def main() -> None:
    root = Path(__file__).resolve().parents[1]
    html, folder = root / "_build" / "html", root / "_build" / "pdf"
    if not (program := chromium.find()):
        sys.exit(f"a browser is needed as one of {chromium.PROGRAMS}: apt-get install chromium")
    if not html.is_dir():
        sys.exit(f"{html} is missing: make site builds it")
    folder.mkdir(parents=True, exist_ok=True)
    source, out = folder / "book.html", folder / f"{NAME}.pdf"
    toc = yaml.safe_load((root / "book" / "_toc.yml").read_text("utf-8"))
    try:
        source.write_text(combine(root, html, toc, edition(root)), "utf-8")
        write(source, out, program)
    except (OSError, RuntimeError, ValueError) as error:
        sys.exit(str(error))
    print(f"The book is printed: {out} ({out.stat().st_size / 1e6:.1f} MB)")


if __name__ == "__main__":
    main()
