"""Page 17's figures: density without function, function without density.

In the style of :mod:`dip_book.plots`.
"""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import FigureBase

from dip_book.plots import COLOURS, canvas

SEARCHES = {
    "random": (COLOURS["VPT"], "random vectors"),
    "words": (COLOURS["other"], "the words"),
    "trained": (COLOURS["SPT"], "CoOp, trained"),
}
TRAININGS = {
    "free": (COLOURS["CoOp"], "o", "training"),
    "spectrum held": (COLOURS["DIP"], "s", "the same, spectrum held"),
}
HALVES = {"base": "base classes", "new": "new classes"}


def plane(means: tuple[pd.DataFrame, pd.DataFrame], figure: FigureBase | None = None) -> None:
    """Accuracy against as-read ID_1: searches that hold the function, and trainings.

    ``means`` are those of :func:`dip_book.pages.invisible.mean_searches` and ``mean_trainings``.
    """
    searches, trainings = means
    figure = canvas(figure, 3.4)
    for axes, (half, title) in zip(figure.subplots(1, 2), HALVES.items(), strict=True):
        for start, (colour, label) in SEARCHES.items():
            rows = searches.loc[start]
            axes.plot(rows["id_read"], rows[half], "-", color=colour, lw=3, alpha=0.5, label=label)
            axes.plot(rows["id_read"], rows[half], "|", color=colour, ms=11, mew=2)
        for training, (colour, marker, label) in TRAININGS.items():
            rows = trainings.loc[training]
            axes.plot(
                rows["id_read"], rows[half], color=colour, marker=marker, ms=3.5, lw=1.2,
                label=label,
            )  # fmt: skip
        axes.set_title(title, pad=3)
        axes.margins(0.08)
    figure.supxlabel("as-read ID$_1$", fontsize=10)
    figure.supylabel("accuracy, %", fontsize=10)
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=2, columnspacing=1)


def invisible(rows: pd.DataFrame, figure: FigureBase | None = None) -> None:
    """While an invisible direction grows: ID_1 and as-read ID_1 above, accuracies below."""
    upper, lower = canvas(figure, 3.6).subplots(2, 1, sharex=True)
    grown = rows[rows["added"] > 0]
    _lines(upper, grown, ("id", "id_read"))
    upper.legend(loc="upper left")
    _lines(lower, grown, ("base", "new"))
    lower.legend(loc="lower left", ncols=2)
    upper.set(ylabel="density", ylim=(0, 1.02), xscale="log")
    lower.set(ylabel="accuracy, %", ylim=(0, 100))
    lower.set_xlabel("size of the invisible direction, in the prompt's SD")
    lower.xaxis.set_major_formatter(lambda value, _: f"{value:g}")


def _lines(axes: Axes, rows: pd.DataFrame, columns: tuple[str, str]) -> None:
    names = {"id": "ID$_1$", "id_read": "ID$_1$ as read", **HALVES}
    for column, colour, style in zip(columns, ("DIP", "zero-shot"), ("-", "--"), strict=True):
        axes.plot(rows["added"], rows[column], style, color=COLOURS[colour], label=names[column])
