"""Visual prompts on the tasks: what they gain over the head, and what of that condensing keeps.

Condensation is judged on the tasks where there is a gain to keep. The rule was committed before any
run: the largest set of prompts is :data:`GAIN` points or more above the head alone, averaged over
seeds. All tasks are shown.

Symbols: S seeds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from dip_book.frame import where
from dip_book.tables import Array, average_of, final, finished_pairs, sweep
from dip_lib.data.prepared import TUNING
from dip_lib.methods.condensation import CHOICES, Condensation
from dip_lib.methods.vpt import VPT
from dip_study.profiles import Profile
from dip_study.visual_grid import Grid

GAIN = 2.0
"""Points by which prompts must be above the head for a task to judge condensation: twice the margin
of an accuracy."""
Curves = dict[str, pd.DataFrame]
Values = dict[str, Array]
ALL = 100.0


@dataclass(frozen=True)
class TaskRuns:
    """The runs of the tasks, without those that tune.

    Attributes:
        runs: a row a run, its last checkpoint.
        grid: what the profile asks for.
        depth: blocks of VPT-deep.
    """

    runs: pd.DataFrame
    grid: Grid
    depth: int

    @classmethod
    def of(cls, runs: pd.DataFrame, profile: Profile) -> TaskRuns:
        """Raises ValueError: a profile without tasks."""
        if (grid := Grid.of(profile)) is None:
            raise ValueError(f"profile {profile.name} has no [visual.tasks]")
        shown = runs[runs["last"] & ~runs["dataset"].str.endswith(TUNING)]
        return cls(where(shown, backbone=grid.tower), grid, int(profile.settings["vpt"]["depth"]))

    def ends(self, kind: str = "deep", **values: Any) -> pd.DataFrame:
        """VPT trained from the start on the ordinary schedule."""
        depth = self.depth if kind == "deep" else 1
        plain = where(self.runs, label=VPT.label, depth=depth)
        return where(plain, **{"epochs": self.grid.epochs} | values)

    def few(self) -> pd.DataFrame:
        """Few prompts trained from the start, as long as the condensed ones in all."""
        settings = self.grid.condensing
        return self.ends(vectors=settings.few.count, epochs=self.grid.epochs + settings.tuned)

    def kept(
        self,
        share: float,
        choice: str = "sum",
        tuned: bool = True,
        ranking: str = "global",
        draw: int = 0,
    ) -> pd.DataFrame:
        """Condensed runs; all prompts trained on as long are ``share`` 100."""
        wanted = {"keep": float(share), "choice": choice, "ranking": ranking, "draw": draw}
        runs = where(self.runs, label=Condensation.label, **wanted)
        return runs[(runs["tuned"] > 0) == tuned]


def by_number(tasks: TaskRuns) -> dict[str, Curves]:
    """Task -> test accuracy against the number of prompts, deep and shallow ("other")."""
    lines = {"VPT": tasks.ends(), "other": tasks.ends("shallow")}
    return {
        task: {
            name: sweep(where(runs, dataset=task), "vectors", "base")
            for name, runs in lines.items()
        }
        for task in sorted(set(tasks.ends()["dataset"]))
    }


def gains(tasks: TaskRuns) -> Values:
    """Task -> (S,) accuracy with the largest set of prompts minus that of the head alone."""
    most, head = finished_pairs(tasks.ends(vectors=tasks.grid.condensing.of), tasks.ends(vectors=0))
    return _minus(most, head)


def judged(tasks: TaskRuns) -> list[str]:
    """Tasks that judge condensation: prompts gain :data:`GAIN` points or more."""
    return [task for task, gain in gains(tasks).items() if gain.mean() >= GAIN]


def _minus(ours: pd.DataFrame, theirs: pd.DataFrame) -> Values:
    a, b = (final(runs, "base") for runs in (ours, theirs))
    return {task: np.asarray(a[task] - b[task], dtype=float) for task in a}


def gain_table(tasks: TaskRuns) -> pd.DataFrame:
    """A row a task: the head, the largest set of prompts, the gain, and whether it judges."""
    head, most = tasks.ends(vectors=0), tasks.ends(vectors=tasks.grid.condensing.of)
    rows = {
        task: {
            "head alone": average_of(where(head, dataset=task), "base").value,
            "VPT": average_of(where(most, dataset=task), "base").value,
            "gain": float(gain.mean()),
            "judges condensing": "yes" if gain.mean() >= GAIN else "no",
        }
        for task, gain in gains(tasks).items()
    }
    return pd.DataFrame.from_dict(rows, orient="index")


# ---- condensing ---------------------------------------------------------------------------------


def against(tasks: TaskRuns, share: float, tuned: bool = True) -> dict[str, Values]:
    """What stays instead -> task -> (S,) accuracy of the choice by importance minus that of it.

    Random subsets are averaged. "all": all prompts, trained on as long; "few": trained from the
    start, trained on alone; "head": the head alone. What was not measured is left out.
    """
    ours = tasks.kept(share, tuned=tuned)
    theirs = {name: tasks.kept(share, name, tuned) for name in CHOICES if name != "random"}
    del theirs["sum"]
    theirs |= {"layer": tasks.kept(share, tuned=tuned, ranking="layer")}
    whole = tasks.kept(ALL) if tuned else tasks.ends(vectors=tasks.grid.condensing.of)
    theirs |= {"all": whole, "head": tasks.ends(vectors=0)}
    if tuned and share == tasks.grid.condensing.headline:
        theirs["few"] = tasks.few()
    found = {n: _minus(*finished_pairs(ours, runs)) for n, runs in theirs.items() if len(runs)}
    draws = [
        _minus(*finished_pairs(ours, runs))
        for draw in range(1, tasks.grid.condensing.draws + 1)
        if len(runs := tasks.kept(share, "random", tuned, draw=draw))
    ]
    if draws:
        found["random"] = {task: np.mean([each[task] for each in draws], 0) for task in draws[0]}
    return found


def share_of_gain(tasks: TaskRuns, share: float, choice: str = "sum") -> dict[str, float]:
    """Task that judges -> which part of the gain over the head stays, after training on.

    The gain is that of all prompts trained on as long.
    """
    whole, head = tasks.kept(ALL), tasks.ends(vectors=0)
    draws = range(1, tasks.grid.condensing.draws + 1) if choice == "random" else (0,)
    parts = [tasks.kept(share, choice, draw=draw) for draw in draws]
    kept = []
    for part in parts:
        runs = finished_pairs(part, whole, head)
        some, every, none = (final(each, "base") for each in runs)
        kept.append(
            {
                task: float((some[task] - none[task]).mean() / (every[task] - none[task]).mean())
                for task in judged(tasks)
            }
        )
    return {task: float(np.mean([each[task] for each in kept])) for task in kept[0]}


def measured(tasks: TaskRuns) -> dict[str, Values]:
    """The differences that the claims on condensing read, of the tasks that judge: task -> (S,)."""
    found = against(tasks, tasks.grid.condensing.headline)
    wanted = {
        "tasks_condensed_minus_all": found["all"],
        "tasks_condensed_minus_random": found["random"],
        "tasks_condensed_minus_few": found["few"],
    }
    inside = judged(tasks)
    return {name: {task: each[task] for task in inside} for name, each in wanted.items()}
