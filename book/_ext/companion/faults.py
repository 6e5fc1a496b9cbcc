"""The directive ``{faults}``: what each fault was tried with, and what it cost."""

from __future__ import annotations

from typing import Any

from .results_table import ResultsTable


class Faults(ResultsTable):
    """The table of ``results/faults.json``, which ``make faults`` writes."""

    file = "faults.json"

    @staticmethod
    def rows(results: dict[str, Any]) -> list[dict[str, Any]]:
        """A row a fault; ``slowest`` is the longest wait for the end of an interrupted program."""
        rows = results["faults"]
        return [row | {"slowest": max(row["seconds"], default=None)} for row in rows]
