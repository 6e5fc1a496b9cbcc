"""The book's figures, in one style. Each function draws one figure from a frame of runs or a table.

Figures are five inches wide with text of ten points, so that nothing falls below nine pixels on a
phone; a method has the same colour everywhere (Okabe and Ito's palette, safe for colour-blind
readers) and a different marker. Files are byte-identical from the same data.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import FigureBase
from matplotlib_inline.backend_inline import set_matplotlib_formats
from numpy.typing import NDArray

from dip_book.tables import final, trajectories
from dip_lib.data import harmonic_mean

COLOURS = {"zero-shot": "#5f6b76", "CoOp": "#d55e00", "DIP": "#0072b2", "other": "#009e73"}
COLOURS |= {"VPT": "#cc79a7", "SPT": "#e69f00", "CVPT": "#56b4e9"}
LABELS = {"zero-shot": "zero-shot CLIP", "CoOp": "CoOp (full rank)", "DIP": "DIP (rank 1)"}
"""Label of a run -> what a legend calls it; other labels stand as they are."""
MARKERS = {"zero-shot": "D", "CoOp": "o", "DIP": "s", "VPT": "v", "SPT": "P", "CVPT": "X"}
WIDTH = 5.0

Array = NDArray[np.float64]


def use_style() -> None:
    """Set the style for this process; in a notebook figures become SVG without a date."""
    sns.set_theme(style="ticks", context="paper")
    plt.rcParams.update(
        {
            "figure.figsize": (WIDTH, 3.2),
            "figure.constrained_layout.use": True,
            "font.family": "DejaVu Sans",
            "font.size": 10,
            "axes.labelsize": 10,
            "axes.titlesize": 10,
            "xtick.labelsize": 10,
            "ytick.labelsize": 10,
            "legend.fontsize": 10,
            "legend.frameon": False,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "lines.linewidth": 1.8,
            "svg.hashsalt": "dip",
            "image.cmap": "gray",
        }
    )
    set_matplotlib_formats("svg", metadata={"Date": None})


def show() -> None:
    """Show the open figures in the notebook; later ones are SVG again."""
    plt.show()
    set_matplotlib_formats("svg", metadata={"Date": None})


def canvas(figure: FigureBase | None, height: float) -> FigureBase:
    """The part of a figure that is to be drawn in, or a new figure of this height, in inches."""
    return figure or plt.figure(figsize=(WIDTH, height))


def in_each_world(
    shown: Mapping[str, Any],
    draw: Callable[..., None],
    height: float | Callable[[Any], float],
) -> None:
    """The same figure for every world, one below the other under the world's name.

    Args:
        shown: world -> what ``draw`` takes, beside ``figure``, the part to draw in.
        height: of each, in inches, or what gives that of a part.
    """
    if len(shown) == 1:
        draw(next(iter(shown.values())))
        return
    heights = [height(what) if callable(height) else height for what in shown.values()]
    whole = plt.figure(figsize=(WIDTH, sum(heights) + 0.3 * len(shown)))
    parts = whole.subfigures(len(shown), 1, squeeze=False, height_ratios=heights)
    for part, (world, what) in zip(parts.flat, shown.items(), strict=True):
        part.suptitle(world, fontsize=11, fontweight="bold")
        draw(what, figure=part)


def _band(axes: Axes, epochs: Array, paths: Array, name: str, label: str | None = None) -> None:
    """Mean over the first axis of (S, T) as a line, the range of the seeds as a band."""
    colour = COLOURS[name]
    axes.fill_between(epochs, paths.min(0), paths.max(0), color=colour, alpha=0.15, lw=0)
    axes.plot(epochs, paths.mean(0), color=colour, marker=MARKERS[name], ms=4, label=label)


def contact_sheet(rows: Mapping[str, Array], across: int) -> None:
    """Pictures of each dataset, ``across`` to a line: label -> (K, 48, 48, 3) in 0..1."""
    # noisy pictures: a vector file or PNG would be ten times larger and no clearer
    set_matplotlib_formats("jpeg", dpi=120, pil_kwargs={"quality": 60})
    lines = [-(-len(pictures) // across) for pictures in rows.values()]
    height = sum(lines) * WIDTH / across + 0.24 * len(lines)
    _, grid = plt.subplots(
        len(rows), 1, figsize=(WIDTH, height), squeeze=False, height_ratios=lines
    )
    for axes, (label, pictures) in zip(grid.flat, rows.items(), strict=True):
        size = pictures.shape[1]
        sheet = np.ones((-len(pictures) % across, size, size, 3))  # white where a line is short
        tiles = np.concatenate([pictures, sheet]).reshape(-1, across, size, size, 3)
        axes.imshow(np.concatenate(np.concatenate(tiles, 1), 1), interpolation="nearest")
        axes.set_title(label, loc="left", pad=2)
        axes.axis("off")


def first_prompt(runs: pd.DataFrame) -> None:
    """Base and new accuracy along the training of single runs, one colour a method."""
    _, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 2.9), sharey=True)
    for name, run in runs.groupby("label"):
        for axes, half in ((left, "base"), (right, "new")):
            _band(axes, run["epoch"], run[half].to_numpy()[None], name, LABELS[name])
    left.set(xlabel="epoch", ylabel="test accuracy, %", title="base classes")
    right.set(xlabel="epoch", title="new classes")
    handles, labels = left.get_legend_handles_labels()
    left.figure.legend(handles, labels, loc="outside lower center", ncols=2)


def learning(history: pd.DataFrame) -> None:
    """One prompt as it learns: accuracy on base and new classes above, its ID_1 below.

    ``history`` has the columns base, new and ID1; its index is the epoch.
    """
    _, (upper, lower) = plt.subplots(2, 1, figsize=(WIDTH, 3.8), sharex=True)
    upper.plot(history["base"], color=COLOURS["DIP"], label="base classes")
    upper.plot(history["new"], color=COLOURS["DIP"], ls="--", label="new classes")
    lower.plot(history["ID1"], color=COLOURS["DIP"])
    upper.set_ylabel("test accuracy, %")
    lower.set(xlabel="epoch", ylabel="ID$_1$", ylim=(0, 1.02))
    upper.figure.legend(loc="outside upper center", ncols=2)


def trajectory(runs: pd.DataFrame, figure: FigureBase | None = None) -> None:
    """Figure 1 of the paper on the average of all datasets: new-class accuracy above, ID below."""
    upper, lower = canvas(figure, 4.6).subplots(2, 1, sharex=True)
    for name, of_label in runs.groupby("label"):
        paths = trajectories(of_label, ("epoch", "new", "id1", "id2"))
        seeds = np.mean(np.stack(list(paths.values())), axis=0)  # (S, T, 4)
        epochs = seeds[0, :, 0]
        _band(upper, epochs, seeds[..., 1], name, LABELS[name])
        _band(lower, epochs, seeds[..., 2], name)
        lower.plot(epochs, seeds[..., 3].mean(0), color=COLOURS[name], ls="--", lw=1.2)
    upper.set_ylabel("accuracy on\nnew classes, %")
    lower.set(ylabel="Information Density", xlabel="epoch", ylim=(0, 1.02))
    lower.plot([], [], color="0.3", label="ID$_1$")
    lower.plot([], [], color="0.3", ls="--", lw=1.2, label="ID$_2$")
    upper.legend(loc="lower left")
    lower.legend(loc="lower left", ncols=2)


def correlation_dots(table: pd.DataFrame) -> None:
    """Spearman's rho of each dataset: with ID_1, with ID_2 and with mere time."""
    ordered = table.sort_values("id1")
    _, axes = plt.subplots(figsize=(WIDTH, 0.34 * len(table) + 1.2))
    rows = np.arange(len(ordered))
    styles = {
        "id1": ("o", COLOURS["DIP"], "with ID$_1$", 0.0),
        "id2": ("s", COLOURS["other"], "with ID$_2$", 0.2),
        "epoch": ("|", "black", "with minus epoch", -0.2),
    }
    for column, (marker, colour, label, offset) in styles.items():
        axes.plot(ordered[column], rows + offset, marker, color=colour, label=label, ms=7, mew=2)
    axes.axvline(0.9, color="0.5", ls=":", lw=1.2)
    axes.text(0.89, len(rows) - 0.35, "claimed: ≥ 0.9", ha="right", va="center", color="0.35")
    axes.set(yticks=rows, yticklabels=ordered.index, xlim=(-1.05, 1.05), ylim=(-0.7, len(rows)))
    axes.set(xticks=(-1, -0.5, 0, 0.5, 1))
    axes.set_xlabel("Spearman's ρ of new-class accuracy, CoOp's training")
    axes.grid(axis="y", color="0.92")
    axes.figure.legend(loc="outside lower center", ncols=3, handletextpad=0.2, columnspacing=1)


