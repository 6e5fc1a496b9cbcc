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
    **settings: Any,
) -> None:
    """The same figure for every world, one below the other under the world's name.

    Args:
        shown: world -> what ``draw`` takes, beside ``figure``, the part to draw in.
        height: of each, in inches, or a function that gives that of what is drawn.
        settings: of every world's figure, which ``draw`` takes, too.
    """
    if len(shown) == 1:
        draw(next(iter(shown.values())), **settings)
        return
    heights = [height(each) if callable(height) else height for each in shown.values()]
    ratios = [part for each in heights for part in (0.3, each)]  # names have a part of their own:
    whole = plt.figure(figsize=(WIDTH, sum(ratios)))  # a legend "outside" knows of no title
    parts = np.asarray(whole.subfigures(len(ratios), 1, height_ratios=ratios))
    for name, part, (world, what) in zip(parts[::2], parts[1::2], shown.items(), strict=True):
        name.text(0.5, 0.4, world, ha="center", va="center", fontsize=11, fontweight="bold")
        draw(what, figure=part, **settings)


def band(axes: Axes, epochs: Array, paths: Array, name: str, label: str | None = None) -> None:
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
            band(axes, run["epoch"], run[half].to_numpy()[None], name, LABELS[name])
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
