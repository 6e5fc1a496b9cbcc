"""The directive ``{explore}``: stored runs by rank, dropout and length of training, to play with.

The table holds every setting that was measured (:func:`dip_book.summary.sweeps`); where scripts
run, ``explore.js`` reads the same numbers from the page and draws them beside three sliders.
Nothing is fetched.
"""

from __future__ import annotations

from docutils import nodes
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

from .status import summary_of
from .templates import html

logger = logging.getLogger(__name__)


class Explore(SphinxDirective):
    """Sliders and a figure where scripts run, and always the table."""

    def run(self) -> list[nodes.Node]:
        try:
            summary = summary_of(self.env)
            if not summary["sweeps"]:
                raise LookupError("no runs are committed: run make publish")
        except (OSError, ValueError, LookupError) as error:
            logger.warning("explore: %s", error, location=self.get_location())
            return []
        up = "../" * self.env.app.builder.get_target_uri(self.env.docname).count("/")
        tables = {name: summary[name] for name in ("seeds", "sweeps")}
        return [html("explore.html", static=f"{up}_static", **tables)]
