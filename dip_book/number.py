"""A page's number as its file keeps it, for prose and claims."""

from __future__ import annotations

from typing import Any

from dip_book.interval import Interval
from dip_book.statistics import detectable_effect


def entry(value: Interval | float | int | str, n: int) -> dict[str, Any]:
    """The number's value and the text that prose quotes.

    Of an interval also its ends, n, and where it has them its units, the smallest effect that they
    could have found, and its ends over these datasets.

    Args:
        n: how many units an interval without units rests on.
    """
    if not isinstance(value, Interval):
        digits = ".4g" if isinstance(value, float) else ""
        return {"value": value, "text": f"{value:{digits}}"}
    kept: dict[str, Any] = {**value.columns, "text": f"{value:.2f}", "n": len(value.units) or n}
    if value.units:
        kept["units"] = [float(f"{unit:.8g}") for unit in value.units]
        kept["detectable"] = detectable_effect(value.units)
    if value.these:
        kept["these"] = [*value.these]
    return kept
