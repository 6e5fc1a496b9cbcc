"""Page 14: what prompts cost, and what condensed sets do; from the results of benchmarks/visual.py.

A result from before condensed sets were measured has none of these: what is made of them is empty.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from dip_book.statistics import median_interval

Curves = dict[str, pd.DataFrame]

LOOKS = {"zero-shot": "operations", "other": "time", "DIP": "memory"}
"""Look of a line -> what it shows, and what the legend calls it."""


def cost_curves(result: Mapping[str, Any]) -> dict[str, Curves]:
    """Operations, time and memory of a training step against the number of prompts, by encoder.

    All relative to no prompts.
    """
    panels = {}
    for name, tower in result["towers"].items():
        rows = {int(count): row for count, row in tower["prompts"].items()}
        none = rows[min(rows)]
        ratios = {n: _ratios(row, none, row["flops_over_none"]) for n, row in rows.items()}
        panels[f"{name}: times as\nmuch as without"] = _lines(ratios)
    return panels


def condensed_curves(result: Mapping[str, Any]) -> dict[str, Curves]:
    """The same of what is kept when ranked over all blocks, relative to all prompts."""
    panels = {}
    for name, tower in result["towers"].items():
        if "condensed" not in tower:
            continue
        kept = tower["condensed"]["kept"].values()
        rows = {row["share"]: row for row in kept if row["ranking"] == "global"}
        whole = rows[max(rows)]
        ratios = {n: _ratios(rows[n], whole, rows[n]["flops_over_all"]) for n in sorted(rows)}
        panels[f"{name}: times as\nmuch as all"] = _lines(ratios)
    return panels


def _ratios(
    row: Mapping[str, Any], other: Mapping[str, Any], operations: float
) -> dict[str, list[float]]:
    """Look -> value and ends; of times the median of the repeats, with its 95 % interval."""
    times = median_interval(np.array(row["seconds"]) / np.array(other["seconds"]))
    return {
        "zero-shot": [operations] * 3,
        "other": [times.value, times.low, times.high],
        "DIP": [row["step_mb"] / other["step_mb"]] * 3,
    }


def _lines(ratios: Mapping[int, Mapping[str, list[float]]]) -> Curves:
    columns = ["value", "low", "high"]
    return {
        look: pd.DataFrame.from_dict(
            {n: each[look] for n, each in ratios.items()}, orient="index", columns=columns
        )
        for look in LOOKS
    }


def condensed_table(result: Mapping[str, Any]) -> pd.DataFrame:
    """A row an encoder, share and ranking: prompts of each block, operations, time, memory."""
    rows = {}
    for name, tower in result["towers"].items():
        for row in tower.get("condensed", {}).get("kept", {}).values():
            ranked = "over all blocks" if row["ranking"] == "global" else "within each block"
            counts = row["counts"]
            rows[name, f"{row['share']} %", ranked] = {
                "prompts of the first and last block": f"{counts[0]}, {counts[-1]}",
                "G operations": row["flops"] / 1e9,
                "ms": 1000 * float(np.median(row["seconds"])) / tower["batch"],
                "MB, forward": row["forward_mb"],
                "MB, training step": row["step_mb"],
            }
    return pd.DataFrame.from_dict(rows, orient="index")


def condensed_finding(result: Mapping[str, Any]) -> str:
    """What is left of time and memory at the smallest and the headline's share."""
    said = []
    for title, lines in condensed_curves(result).items():
        each = [
            f"{share} % of the prompts take {lines['other'].loc[share, 'value']:.0%} of the time "
            f"and {lines['DIP'].loc[share, 'value']:.0%} of the memory of a training step"
            for share in (30, 10)
            if share in lines["other"].index
        ]
        said.append(f"{title.split(':')[0]}: {'; '.join(each)}.")
    return " ".join(said) or "Condensed sets are not measured yet: `python benchmarks/visual.py`."
