"""Figures of :mod:`dip_book.figures` with a part for each world.

With one world alone they are those figures. What is drawn is by world.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import FigureBase

from dip_book import figures
from dip_book.interval import Interval
from dip_book.plots import in_each_world

Rows = Mapping[str, Interval]


def intervals(
    rows: Mapping[str, Rows], xlabel: str, breaks: Mapping[str, Sequence[str]] | None = None
) -> None:
    """Dots with intervals in rows, on one scale; a world without rows has no part."""
    shown = {world: (part, (breaks or {}).get(world, ())) for world, part in rows.items() if part}
    if not shown:
        return

    def draw(what: tuple[Rows, Sequence[str]], figure: FigureBase | None = None) -> None:
        figures.intervals(what[0], xlabel, what[1], figure)

    def height(what: tuple[Rows, Sequence[str]]) -> float:
        return float(0.33 * figures.row_heights(*what)[-1] + 1.3)

    in_each_world(shown, draw, height)
    if len(shown) < len(rows):  # which of the worlds it is
        plt.gcf().suptitle(next(iter(shown)), fontsize=11, fontweight="bold")
    axes = plt.gcf().axes
    ends = [end for each in axes for end in each.get_xlim()]
    for each in axes:
        each.set_xlim(min(ends), max(ends))


def difference_map(tables: Mapping[str, pd.DataFrame], label: str) -> None:
    """Maps of differences with numbers."""

    def draw(table: pd.DataFrame, figure: FigureBase | None = None) -> None:
        figures.difference_map(table, label, figure)

    in_each_world(tables, draw, lambda table: 0.36 * len(table) + 1.9)
