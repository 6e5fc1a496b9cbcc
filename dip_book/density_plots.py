"""Page 02's figures: Information Density along training, against accuracy and against time.

In the style of :mod:`dip_book.plots`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import FigureBase

from dip_book.frame import as_read
from dip_book.plots import COLOURS, LABELS, MARKERS, WIDTH, band, canvas
from dip_book.tables import Array, final, trajectories
from dip_lib.data.dataset import dataset_title


def trajectory(runs: pd.DataFrame, figure: FigureBase | None = None) -> None:
    """Figure 1 of the paper on the average of all datasets: new-class accuracy above, ID below."""
    upper, lower = canvas(figure, 4.6).subplots(2, 1, sharex=True)
    for name, of_label in runs.groupby("label"):
        paths = trajectories(of_label, ("epoch", "new", "id1", "id2"))
        seeds = np.mean(np.stack(list(paths.values())), axis=0)  # (S, T, 4)
        epochs = seeds[0, :, 0]
        band(upper, epochs, seeds[..., 1], name, LABELS[name])
        band(lower, epochs, seeds[..., 2], name)
        lower.plot(epochs, seeds[..., 3].mean(0), color=COLOURS[name], ls="--", lw=1.2)
        if (read := as_read(of_label)) is not None:
            mean = np.mean([path.mean(0) for path in trajectories(read, ("id1",)).values()], axis=0)
            lower.plot(epochs, mean[:, 0], color=COLOURS[name], ls=":", lw=1.6)
    upper.set_ylabel("accuracy on\nnew classes, %")
    lower.set(ylabel="Information Density", xlabel="epoch", ylim=(0, 1.02))
    lower.plot([], [], color="0.3", label="ID$_1$")
    lower.plot([], [], color="0.3", ls="--", lw=1.2, label="ID$_2$")
    if as_read(runs) is not None:
        lower.plot([], [], color="0.3", ls=":", lw=1.6, label="ID$_1$ as read")
    upper.legend(loc="lower left")
    lower.legend(loc="lower left", ncols=3, columnspacing=1, handlelength=1.6)


def correlation_dots(tables: Mapping[str, pd.DataFrame]) -> None:
    """Spearman's rho of each dataset: with ID_1, with ID_2, as read, and with mere time.

    ``tables`` gives the world, which is the heading of its datasets where there are several.
    """
    parts = []  # from below
    for world, table in reversed([*tables.items()]):
        heading = pd.DataFrame(np.nan, index=[f"{world}:"], columns=table.columns)
        parts += [table.sort_values("id1"), *([heading] if len(tables) > 1 else [])]
    ordered = pd.concat(parts)
    _, axes = plt.subplots(figsize=(WIDTH, 0.44 * len(ordered) + 1.2))
    rows = np.arange(len(ordered))
    styles = {
        "id1": ("o", COLOURS["DIP"], "with ID$_1$"),
        "id2": ("s", COLOURS["other"], "with ID$_2$"),
        "id1_read": ("x", COLOURS["VPT"], "with ID$_1$ as read"),
        "epoch": ("|", "black", "with minus epoch"),
    }
    shown = [column for column in styles if column in ordered.columns]
    # a line of its own for each, so that no mark hides another of the same value
    for column, offset in zip(shown, np.linspace(0.3, -0.3, len(shown)), strict=True):
        marker, colour, label = styles[column]
        axes.plot(ordered[column], rows + offset, marker, color=colour, label=label, ms=5, mew=1.6)
    axes.axvline(0.9, color="0.5", ls=":", lw=1.2)
    axes.text(0.89, len(rows) - 0.35, "claimed: ≥ 0.9", ha="right", va="center", color="0.35")
    names = [dataset_title(name) for name in ordered.index]
    axes.set(yticks=rows, yticklabels=names, xlim=(-1.05, 1.05), ylim=(-0.7, len(rows)))
    axes.set(xticks=(-1, -0.5, 0, 0.5, 1))
    axes.set_xlabel("Spearman's ρ of new-class accuracy, CoOp's training")
    for row, known in zip(rows, ordered[shown].notna().any(axis=1), strict=True):
        if known:  # a world's name has no line: nothing lies on it
            axes.axhspan(row - 0.42, row + 0.42, color="0.96", lw=0, zorder=0)
    axes.tick_params(axis="y", length=0)
    across = 3 if len(ordered.columns) == 3 else 2
    axes.figure.legend(loc="outside lower center", ncols=across, handletextpad=0.2, columnspacing=1)


def grid_height(runs: pd.DataFrame) -> float:
    """Of :func:`trajectory_grid`, in inches: its panels are two in a row."""
    return 1.75 * -(-runs["dataset"].nunique() // 2)


def trajectory_grid(runs: pd.DataFrame, figure: FigureBase | None = None) -> None:
    """Every dataset by itself: new-class accuracy against ID_1, one point a checkpoint."""
    paths = {name: trajectories(path, ("new", "id1")) for name, path in runs.groupby("label")}
    names = sorted(set(runs["dataset"]))
    figure = canvas(figure, grid_height(runs))
    grid = figure.subplots(-(-len(names) // 2), 2, sharex=True, squeeze=False)
    for axes, name in zip(grid.flat, names, strict=False):
        for label, path in paths.items():
            mean = path[name].mean(0)  # (T, 2)
            axes.plot(
                mean[:, 1], mean[:, 0], color=COLOURS[label], marker=MARKERS[label], ms=3.5,
                lw=1.2, label=LABELS[label],
            )  # fmt: skip
        # all methods start at the same prompt
        axes.plot(mean[0, 1], mean[0, 0], "*", color="black", ms=9, label="start", zorder=5)
        axes.set_title(dataset_title(name), pad=3)
    for axes in grid.flat[len(names) :]:
        axes.axis("off")
    grid.flat[len(names) - 2].tick_params(labelbottom=True)  # the lowest panel of its column
    figure.supxlabel("ID$_1$ of the prompt", fontsize=10)
    figure.supylabel("accuracy on new classes, %", fontsize=10)
    handles, labels = grid.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=3, columnspacing=1)


def density_at_the_end(runs: pd.DataFrame, figure: FigureBase | None = None) -> None:
    """New-class accuracy against ID_1 at the end of training: CoOp at each rate, and DIP.

    Hollow: against as-read ID_1, where the runs hold it.
    """
    axes, read = canvas(figure, 3.4).subplots(), as_read(runs)
    for name, of_label in runs.groupby("label"):
        points = _ends_at_each_rate(of_label)
        _ends(axes, points, name, "-", label=LABELS[name])
        if read is not None:
            hollow = _ends_at_each_rate(read[read["label"] == name])
            _ends(axes, hollow, name, ":", fillstyle="none")
    xlabel = "ID$_1$ at the end of training"
    xlabel += " (hollow: as read)" if read is not None else ""
    axes.set(xlabel=xlabel, ylabel="accuracy on new classes, %")
    axes.margins(0.1)
    _name_rates(axes, _ends_at_each_rate(runs[runs["label"] == "CoOp"]))
    axes.figure.legend(loc="outside upper center", ncols=2)


def _name_rates(axes: Axes, points: Mapping[float, Array]) -> None:
    """Each point's learning rate, one below the other to its right, with a line to the point."""
    (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
    apart = 0.08 * (high - low)  # a line of text
    column = max(x for x, _ in points.values()) + 0.06 * (right - left)
    height = -np.inf
    for rate, point in sorted(points.items(), key=lambda each: float(each[1][1])):  # upwards
        height = max(float(point[1]), height + apart)
        axes.annotate(
            f"learning rate {rate:g}",
            (float(point[0]), float(point[1])),
            xytext=(column, height),
            va="center",
            arrowprops={"arrowstyle": "-", "color": "0.6", "lw": 0.8, "shrinkB": 4},
        )


def _ends_at_each_rate(runs: pd.DataFrame) -> dict[float, Array]:
    """Learning rate -> (2,) ID_1 and new-class accuracy over datasets and seeds."""
    ends = {rate: final(at_rate, "id1", "new") for rate, at_rate in runs.groupby("lr")}
    return {
        rate: np.mean([each.mean(0) for each in of_rate.values()], axis=0)
        for rate, of_rate in ends.items()
    }


def _ends(axes: Axes, points: Mapping[float, Array], name: str, line: str, **look: Any) -> None:
    x, y = np.array([*points.values()]).T
    line = line if len(points) > 1 else ""
    axes.plot(x, y, line, color=COLOURS[name], marker=MARKERS[name], **look)


def ranks(runs: pd.DataFrame, figure: FigureBase | None = None) -> None:
    """Effective rank along training as a line with its range over seeds, numerical rank dashed."""
    axes = canvas(figure, 3.2).subplots()
    for name, each in runs.groupby("label"):
        paths = trajectories(each, ("epoch", "rank_effective", "rank_numerical"))
        seeds = np.mean(np.stack(list(paths.values())), axis=0)  # (S, T, 3)
        band(axes, seeds[0, :, 0], seeds[..., 1], name, LABELS[name])
        axes.plot(seeds[0, :, 0], seeds[..., 2].mean(0), color=COLOURS[name], ls="--", lw=1.2)
    axes.plot([], [], color="0.3", ls="--", lw=1.2, label="numerical rank")
    axes.set(xlabel="epoch", ylabel="rank of the prompt", ylim=(0.9, None))
    axes.figure.legend(loc="outside upper center", ncols=2)
