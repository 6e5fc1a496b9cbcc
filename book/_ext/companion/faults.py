"""The directive ``{faults}``: what each fault was tried with, and what it cost."""

from __future__ import annotations

import json
from typing import Any

from docutils import nodes
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

from dip_lib.paths import results_dir

from .templates import html

logger = logging.getLogger(__name__)


def fault_rows(results: dict[str, Any]) -> list[dict[str, Any]]:
    """A row a fault; ``slowest`` is the longest wait for the end of an interrupted program."""
    rows = results["faults"]
    return [row | {"slowest": max(row["seconds"], default=None)} for row in rows]


class Faults(SphinxDirective):
    """The table of ``results/faults.json``, which ``make faults`` writes."""

    def run(self) -> list[nodes.Node]:
        path = results_dir() / "faults.json"
        self.env.note_dependency(str(path))
        try:
            results = json.loads(path.read_text("utf-8"))
            return [html("faults.html", rows=fault_rows(results), about=results)]
        except (OSError, ValueError, KeyError) as error:
            logger.warning("faults: %s", error, location=self.get_location())
            return []
