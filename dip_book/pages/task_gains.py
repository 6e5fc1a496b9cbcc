"""What page 14 shows of the tasks, its first part: gains over the head, by the number of prompts.

A gain is test accuracy minus that of the linear head alone, in points. All functions take grids of
which only some tasks are measured, and show what there is. Condensing is in
:mod:`.task_condensing`.
"""

from __future__ import annotations

import pandas as pd

from dip_book.pages import visual_tasks
from dip_book.pages.task_grids import Grids
from dip_book.pages.visual_tasks import TaskRuns
from dip_book.tables import final, over_seeds
from dip_study.visual_grid import Prompts

Curves = dict[str, pd.DataFrame]

LABELS = {"VPT": "VPT-deep", "other": "VPT-shallow"}
"""Look of a line -> what the legend calls it."""


def gain_curves(grids: Grids) -> dict[str, Curves]:
    """Task -> gain against the number of prompts, deep and shallow; bands are ranges over seeds."""
    return {task: lines for tasks in grids for task, lines in _gains(tasks).items()}


def _gains(tasks: TaskRuns) -> dict[str, Curves]:
    panels: dict[str, Curves] = {task: {} for task in tasks.measured}
    numbers = {"other": ("shallow", tasks.grid.shallow), "VPT": ("deep", tasks.grid.deep)}
    for look, (kind, counts) in numbers.items():
        found = {count: visual_tasks.gains_of(tasks, count, kind) for count in counts}
        for task, lines in panels.items():
            rows = {n: over_seeds(each[task]).columns for n, each in found.items() if task in each}
            if rows:
                lines[look] = pd.DataFrame.from_dict(rows, orient="index")
    return {task: lines for task, lines in panels.items() if lines}


def gain_table(grids: Grids) -> pd.DataFrame:
    """A row a task: the head, the largest set of prompts, the gain, and whether it judges."""
    tables = (visual_tasks.gain_table(tasks) for tasks in grids)
    return pd.concat([pd.DataFrame(), *(each for each in tables if len(each))])


def doubled(grids: Grids) -> pd.DataFrame:
    """Of the tasks that are trained for twice the epochs, too: accuracy of the first seed.

    A row a task and number of prompts, a column a length.
    """
    rows = {}
    for tasks in grids:
        first, epochs = tasks.grid.seeds[0], tasks.grid.epochs
        for task in tasks.grid.twice:
            for prompts in tasks.grid.prompts():
                found = [_accuracy(tasks, task, prompts, times * epochs, first) for times in (1, 2)]
                if None not in found:
                    columns = (f"{epochs} epochs", f"{2 * epochs} epochs")
                    rows[task, str(prompts)] = dict(zip(columns, found, strict=True))
    return pd.DataFrame.from_dict(rows, orient="index")


def _accuracy(tasks: TaskRuns, task: str, prompts: Prompts, epochs: int, seed: int) -> float | None:
    """Of one run; None if it is not there or stopped."""
    runs = tasks.ends(prompts.kind, vectors=prompts.count, epochs=epochs, seed=seed, dataset=task)
    found = final(runs, "base") if len(runs) else {}
    return float(found[task][0]) if task in found else None


def doubled_finding(grids: Grids) -> str:
    """Whether the order of the numbers of prompts is the same after twice the epochs."""
    table, parts = doubled(grids), []
    if table.empty:
        return "No task is measured yet with twice the epochs."
    for task in table.index.get_level_values(0).unique():
        once, twice = (column.dropna() for _, column in table.loc[task].items())
        same = [*once.sort_values().index] == [*twice.sort_values().index]
        gains = [column.max() - column[str(Prompts("deep", 0))] for column in (once, twice)]
        parts.append(
            f"On {task} twice the epochs {'leave' if same else 'change'} the order of the numbers; "
            f"the best is {gains[0]:+.1f} points above the head, then {gains[1]:+.1f}"
        )
    return f"{'. '.join(parts)} (first seed)."


def rates_finding(grids: Grids) -> str:
    """How many of the chosen learning rates are the least or the largest that was tried.

    A better one may lie beyond such a rate. Grids that tune nothing are left out.
    """
    chosen, ends = 0, dict[str, list[str]]()
    for tasks in grids:
        tried = tasks.grid.tried()
        for task in tasks.measured if tried else ():
            for number in tasks.grid.lr[task]:
                rate = tasks.grid.chosen(task, number)
                chosen += 1
                if rate in (tried[0], tried[-1]):
                    ends.setdefault(number, []).append(f"{task} {rate}")
    count = sum(map(len, ends.values()))
    named = "; ".join(f"{number}: {', '.join(tasks)}" for number, tasks in ends.items())
    which = f" ({named})" if ends else ""
    return f"Of {chosen} chosen learning rates {count} are the least or the largest tried{which}."
