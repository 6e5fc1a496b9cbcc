"""Page 14: images in a language model's memory or before its text, from the benchmark ``memvp``.

Intervals are over seeds, on the same test images.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from dip_book.estimates import estimate
from dip_book.interval import Interval
from dip_book.statistics import median_interval, paired_difference
from dip_book.tables import Array

Result = Mapping[str, Any]
MEMORY, PREFIX, FLOOR = "memory", "prefix", "question alone"
HOW = "ranked"
"""How an answer is judged where only one way is shown: the likeliest of the possible answers."""


def titles(result: Result) -> dict[str, str]:
    """Task -> what is asked: "which character"."""
    return {task: str(about["title"]) for task, about in result["tasks"].items()}


def accuracies(result: Result, way: str, how: str = HOW) -> dict[str, Array]:
    """Task -> (S,) test accuracy, %, of a way to show an image; ``how``: "ranked" or "exact"."""
    found = result["ways"][way]["accuracy"]
    return {task: np.array(found[task][how], dtype=float) for task in result["tasks"]}


def _of_task(values: Mapping[str, Array], task: str) -> dict[str, Array]:
    return {task: values[task]}


def difference(result: Result, ours: str, theirs: str, task: str, how: str = HOW) -> Interval:
    """One way minus another in a task, points, seeds paired."""
    a, b = (_of_task(accuracies(result, way, how), task) for way in (ours, theirs))
    return paired_difference(a, b)


def differences(result: Result) -> dict[str, Interval]:
    """What the figure draws: each way with a memory minus the prefix, by question."""
    ways = [way for way in result["ways"] if way not in (PREFIX, FLOOR)]
    return {
        f"{title}: {way.removeprefix(f'{MEMORY}, ')}": difference(result, way, PREFIX, task)
        for task, title in titles(result).items()
        for way in ways
    }


def table(result: Result) -> pd.DataFrame:
    """A row for each way to show an image.

    Accuracies with their intervals, by the likeliest answer; the numbers that train; rows that the
    model reads beside the text; time of a training step and of an answer as multiples of those of
    the question alone.
    """
    rows = {}
    for way, found in result["ways"].items():
        values = accuracies(result, way)
        row = {
            title: f"{estimate(_of_task(values, task)):.1f}"
            for task, title in titles(result).items()
        }
        rows[way] = row | {
            "numbers": found["trainable"],
            "rows": found["rows_before"],
            "learning rate": found["rate"],
            "step": round(found["step_over_floor"], 2),
            "answer": round(found["answer_over_floor"], 2),
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def rate_table(result: Result) -> pd.DataFrame:
    """Learning rate -> validation accuracy of each way, %, the mean of the tasks; first seed."""
    columns = {way: found["validation"] for way, found in result["ways"].items()}
    table = pd.DataFrame(columns)
    return table.set_axis([float(rate) for rate in table.index]).rename_axis(None)


def at_the_highest(result: Result) -> str:
    """The ways whose best rate is the highest of the list, so that a higher one may be better; ""
    for none."""
    highest = max(result["settings"]["rates"])
    ways = [way for way, found in result["ways"].items() if found["rate"] == highest]
    if not ways:
        return ""
    return f"The best rate is the highest that was tried, {highest:g}, for: {'; '.join(ways)}."


def word_for_word(result: Result) -> str:
    """By how much accuracy is lower, at most, where the model has to write the answer itself."""
    lost = [
        float(accuracies(result, way)[task].mean() - accuracies(result, way, "exact")[task].mean())
        for way in result["ways"]
        for task in result["tasks"]
    ]
    return (
        "Where the model has to write the answer word by word, it is right less often by at most "
        f"{max(lost):.1f} points."
    )


def untouched(result: Result) -> str:
    """What the frozen model answers without any training, beside chance."""
    parts = []
    for task, title in titles(result).items():
        about = result["tasks"][task]
        right = about["untouched"][HOW]
        parts.append(f"{title} {right:.1f} % (chance {100 / about['answers']:.1f} %)")
    return f"Without an image and without training the model is right so often: {'; '.join(parts)}."


def _said(title: str, gap: Interval) -> str:
    points = f"{abs(gap.value):.1f} points {'above' if gap.value > 0 else 'below'} the prefix"
    decided = "" if gap.sign else ", not decided"
    return f"{title}: {points} ({gap.ends('+.1f')}{decided})"


def finding(result: Result) -> str:
    """What was found: memory against the prefix, and what time each takes."""
    asked = titles(result)
    gaps = {title: difference(result, MEMORY, PREFIX, task) for task, title in asked.items()}
    seeds = len(result["settings"]["seeds"])
    parts = "; ".join(_said(title, gap) for title, gap in gaps.items())
    step, answer = (_ratio(result, what).value for what in ("step", "answer"))
    return (
        f"**Finding.** With as many trainable parameters, MemVP's memory against the prefix, over "
        f"{seeds} seeds. {parts[:1].upper()}{parts[1:]}. A training step with the memory takes "
        f"{step:.2f} of the prefix's time, an answer {answer:.2f}."
    )


def _ratio(result: Result, what: str) -> Interval:
    """Time of the memory over that of the prefix: "step" or "answer"."""
    ours, theirs = (
        np.array(result["ways"][way][f"seconds_of_{what}"], dtype=float) for way in (MEMORY, PREFIX)
    )
    return median_interval(ours / theirs)


def numbers(result: Result) -> dict[str, Interval | int]:
    """The page's numbers of this part, by name."""
    found: dict[str, Interval | int] = {
        f"memvp_{task.replace('-', '_')}_minus_prefix": difference(result, MEMORY, PREFIX, task)
        for task in result["tasks"]
    }
    found |= {f"memvp_{what}_over_prefix": _ratio(result, what) for what in ("step", "answer")}
    return found | {"memvp_numbers": int(result["ways"][MEMORY]["trainable"])}