def trajectory_grid(runs: pd.DataFrame) -> None:
    """Every dataset by itself: new-class accuracy against ID_1, one point a checkpoint."""
    paths = {name: trajectories(path, ("new", "id1")) for name, path in runs.groupby("label")}
    names = sorted(set(runs["dataset"]))
    rows = -(-len(names) // 2)
    figure, grid = plt.subplots(rows, 2, figsize=(WIDTH, 1.75 * rows), sharex=True, squeeze=False)
    for axes, name in zip(grid.flat, names, strict=False):
        for label, path in paths.items():
            mean = path[name].mean(0)  # (T, 2)
            axes.plot(
                mean[:, 1], mean[:, 0], color=COLOURS[label], marker=MARKERS[label], ms=3.5,
                lw=1.2, label=LABELS[label],
            )  # fmt: skip
        # all methods start at the same prompt
        axes.plot(mean[0, 1], mean[0, 0], "*", color="black", ms=9, label="start", zorder=5)
        axes.set_title(name, pad=3)
    for axes in grid.flat[len(names) :]:
        axes.axis("off")
    grid.flat[len(names) - 2].tick_params(labelbottom=True)  # the lowest panel of its column
    figure.supxlabel("ID$_1$ of the prompt", fontsize=10)
    figure.supylabel("accuracy on new classes, %", fontsize=10)
    handles, labels = grid.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=3, columnspacing=1)


