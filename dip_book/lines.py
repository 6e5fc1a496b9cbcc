"""A line of a panel with its intervals: as a band, or as bars side by side.

In the style of :mod:`dip_book.plots`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import cycle

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import LogLocator
from matplotlib.transforms import ScaledTranslation

from dip_book.plots import COLOURS, MARKERS

SPARE = ((COLOURS["other"], "^"), ("#000000", "*"), ("#8c6d31", "p"), ("#7b4173", "h"))
"""Colours and markers for what has none of its own, in turn."""


def looks(names: Iterable[str]) -> dict[str, tuple[str, str]]:
    """The colour and marker of each line of a panel."""
    spare = cycle(SPARE)
    return {n: (COLOURS[n], MARKERS[n]) if n in MARKERS else next(spare) for n in names}


def banded(axes: Axes, look: tuple[str, str], frame: pd.DataFrame, label: str) -> None:
    """The line with its intervals as a band."""
    colour, marker = look
    axes.fill_between(frame.index, frame["low"], frame["high"], color=colour, alpha=0.13, lw=0)
    axes.plot(frame.index, frame["value"], color=colour, marker=marker, ms=4.5, label=label)


def whiskered(
    axes: Axes, look: tuple[str, str], frame: pd.DataFrame, label: str, points: float
) -> None:
    """The line with an interval at each of its marks, all moved to the right by some points."""
    colour, marker = look
    moved = axes.transData + ScaledTranslation(points / 72, 0, axes.figure.dpi_scale_trans)
    axes.vlines(frame.index, frame["low"], frame["high"], colour, lw=1.1, transform=moved)
    axes.plot(
        frame.index, frame["value"], color=colour, marker=marker, ms=4.5, label=label,
        transform=moved,
    )  # fmt: skip
    # what is moved on the paper counts for the axes where it is in the data
    ends = frame[["low", "high"]].stack().droplevel(1)
    axes.update_datalim([*ends.items()])
    axes.autoscale_view()


def across_ticks(axes: Axes, ticks: Sequence[float], doubling: bool) -> None:
    """Ticks of x where the marks are; ``doubling``: x doubles from mark to mark."""
    if doubling and 0 in ticks:  # with a place for none at all
        axes.set_xscale("symlog", base=2, linthresh=1)
    elif doubling:
        axes.set_xscale("log", base=2)
    axes.set_xticks(ticks, [f"{each:g}" for each in ticks])
    axes.minorticks_off()


def plain_numbers(axis: Axis) -> None:
    """Numbers of a logarithmic axis written out: exponents would be too small to read."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.minorticks_off()
