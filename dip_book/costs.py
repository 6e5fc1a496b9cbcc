"""The figures of *What it costs*: each draws the JSON of one program in ``benchmarks/``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from dip_book.plots import COLOURS, LABELS, MARKERS, WIDTH

Result = Mapping[str, Any]
RUNS = {"coop": "CoOp", "dip": "DIP"}
"""The runs of ``end_to_end`` -> their labels."""
PEERS, OURS = COLOURS["zero-shot"], COLOURS["other"]
WAYS = {
    "reference": ("all 77 tokens (open_clip's blocks)", PEERS, "D", "-"),
    "ours": ("this book, fp32", OURS, "o", "-"),
    "ours_bf16": ("this book, bf16 tower", OURS, "o", ":"),
}
"""Key in the JSON -> label, colour, marker and line."""


def imagenet(result: Result) -> dict[int, Result]:
    """The settings of ``text_step`` that take ImageNet's first classes, by their number."""
    by_classes = {s["classes"]: s for name, s in result["settings"].items() if "ImageNet" in name}
    return dict(sorted(by_classes.items()))


def _decades(axes: Axes) -> None:
    """A logarithmic y axis with plain numbers."""
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,g}")


def _classes(axes: Axes, counts: list[int]) -> None:
    axes.set(xscale="log", xlabel="classes")
    axes.set_xticks(counts, [f"{count:,}" for count in counts])
    axes.minorticks_off()


def step_seconds(result: Result) -> None:
    """Seconds of one training step against the number of classes."""
    settings = imagenet(result)
    _, axes = plt.subplots()
    for way, (label, colour, marker, line) in WAYS.items():
        seconds = [float(np.median(s["seconds"][way])) for s in settings.values()]
        axes.plot(list(settings), seconds, line, color=colour, marker=marker, ms=5, label=label)
    _classes(axes, list(settings))
    _decades(axes)
    axes.set_ylabel("seconds of a step,\none core")
    axes.figure.legend(loc="outside upper left", ncols=1)


def step_ratios(result: Result) -> None:
    """How many times faster and smaller a step is, beside the ratio of what is computed."""
    settings = imagenet(result)
    counts = list(settings)
    _, axes = plt.subplots(figsize=(WIDTH, 3.6))
    columns = {
        "operations (counted)": ([s["flop_ratio"] for s in settings.values()], "0.35", "--", ""),
        "time (measured)": ([s["ratio"] for s in settings.values()], OURS, "-", "o"),
    }
    for label, (values, colour, line, marker) in columns.items():
        axes.plot(counts, values, line, color=colour, marker=marker, ms=5, label=label)
    measured = {c: s["memory"] for c, s in settings.items() if s.get("memory")}
    if measured:
        values = [m["ratio"] for m in measured.values()]
        axes.plot(list(measured), values, ":", color="#0072b2", marker="s", ms=5, label="memory")
    _classes(axes, counts)
    axes.set(ylabel="times less than\nall 77 tokens", ylim=(0, None))
    axes.grid(axis="y", color="0.92")
    axes.figure.legend(loc="outside upper left", ncols=1)


def step_memory(result: Result) -> None:
    """Peak memory of one training step against the number of classes."""
    settings = {c: s["memory"] for c, s in imagenet(result).items() if s.get("memory")}
    _, axes = plt.subplots()
    for way in ("reference", "ours"):
        label, colour, marker, line = WAYS[way]
        values = [m[f"{way}_mb"] for m in settings.values()]
        axes.plot(list(settings), values, line, color=colour, marker=marker, ms=5, label=label)
    _classes(axes, list(settings))
    _decades(axes)
    axes.set_ylabel("peak memory of a step,\nMB")
    axes.figure.legend(loc="outside upper left", ncols=1)


def runs_at_once(result: Result) -> None:
    """Seconds of a step for each run, relative to one run alone, against runs in a batch."""
    _, axes = plt.subplots()
    counts: set[int] = set()
    looks = zip((OURS, "0.35", "#0072b2"), "os^", strict=True)
    for (name, case), (colour, marker) in zip(result["cases"].items(), looks, strict=False):
        values = {int(r): row["relative_to_one_run"] for r, row in case["runs"].items()}
        classes = case["trained_classes"]
        label = f"{name}, {classes} classes"
        axes.plot(
            list(values), list(values.values()), color=colour, marker=marker, ms=5, label=label
        )
        counts |= set(values)
    axes.axhline(1, color="0.6", lw=0.8)
    axes.set(xscale="log", xlabel="runs trained at once", ylim=(0, None))
    axes.set_xticks(sorted(counts), [str(count) for count in sorted(counts)])
    axes.minorticks_off()
    axes.set_ylabel("time of a run's step,\nrelative to one run alone")
    axes.figure.legend(loc="outside upper left", ncols=1)


def accuracy_against_seconds(result: Result) -> None:
    """Base-class accuracy along both runs: the plain loop, this book, and its further runs."""
    methods = list(result["peers"])
    figure, panels = plt.subplots(len(methods), 1, figsize=(WIDTH, 4.4), sharex=True)
    ours = result["ours"]
    encoding = ours["phases"]["draw and encode images"]
    for axes, method in zip(panels, methods, strict=True):
        looks = {"color": COLOURS[RUNS[method]], "marker": MARKERS[RUNS[method]], "ms": 4}
        plain, here = result["peers"][method]["curve"], ours["curves"][method]
        for points, line, spared, label in (
            (plain, ":", 0.0, "plain loop"),
            (here, "-", 0.0, "this book, from nothing"),
            (here, "--", encoding, "this book, images encoded before"),
        ):
            seconds = [point["seconds"] - spared for point in points]
            axes.plot(seconds, [point["base"] for point in points], line, **looks)
            if axes is panels[0]:
                axes.plot([], [], line, color="0.3", label=label)
        axes.set(title=LABELS[RUNS[method]], ylabel="base accuracy, %")
    panels[-1].set(xlabel=f"seconds on {result['dataset']}, one core", xlim=(0, None))
    figure.legend(loc="outside upper left", ncols=1)
