"""A figure of intervals in rows, in which every row has a dot for each world.

In the style of ``dip_book.plots``.
"""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from dip_book.interval import Interval
from dip_book.plots import COLOURS, WIDTH

Rows = Mapping[str, Interval]
LOOKS = (("#222222", "o"), (COLOURS["other"], "D"), ("#8c6d31", "^"), ("#7b4173", "v"))
"""Colour and marker of each world, in their order."""
APART = 0.32
"""Between the dots of two worlds, in rows."""


def panels(found: Mapping[str, Mapping[str, Rows]], xlabel: str) -> None:
    """One panel below the other for each quantity, a row for each name, a dot for each world.

    A dot is filled where its 95 % interval lies on one side of zero. Intervals without ends, as of
    a single dataset, are dots alone.

    Args:
        found: world -> quantity -> name -> interval; names and quantities in their order.
    """
    quantities = list(dict.fromkeys(q for each in found.values() for q in each))
    names = {q: _names(found, q) for q in quantities}
    heights = [max(1, len(names[q])) for q in quantities]
    figure, grid = plt.subplots(
        len(quantities),
        1,
        figsize=(WIDTH, sum(0.27 * h + 0.75 for h in heights) + 0.4),
        squeeze=False,
        height_ratios=heights,
    )
    for axes, quantity in zip(grid.flat, quantities, strict=True):
        for i, (look, part) in enumerate(zip(LOOKS, found.values(), strict=False)):
            shift = APART * (i - (len(found) - 1) / 2)
            _dots(axes, part.get(quantity, {}), names[quantity], shift, look)
        axes.axvline(0, color="0.4", lw=0.8)
        axes.set_title(quantity, pad=3, loc="left")
        axes.set_yticks(range(len(names[quantity])), names[quantity])
        axes.set_ylim(len(names[quantity]) - 0.4, -0.6)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x", color="0.92")
    grid.flat[-1].set_xlabel(xlabel)
    if len(found) > 1:
        marks = [Line2D([], [], color=c, marker=m, lw=1.4) for c, m in LOOKS[: len(found)]]
        figure.legend(marks, [*found], loc="outside upper center", ncols=len(found))


def _names(found: Mapping[str, Mapping[str, Rows]], quantity: str) -> list[str]:
    """The names of a quantity's rows in any world, in their order."""
    return list(dict.fromkeys(name for each in found.values() for name in each.get(quantity, {})))


def _dots(axes: Axes, rows: Rows, names: list[str], shift: float, look: tuple[str, str]) -> None:
    """One world's dots with their intervals."""
    colour, marker = look
    for name, interval in rows.items():
        y = names.index(name) + shift
        if np.isfinite(interval.low):
            axes.plot([interval.low, interval.high], [y, y], color=colour, lw=1.4)
        face = colour if interval.sign else "white"
        axes.plot(interval.value, y, marker, color=colour, markerfacecolor=face, ms=5)
