"""Page 14's slider: accuracy while fewer and fewer prompts stay, by three ways of choosing them."""

from __future__ import annotations

import numpy as np

from dip_book.frame import where
from dip_book.pages import visual_tasks
from dip_book.pages.task_grids import Grids
from dip_book.pages.visual_tasks import ALL, TaskRuns
from dip_book.slider import Bars
from dip_book.tables import Array, average_of, final, finished_pairs

CHOSEN = {"sum": "most important", "random": "random", "least": "least important"}
"""Choice of what stays -> what its bars are called."""


def positions(grids: Grids) -> list[str]:
    """What each position of the slider is called, all prompts first."""
    return [f"{share:g} %" for share in _shares(grids[0])]


def panels(grids: Grids) -> list[Bars]:
    """A panel for each task that judges and whose prompts are condensed: a bar a seed."""
    return [
        _panel(tasks, task) for tasks in grids for task in tasks.condensed if task in tasks.judging
    ]


def _shares(tasks: TaskRuns) -> list[float]:
    return sorted({ALL, *map(float, tasks.grid.condensing.keep)}, reverse=True)


def _panel(tasks: TaskRuns, task: str) -> Bars:
    found = [[_accuracy(tasks, task, share, how) for how in CHOSEN] for share in _shares(tasks)]
    heights = [[[round(float(a) / 100, 4) for a in seeds] for seeds in each] for each in found]
    said = [
        _line(tasks, task, share, each) for share, each in zip(_shares(tasks), found, strict=True)
    ]
    return Bars(f"{task}, not trained on", [*CHOSEN.values()], heights, said, axis="accuracy")


def _accuracy(tasks: TaskRuns, task: str, share: float, choice: str) -> Array:
    """(S,) with what a choice keeps, as it is, of the seeds that finished; of random subsets the
    average."""
    kept = visual_tasks.stays(tasks, share, choice, tuned=False)
    runs = finished_pairs(*(where(each, dataset=task) for each in kept))
    return np.mean([final(each, "base")[task] for each in runs], axis=0)


def _line(tasks: TaskRuns, task: str, share: float, found: list[Array]) -> str:
    """What the bars say, the same once trained on, and what the head alone reaches."""
    names = ["all prompts"] if share == ALL else [*CHOSEN.values()]
    shown = ", ".join(
        f"{name} {_tenths(seeds.mean())} %" for name, seeds in zip(names, found, strict=False)
    )
    on, head = (
        _tenths(average_of(where(runs, dataset=task), "base").value)
        for runs in (tasks.kept(share), tasks.ends(vectors=0))
    )
    return f"Accuracy: {shown}; {names[0]}, trained on, {on} %; the head alone {head} %."


def _tenths(value: float) -> str:
    """Rounded as the page's tables are."""
    return f"{np.round(value, 1):.1f}"
