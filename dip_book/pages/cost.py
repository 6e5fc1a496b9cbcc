"""Page 04: what a training step and a whole run cost, read from the results of ``benchmarks/``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from dip_book.costs import RUNS, Result, imagenet
from dip_book.interval import Interval
from dip_book.tables import final


def headline(step: Result) -> tuple[int, Result]:
    """The number of classes that the page speaks of, 100 if measured, and its setting."""
    settings = imagenet(step)
    classes = 100 if 100 in settings else max(settings)
    return classes, settings[classes]


def finding(step: Result) -> str:
    """The page's finding: how much less time and memory a step takes, and how exact it is."""
    classes, setting = headline(step)
    memory = setting.get("memory")
    less = f" and **{memory['ratio']:.0f} times less memory**" if memory else ""
    apart = setting["difference"]
    return (
        f"**Finding.** With {classes} classes one training step takes "
        f"**{setting['ratio']:.0f} times less time**{less} than a step that sends all 77 tokens of "
        "every class through the text encoder, as CoOp does. Logits differ by at most "
        f"{apart['logits']:.0e}, the prompt's gradient by {apart['gradient']:.0e} of its largest "
        "entry: rounding. Nothing is approximated."
    )


def ratios(step: Result) -> pd.DataFrame:
    """How many times less operations, time and memory a step needs, by the number of classes."""
    rows = {
        classes: {
            "operations": setting["flop_ratio"],
            "time": setting["ratio"],
            "memory": (setting.get("memory") or {}).get("ratio"),
        }
        for classes, setting in imagenet(step).items()
    }
    return pd.DataFrame(rows).T.rename_axis("classes")


def _memory(setting: Result) -> str:
    """How many times less memory, with a star if the reference's was extrapolated; "" if none."""
    if not (memory := setting.get("memory")):
        return ""
    return f"{memory['ratio']:.1f}×" + ("*" if memory["reference_extrapolated"] else "")


def settings_table(step: Result) -> pd.DataFrame:
    """Every measured setting: tokens left, times less of each, and the largest differences."""
    rows = {
        name: {
            "rows": setting["rows"]["ours"],
            "operations": f"{setting['flop_ratio']:.1f}×",
            "time": f"{setting['ratio']:.1f}×",
            "memory": _memory(setting),
            "products": f"{100 * setting['shares_of_time']['matrix_products']:.0f} %",
            "logits": f"{setting['difference']['logits']:.0e}",
            "gradient": f"{setting['difference']['gradient']:.0e}",
        }
        for name, setting in step["settings"].items()
    }
    return pd.DataFrame(rows).T


def seed_deviation(runs: pd.DataFrame) -> dict[str, float]:
    """Base and new: the deviation between seeds within a dataset, averaged; nan of one seed."""
    deviations = {}
    for half in ("base", "new"):
        each = [v.std(ddof=1) if len(v) > 1 else np.nan for v in final(runs, half).values()]
        deviations[half] = float(np.mean(each))
    return deviations


def half_precision(gap: Mapping[str, Interval], exact: pd.DataFrame, step: Result) -> str:
    """What bfloat16 moves beside the deviation between seeds of the ``exact`` runs."""
    spread, speed = seed_deviation(exact), headline(step)[1]["bf16"]["ratio_to_ours"]

    def moved(half: str) -> str:
        change = gap[half]
        return f"{half} **{change.value:+.2f}** [{change.low:+.2f}, {change.high:+.2f}]"

    return (
        f"bfloat16 minus float32: {moved('base')}, {moved('new')} points. Two seeds differ by "
        f"more: their standard deviation within a family is {spread['base']:.2f} on base and "
        f"{spread['new']:.2f} on new. A step is {speed:.1f} times faster than this book's exact "
        "one on this processor."
    )


def encoding_table(encode: Result) -> pd.DataFrame:
    """Images a second of each image encoder: alone, from files, and with augmented views."""

    def column(tower: Mapping[str, Any]) -> dict[str, str]:
        rates = tower["images_per_second"]
        return {
            "bare tower, images/s": f"{rates['bare tower']:.1f}",
            "whole path, images/s": f"{rates['whole path']:.1f}",
            "whole path, 4 views": f"{rates['whole path, 4 views']:.1f}",
            "share of decoding": f"{100 * tower['decode_share']:.0f} %",
        }

    return pd.DataFrame({f"{t['tower']}, {t['precision']}": column(t) for t in encode["towers"]})


def whole_run(whole: Result) -> str:
    """How long both runs take from nothing, here and by the plain loop, and whether they agree."""
    apart = max(count for halves in whole["images_apart"].values() for count in halves.values())
    another = whole["seconds_of_another_run"]
    peers = sum(run["total"] for run in whole["peers"].values())
    agree = (
        f"numbers right that differ by at most {apart}."
        if apart
        else "exactly as many right, in each half and for both methods."
    )
    return (
        f"Both runs take **{whole['ours']['total']:.1f} s** here and **{peers:.1f} s** the other "
        f"way, **{whole['ratio_of_both_runs']:.0f} times** as long; of training alone "
        f"{whole['ratio_of_training']:.0f} times. Every further run on the same pictures takes "
        f"{another['ours']:.1f} s here, {another['peers']:.1f} s there. Of "
        f"{sum(whole['ours']['test_images'].values()):,} test images the two ways get {agree}"
    )


def phases_table(whole: Result) -> pd.DataFrame:
    """Seconds of each phase of a whole run: this book's for both runs, the plain loop's of each."""
    ways = {"this book, both runs": whole["ours"]}
    ways |= {f"plain loop, {name}": whole["peers"][key] for key, name in RUNS.items()}
    seconds = {
        way: {phase: f"{spent:.1f}" for phase, spent in run["phases"].items()}
        for way, run in ways.items()
    }
    return pd.DataFrame(seconds).fillna("")


def numbers(
    step: Result, whole: Result, gap: Mapping[str, Interval]
) -> dict[str, Interval | int | str]:
    """The page's numbers: ratios of a step, of a whole run, and what bfloat16 moves."""
    classes, setting = headline(step)
    values: dict[str, Interval | int | str] = {
        "classes": classes,
        "time": f"{setting['ratio']:.0f}",
        "operations": f"{setting['flop_ratio']:.0f}",
        "matrix_products": f"{100 * setting['shares_of_time']['matrix_products']:.0f}",
        "whole_run": f"{whole['ratio_of_both_runs']:.0f}",
        "bf16_base": gap["base"],
        "bf16_new": gap["new"],
    }
    if setting.get("memory"):
        values["memory"] = f"{setting['memory']['ratio']:.0f}"
    return values
