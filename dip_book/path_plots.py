"""Page 10's paths through the plane of base and new accuracy, as a still figure.

In the style of :mod:`dip_book.plots`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import FigureBase

from dip_book.plots import canvas
from dip_book.slider_paths import LOOKS, Path


def paths(shown: Sequence[Path], figure: FigureBase | None = None) -> None:
    """A line through the points of each path, with a mark at its end; dashed ones have squares."""
    figure = canvas(figure, 4.9)
    axes = figure.subplots()
    for path in shown:
        x, y = np.array(path.points).T
        colour, marker = LOOKS[path.look], "s" if path.dashed else "o"
        style = "--" if path.dashed else "-"
        axes.plot(x, y, style, color=colour, lw=1.4, marker=marker, ms=2.5)
        axes.plot([], [], style, color=colour, lw=1.4, marker=marker, ms=6, label=path.name)
        axes.plot(x[-1], y[-1], marker, color=colour, ms=8)
    axes.set(xlabel="accuracy on base classes, %", ylabel="accuracy on new classes, %")
    axes.grid(color="0.92")
    figure.legend(loc="outside lower center", ncols=2, columnspacing=1)
