"""The directive ``{ask}``: all committed runs, to filter, group and draw in the reader's browser.

The page may fetch nothing, so the runs come as a script. ``book/build.py`` packs them
(:mod:`dip_book.ask_the_data`) into ``results/runs.json``; the script is written beside the page's
own when the site is built, and loaded by that page alone.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

from .templates import html

logger = logging.getLogger(__name__)
PARTS = (
    *("parts", "data", "question", "filter", "groups", "view"),
    *("facets", "axes", "plot", "table", "page", "begin", "runs"),
)
"""The page's scripts in ``_static/ask``, the one that the others register with first."""
GRIDS = "grids"
"""The script that the page loads when the runs of the grids are asked for."""


def runs_of(source: str) -> Path:
    """The packed runs of the book that is built from the folder ``source``."""
    return Path(source) / "results" / "runs.json"


def script(call: str, content: Any) -> str:
    """A script that hands over what was packed."""
    text = json.dumps(content, separators=(",", ":")).replace("<", chr(92) + "u003c")
    return f"AskTheData.{call}({text});\n"


def scripts(pack: dict[str, Any]) -> dict[str, str]:
    """The scripts of a pack by name: what the page begins with, and the rest."""
    first, grids = pack["parts"]
    about = {"sources": grids["sources"], "bytes": len(grids["data"])}
    whole = {"columns": pack["columns"], "parts": [first], GRIDS: about}
    return {"runs": script("pack", whole), GRIDS: script("more", grids)}


def write_runs(app: Sphinx, exception: Exception | None) -> None:
    """Write the scripts of the runs into the built site, if it has any."""
    path = runs_of(str(app.srcdir))
    if path.is_file() and not exception:
        folder = Path(app.outdir) / "_static" / "ask"
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in scripts(json.loads(path.read_text("utf-8"))).items():
            (folder / f"{name}.js").write_text(text, "utf-8")


class Ask(SphinxDirective):
    """Controls, a picture and a table where scripts run, and always how many runs each file has."""

    def run(self) -> list[nodes.Node]:
        pack = runs_of(str(self.env.app.srcdir))
        self.env.note_dependency(str(pack))
        try:
            parts = json.loads(pack.read_text("utf-8"))["parts"]
            files = sorted(each for part in parts for each in part["sources"])
        except (OSError, ValueError, KeyError) as error:
            logger.warning("ask: no runs are packed: %s", error, location=self.get_location())
            return []
        up = "../" * self.env.app.builder.get_target_uri(self.env.docname).count("/")
        return [html("ask.html", files=files, static=f"{up}_static/ask", parts=PARTS)]
