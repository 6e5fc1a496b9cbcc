"""What page 14 shows of DIP on visual prompts: accuracy against the rank of the update.

Each variant is compared with full matrices of as many prompts, whose learning rate was chosen in
the same way. Tasks without such runs are left out.
"""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from dip_book.frame import finished
from dip_book.pages import visual_tasks
from dip_book.pages.task_grids import Grids
from dip_book.pages.visual_tasks import TaskRuns
from dip_book.tables import over_seeds
from dip_lib.training.parts import LowRank
from dip_study.visual_grid import LowRankPrompts

Curves = dict[str, pd.DataFrame]

FULL = "VPT"
"""Look of the full matrices."""
LINES = {"DIP": (0.5, True), "zero-shot": (0.0, True), "other": (0.5, False), "SPT": (0.0, False)}
"""Look of a line -> its dropout, and whether it has P0."""
LABELS = {
    "DIP": "P0, dropout 0.5 (DIP)",
    "zero-shot": "P0, no dropout",
    "other": "no P0, dropout 0.5",
    "SPT": "no P0, no dropout",
    FULL: "full matrix",
}


def _measured(grids: Grids) -> Iterator[tuple[TaskRuns, LowRankPrompts, str]]:
    """Each task with runs of low rank, with its grid."""
    for tasks in grids:
        if (low := tasks.grid.low_rank) is None:
            continue
        there = set(tasks.runs[tasks.runs["rank"] > 0]["dataset"])
        yield from ((tasks, low, task) for task in low.datasets if task in there)


def gain_by_rank(grids: Grids) -> dict[str, Curves]:
    """Task -> gain over the head against the rank; bands are ranges over seeds."""
    return {task: _lines(tasks, low, task) for tasks, low, task in _measured(grids)}


def _lines(tasks: TaskRuns, low: LowRankPrompts, task: str) -> Curves:
    lines, head = Curves(), tasks.ends(vectors=0)
    for look, (dropout, p0) in LINES.items():
        updates = {r: LowRank(rank=r, dropout=dropout, p0=p0) for r in low.ranks}
        gains = {
            r: visual_tasks.minus(tasks.low_rank(update, vectors=low.of), head)
            for r, update in updates.items()
        }
        rows = {r: over_seeds(gain[task]).columns for r, gain in gains.items() if task in gain}
        if rows:
            lines[look] = pd.DataFrame.from_dict(rows, orient="index")
    full = visual_tasks.gains_of(tasks, low.of)
    if task in full:
        level = over_seeds(full[task]).columns
        lines[FULL] = pd.DataFrame.from_dict(dict.fromkeys(low.ranks, level), orient="index")
    return lines


def table(grids: Grids) -> pd.DataFrame:
    """Each variant of each task: the numbers that its prompts train, without the head's, and its
    accuracy minus that of the full matrices, with the least and the most over seeds."""
    rows = {}
    for tasks, low, task in _measured(grids):
        gaps = visual_tasks.low_rank_gaps(tasks)
        head = _trainable(tasks.ends(vectors=0, dataset=task))
        for name, update in low.variants().items():
            if task in gaps[name]:
                runs = tasks.low_rank(update, vectors=low.of, dataset=task)
                points = over_seeds(gaps[name][task])
                rows[task, name] = {
                    "trainable": _trainable(runs) - head,
                    "minus full": points.value,
                    "least": points.low,
                    "most": points.high,
                }
    return pd.DataFrame.from_dict(rows, orient="index")


def _trainable(runs: pd.DataFrame) -> int:
    return int(finished(runs)["trainable"].iloc[0])


def finding(grids: Grids) -> str:
    """How far rank one is from the full matrices, as DIP has it and without dropout."""
    rows, parts = table(grids), []
    for tasks, low, task in _measured(grids):
        dip, plain = visual_tasks.LOW_RANK.values()
        if not {(task, dip), (task, plain)} <= {*rows.index}:
            continue
        whole = _trainable(tasks.ends(vectors=low.of, dataset=task))
        full = whole - _trainable(tasks.ends(vectors=0, dataset=task))
        parts.append(
            f"On {task} DIP makes {low.of} prompts in each block of "
            f"{rows.loc[(task, dip), 'trainable']:,.0f} numbers, instead of {full:,}; they are "
            f"{_points(rows.loc[(task, dip)])} from as many trained in full, without dropout "
            f"{_points(rows.loc[(task, plain)])}"
        )
    if not parts:
        return "Prompts of low rank are not measured yet on a task."
    return f"{'. '.join(parts)} (range of seeds)."


def _points(row: pd.Series) -> str:
    return f"{row['minus full']:+.1f} [{row['least']:+.1f}, {row['most']:+.1f}] points"
