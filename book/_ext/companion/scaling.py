"""The directive ``{scaling}``: a sweep on one and two workers, and an estimate for GPUs."""

from __future__ import annotations

from statistics import median
from typing import Any

from .results_table import ResultsTable


class Scaling(ResultsTable):
    """The tables of ``results/benchmarks/scaling.json``, which ``benchmarks/scaling.py`` writes."""

    file = "benchmarks/scaling.json"

    @staticmethod
    def rows(results: dict[str, Any]) -> list[dict[str, Any]]:
        """A row for each kind of workers and their number: median seconds, one worker's over them.

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
