"""The directive ``{scaling}``: a sweep on one and two workers, and an estimate for GPUs."""

from __future__ import annotations

import json
from statistics import median
from typing import Any

from docutils import nodes
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

from dip_lib.paths import results_dir

from .templates import html

logger = logging.getLogger(__name__)


def scaling_rows(results: dict[str, Any]) -> list[dict[str, Any]]:
    """A row for each kind of workers and their number: median seconds, and one worker's over them.

    One worker's are of the same kind; of workers in another network, of Dask's one here.
    """
    seconds = {name: median(each) for name, each in results["seconds"].items()}
    rows = []
    for name, taken in seconds.items():
        kind, count, *network = name.split(", ")
        one = seconds[f"{kind}, 1"]
        rows.append(
            {
                "kind": ", ".join([kind, *network]),
                "workers": int(count),
                "seconds": taken,
                "times": one / taken,
            }
        )
    return rows


class Scaling(SphinxDirective):
    """The tables of ``results/benchmarks/scaling.json``, which ``benchmarks/scaling.py`` writes."""

    def run(self) -> list[nodes.Node]:
        path = results_dir() / "benchmarks" / "scaling.json"
        self.env.note_dependency(str(path))
        try:
            results = json.loads(path.read_text("utf-8"))
            return [html("scaling.html", rows=scaling_rows(results), about=results)]
        except (OSError, ValueError, KeyError) as error:
            logger.warning("scaling: %s", error, location=self.get_location())
            return []
