"""Figures that several pages share: curves with bands, intervals in rows, a map of differences.

In the style of :mod:`dip_book.plots`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import FigureBase
from numpy.typing import NDArray

from dip_book.interval import Interval
from dip_book.lines import across_ticks, banded, looks, plain_numbers, whiskered
from dip_book.plots import COLOURS, LABELS, MARKERS, WIDTH, canvas

Curves = Mapping[str, pd.DataFrame]
"""Label of a run, or any name -> frame with the columns value, low and high."""


NARROW = 3
"""Panels in a row from which on each is about square, and too narrow for an x label of its own."""


def height_of(panels: Mapping[str, Curves], across: int = 1) -> float:
    """Of the figure of :func:`curves`, in inches."""
    row = 1.9 if across < NARROW else 1.45
    return 1.0 + (row * -(-len(panels) // across) if len(panels) > 1 else 2.6)


def curves(
    panels: Mapping[str, Curves],
    xlabel: str,
    doubling: bool = False,
    across: int = 1,
    labels: Mapping[str, str] = LABELS,
    whiskers: bool = False,
    figure: FigureBase | None = None,
    level: float | None = None,
    ylabel: str = "",
) -> None:
    """One panel for each quantity, a line with its 95 % band for each method; none without panels.

    Args:
        panels: what is on the y axis -> label of the runs, which has a colour -> curve.
        doubling: whether x doubles from point to point.
        across: panels in a row.
        labels: label -> what the legend calls it; others stand as they are.
        whiskers: whether intervals are bars side by side, where bands would cover each other.
        figure: the part of a figure to draw in.
        level: what all is compared with, a thin line.
        ylabel: of all panels, which then have one scale and their names as titles.
    """
    if not panels:
        return
    figure = canvas(figure, height_of(panels, across))
    rows, same = -(-len(panels) // across), bool(ylabel)
    grid = figure.subplots(rows, across, sharex=True, sharey=same, squeeze=False)
    for axes, (name, lines) in zip(grid.flat, panels.items(), strict=False):
        look = looks(lines)
        places = np.linspace(-6, 6, len(lines))
        for points, (label, frame) in zip(places, lines.items(), strict=True):
            if whiskers:
                whiskered(axes, look[label], frame, labels.get(label, label), points)
            else:
                banded(axes, look[label], frame, labels.get(label, label))
            ticks = list(frame.index)
        across_ticks(axes, ticks, doubling)
        if level is not None:
            axes.axhline(level, color="0.4", lw=0.8)
        axes.set_title(name, pad=3) if across > 1 or ylabel else axes.set_ylabel(name)
    for axes in grid.flat[len(panels) :]:
        axes.axis("off")
    for axes in grid.flat[max(0, len(panels) - across) : len(panels)]:  # the lowest of each column
        axes.set_xlabel(xlabel if across < NARROW else "")
        axes.tick_params(labelbottom=True)
    handles, entries = grid.flat[0].get_legend_handles_labels()
    figure.legend(handles, entries, loc="outside upper center", ncols=min(3, len(entries)))
    if ylabel:
        figure.supylabel(ylabel, fontsize=10)
    if across >= NARROW:
        figure.supxlabel(xlabel, fontsize=10)


def row_heights(rows: Iterable[str], breaks: Sequence[str] = ()) -> NDArray[np.float64]:
    """Where each row is drawn, from the top; before ``breaks`` a gap is left."""
    names = list(rows)
    heights = np.arange(len(names), dtype=float)
    for name in breaks:
        heights[names.index(name) :] += 0.6
    return heights


def intervals(
    rows: Mapping[str, Interval],
    xlabel: str,
    breaks: Sequence[str] = (),
    figure: FigureBase | None = None,
) -> None:
    """A dot with its 95 % interval for each row, blue above zero and orange below.

    ``breaks`` are rows before which a gap is left. Without rows nothing is drawn.
    """
    if not rows:
        return
    heights = row_heights(rows, breaks)
    axes = canvas(figure, 0.33 * heights[-1] + 1.3).subplots()
    for y, interval in zip(heights, rows.values(), strict=True):
        sure = interval.low > 0 or interval.high < 0
        colour = COLOURS["DIP"] if interval.value > 0 else COLOURS["CoOp"]
        axes.plot([interval.low, interval.high], [y, y], color=colour, lw=1.6)
        face = colour if sure else "white"
        axes.plot(interval.value, y, "o", color=colour, markerfacecolor=face, ms=6.5)
    axes.axvline(0, color="0.4", lw=0.8)
    axes.set(yticks=heights, yticklabels=[*rows], xlabel=xlabel, ylim=(heights[-1] + 0.7, -0.7))
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color="0.92")


def split_differences(
    shown: tuple[pd.DataFrame, Mapping[str, Interval]],
    first: str,
    figure: FigureBase | None = None,
) -> None:
    """A panel for each column: a dot a row, and as a band the interval of all rows but ``first``.

    Args:
        shown: the table, and the interval of each of its columns.
        first: the row of the field's split, a black diamond above the others; dots are blue above
            zero and orange below.
    """
    table, means = shown
    rows = [first, *(name for name in table.index if name != first)]
    heights = np.arange(len(rows)) + np.array([0.0, *[0.6] * (len(rows) - 1)])
    figure = canvas(figure, 0.24 * len(rows) + 1.2)
    grid = figure.subplots(1, len(table.columns), sharex=True, sharey=True, squeeze=False)
    for axes, column in zip(grid.flat, table.columns, strict=True):
        mean = means[column]
        axes.axvspan(mean.low, mean.high, color="0.9", lw=0, zorder=0)
        axes.axvline(mean.value, color="0.55", lw=1.2, zorder=1)
        axes.axvline(0, color="0.4", lw=0.8, ls=":", zorder=1)
        for y, value in zip(heights, table.loc[rows, column], strict=True):
            colour = COLOURS["DIP"] if value > 0 else COLOURS["CoOp"]
            marker, ink = ("D", "black") if y == 0 else ("o", colour)
            axes.plot(value, y, marker, color=ink, ms=5.5)
        axes.set_title(column, pad=3)
        axes.tick_params(axis="y", length=0)
        axes.margins(x=0.12)
    grid.flat[0].set(yticks=heights, yticklabels=rows, ylim=(heights[-1] + 0.6, -0.6))
    figure.supxlabel("DIP minus CoOp, points", fontsize=10)
    figure.supylabel("split", fontsize=10)


def difference_map(table: pd.DataFrame, label: str, figure: FigureBase | None = None) -> None:
    """A table of differences as a map, blue above zero and orange below, with numbers."""
    most = float(np.nanmax(np.abs(table.to_numpy())))
    figure = canvas(figure, 0.36 * len(table) + 1.9)
    axes = figure.subplots()
    shades = (COLOURS["CoOp"], "white", COLOURS["DIP"])
    colours = LinearSegmentedColormap.from_list("difference", shades)
    picture = axes.imshow(table, cmap=colours, vmin=-most, vmax=most, aspect="auto")
    axes.set_xticks(range(table.shape[1]), table.columns, rotation=60, ha="right")
    axes.set_yticks(range(len(table)), table.index)
    axes.tick_params(length=0)
    for (y, x), value in np.ndenumerate(table.to_numpy()):
        ink = "white" if value > 0.93 * most else "black"  # only the full blue is that dark
        axes.text(x, y, f"{value:z.0f}", ha="center", va="center", color=ink, fontsize=9.5)
    for side in axes.spines.values():
        side.set_visible(False)
    figure.colorbar(picture, ax=axes, label=label, shrink=0.8)


def bars(values: Mapping[str, float], xlabel: str) -> None:
    """A dot for each method on a logarithmic axis: with DIP blue, plain ones orange."""
    _, axes = plt.subplots(figsize=(WIDTH, 0.28 * len(values) + 1.2))
    for y, (name, value) in enumerate(values.items()):
        kind = "DIP" if name == "DIP" or name.endswith("+ DIP") else "CoOp"
        axes.plot(value, y, MARKERS[kind], color=COLOURS[kind], ms=6.5)
    for kind, said in (("CoOp", "the method, plain"), ("DIP", "with DIP")):
        axes.plot([], [], MARKERS[kind], color=COLOURS[kind], ms=6.5, label=said)
    axes.figure.legend(loc="outside upper center", ncols=2)
    axes.set(xscale="log", xlabel=xlabel, ylim=(len(values) - 0.5, -0.5))
    axes.set_yticks(range(len(values)), list(values))
    plain_numbers(axes.xaxis)
    axes.tick_params(axis="y", length=0)
    axes.grid(color="0.92")


def spectra(
    pictures: Mapping[str, NDArray[np.float64]], values: Mapping[str, NDArray[np.float64]], k: int
) -> None:
    """Grey pictures in a row, and below the decay of their singular values up to the k-th."""
    colours = ("#cc79a7", *(COLOURS[name] for name in ("DIP", "CoOp", "zero-shot")))
    shades = dict(zip(pictures, colours, strict=True))
    figure = plt.figure(figsize=(WIDTH, 4.3))
    grid = figure.add_gridspec(2, len(pictures), height_ratios=(1, 1.5))
    for i, (name, picture) in enumerate(pictures.items()):
        axes = figure.add_subplot(grid[0, i], xticks=(), yticks=())
        axes.imshow(picture[::4, ::4], vmin=0, vmax=1, interpolation="nearest")
        axes.spines[:].set(visible=True, color=shades[name], linewidth=3)  # as its line below
    lower = figure.add_subplot(grid[1, :])
    for (name, each), marker in zip(values.items(), "DosX", strict=True):
        # what is zero but for rounding has no place on a logarithmic axis
        share = np.where(each > 1e-9 * each.max(), each / each.sum(), np.nan)
        lower.plot(range(1, k + 1), share[:k], marker + "-", color=shades[name], ms=4, label=name)
    lower.set(yscale="log", xlabel="singular value, largest first", ylabel="share of the sum")
    lower.set_xticks(range(1, k + 1))
    plain_numbers(lower.yaxis)
    figure.legend(loc="outside lower center", ncols=2)


@dataclass(frozen=True)
class BestNames:
    """A picture, what it shows, of which kind its class is, and names with probabilities."""

    picture: Any
    truth: str
    kind: str
    best: Sequence[tuple[str, float]]


def best_names(rows: Sequence[BestNames]) -> None:
    """Each picture beside its most probable names; the bar of the right one is blue."""
    _, grid = plt.subplots(len(rows), 2, figsize=(WIDTH, 1.3 * len(rows)), width_ratios=(1, 4))
    for (left, right), row in zip(grid, rows, strict=True):
        left.imshow(row.picture)
        left.axis("off")
        colours = [COLOURS["DIP" if name == row.truth else "zero-shot"] for name, _ in row.best]
        right.barh(range(len(row.best)), [p for _, p in row.best], color=colours, alpha=0.6)
        for y, (name, _) in enumerate(row.best):
            right.text(0.01, y, name, va="center", fontsize=10)
        right.set(xlim=(0, 1), yticks=[], xticks=[])
        right.invert_yaxis()
        right.set_title(f"{row.kind}: {row.truth}", loc="left", pad=2)
    grid[-1, 1].set(xticks=(0, 0.5, 1), xlabel="probability")


def dots(table: pd.DataFrame, xlabel: str) -> None:
    """A row for each row of a table, and in it a dot for each column, in the column's look."""
    _, axes = plt.subplots(figsize=(WIDTH, 0.36 * len(table) + 1.5))
    rows = np.arange(len(table))
    for name, (colour, marker) in looks(table.columns).items():
        axes.plot(table[name], rows, marker, color=colour, ms=7, label=name, alpha=0.85)
    axes.set(yticks=rows, yticklabels=table.index, xlabel=xlabel, ylim=(len(rows) - 0.4, -0.6))
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", color="0.92")
    axes.figure.legend(loc="outside upper center", ncols=2)