def _isolines(axes: Axes) -> None:
    """Lines of equal harmonic mean behind a plot of new against base accuracy."""
    (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
    x, y = np.meshgrid(np.linspace(left, right, 60), np.linspace(low, high, 60))
    lines = axes.contour(
        x, y, harmonic_mean(x, y), levels=8, colors="0.8", linewidths=0.8, zorder=0
    )
    axes.clabel(lines, fmt="H %.0f", fontsize=9.5, colors="0.5")


def frontier(runs: pd.DataFrame, figure: FigureBase | None = None) -> None:
    """Average new against base accuracy: CoOp at each learning rate, DIP, zero-shot."""
    coop, dip, zero = (runs[runs["label"] == name] for name in ("CoOp", "DIP", "zero-shot"))
    paths = {rate: _average_path(at_rate) for rate, at_rate in coop.groupby("lr")}
    axes = canvas(figure, 4.4).subplots()
    shades = sns.blend_palette(["#f6c9a3", COLOURS["CoOp"], "#7a3300"], len(paths))
    for (rate, mean), shade in zip(paths.items(), shades, strict=True):
        axes.plot(mean[:, 0], mean[:, 1], "-o", color=shade, ms=3.5, lw=1.3, label=f"CoOp {rate:g}")
    mean = _average_path(dip)
    axes.plot(mean[:, 0], mean[:, 1], "-s", color=COLOURS["DIP"], ms=4, label=LABELS["DIP"])
    axes.plot(*mean[-1], "s", color=COLOURS["DIP"], ms=9)
    axes.plot(
        *_average_path(zero)[-1], "D", color=COLOURS["zero-shot"], ms=7, label=LABELS["zero-shot"]
    )
    axes.set(xlabel="accuracy on base classes, %", ylabel="accuracy on new classes, %")
    axes.margins(0.08)
    _isolines(axes)
    axes.figure.legend(loc="outside lower center", ncols=3, columnspacing=1, handlelength=1.4)


def _average_path(runs: pd.DataFrame) -> Array:
    """(T, 2) base and new accuracy at every checkpoint, over datasets and seeds."""
    paths = trajectories(runs, ("base", "new"))
    return np.mean([path.mean(0) for path in paths.values()], axis=0)


def gains(ours: pd.DataFrame, theirs: pd.DataFrame, groups: Mapping[str, Sequence[str]]) -> None:
    """Ours minus theirs on each dataset: a dot a seed, a bar their mean.

    ``groups`` gives headings -> the datasets below them; {} shows all without a heading.
    """
    a, b = final(ours, "base", "new"), final(theirs, "base", "new")
    rows: list[str] = [] if groups else sorted(a)  # from the top
    for group, members in groups.items():
        rows += [f"{group}:", *sorted(set(members) & set(a))]
    _, grid = plt.subplots(1, 3, figsize=(WIDTH, 0.3 * len(rows) + 1.3), sharey=True, sharex=True)
    columns = {
        "base": lambda v: v[:, 0],
        "new": lambda v: v[:, 1],
        "H": lambda v: harmonic_mean(v[:, 0], v[:, 1]),
    }
    for axes, (title, value) in zip(grid, columns.items(), strict=True):
        for y, name in enumerate(rows):
            if name in a:
                gap = value(a[name]) - value(b[name])
                colour = COLOURS["DIP"] if gap.mean() > 0 else COLOURS["CoOp"]
                axes.barh(y, gap.mean(), color=colour, alpha=0.35, height=0.7)
                axes.plot(gap, np.full(len(gap), y), "o", color=colour, ms=2.6)
        axes.axvline(0, color="0.4", lw=0.8)
        axes.set_title(title)
        axes.tick_params(axis="y", length=0)
    grid[0].set_yticks(range(len(rows)), rows)
    grid[0].invert_yaxis()
    grid[1].set_xlabel("DIP minus CoOp, points")


def density_at_the_end(runs: pd.DataFrame, figure: FigureBase | None = None) -> None:
    """New-class accuracy against ID_1 at the end of training: CoOp at each rate, and DIP."""
    axes = canvas(figure, 3.4).subplots()
    for name, of_label in runs.groupby("label"):
        points = []
        for rate, at_rate in of_label.groupby("lr"):
            ends = final(at_rate, "id1", "new")
            points.append(np.mean([each.mean(0) for each in ends.values()], axis=0))
            if name == "CoOp":
                axes.annotate(f"{rate:g}", points[-1], xytext=(6, 3), textcoords="offset points")
        x, y = np.array(points).T
        line = "-" if len(points) > 1 else ""
        axes.plot(x, y, line, color=COLOURS[name], marker=MARKERS[name], label=LABELS[name])
    axes.set(xlabel="ID$_1$ at the end of training", ylabel="accuracy on new classes, %")
    axes.margins(0.1)
    axes.figure.legend(loc="outside upper center", ncols=2)


def ranks(runs: pd.DataFrame, figure: FigureBase | None = None) -> None:
    """Effective rank along training as a line with its range over seeds, numerical rank dashed."""
    axes = canvas(figure, 3.2).subplots()
    for name, each in runs.groupby("label"):
        paths = trajectories(each, ("epoch", "rank_effective", "rank_numerical"))
        seeds = np.mean(np.stack(list(paths.values())), axis=0)  # (S, T, 3)
        _band(axes, seeds[0, :, 0], seeds[..., 1], name, LABELS[name])
        axes.plot(seeds[0, :, 0], seeds[..., 2].mean(0), color=COLOURS[name], ls="--", lw=1.2)
    axes.plot([], [], color="0.3", ls="--", lw=1.2, label="numerical rank")
    axes.set(xlabel="epoch", ylabel="rank of the prompt", ylim=(0.9, None))
    axes.figure.legend(loc="outside upper center", ncols=2)
