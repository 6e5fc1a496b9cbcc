"""Visual prompts on the tasks: what they gain over the head, and what of that condensing keeps.

Condensation is judged on the tasks where there is a gain to keep. The rule was committed before any
run: the largest set of prompts is :data:`GAIN` points or more above the head alone, averaged over
seeds. All tasks are shown.

Symbols: S seeds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from dip_book.frame import where
from dip_book.tables import Array, average_of, final, finished_pairs
from dip_lib.methods.condensation import CHOICES, Condensation
from dip_lib.methods.vpt import VPT
from dip_lib.training.parts import LowRank
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
        runs: a row a run, its last checkpoint. Of some tasks there may be none yet, or no condensed
            ones.
        grid: what the profile asks for.
        depth: blocks of VPT-deep.
        profile: whose they are.
    """

    runs: pd.DataFrame
    grid: Grid
    depth: int
    profile: Profile

    @classmethod
    def of(cls, runs: pd.DataFrame, profile: Profile) -> TaskRuns:
        """Raises ValueError: a profile without tasks."""
        if (grid := Grid.of(profile)) is None:
            raise ValueError(f"profile {profile.name} has no [visual.tasks]")
        shown = where(runs[runs["dataset"].isin(grid.datasets)], last=True, backbone=grid.tower)
        return cls(shown, grid, int(profile.settings["vpt"]["depth"]), profile)

    @property
    def measured(self) -> list[str]:
        """The declared tasks that have runs, in their order."""
        return [task for task in self.grid.datasets if task in set(self.runs["dataset"])]

    @property
    def condensed(self) -> list[str]:
        """Those of which prompts were condensed, too."""
        there = set(where(self.runs, label=Condensation.label)["dataset"])
        return [task for task in self.grid.datasets if task in there]

    @cached_property
    def judging(self) -> list[str]:
        """Those that judge condensation: prompts gain :data:`GAIN` points or more."""
        return [task for task, gain in gains(self).items() if gain.mean() >= GAIN]

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

    def low_rank(self, update: LowRank, **values: Any) -> pd.DataFrame:
        """VPT-deep whose prompts have this update of low rank."""
        own = {"rank": update.rank, "dropout": update.dropout, "p0": update.p0}
        return where(self.runs, method=VPT.name, **own | values)


def gains(tasks: TaskRuns) -> Values:
    """Task -> (S,) accuracy with the largest set of prompts minus that of the head alone."""
    return gains_of(tasks, tasks.grid.condensing.of)


def gains_of(tasks: TaskRuns, vectors: int, kind: str = "deep") -> Values:
    """The same with so many prompts of a block, or of the first block alone ("shallow")."""
    return minus(tasks.ends(kind, vectors=vectors), tasks.ends(vectors=0))


def minus(*sides: pd.DataFrame) -> Values:
    """Task -> (S,) accuracy of the first side minus the average of the others, where all are."""
    ours, *theirs = (final(runs, "base") for runs in finished_pairs(*sides))
    there = [task for task in ours if all(task in each for each in theirs)]
    return {task: ours[task] - np.mean([each[task] for each in theirs], 0) for task in there}


def gain_table(tasks: TaskRuns) -> pd.DataFrame:
    """A row a task: the head, the largest set of prompts, the gain, and whether it judges."""
    head, most = tasks.ends(vectors=0), tasks.ends(vectors=tasks.grid.condensing.of)
    rows = {
        task: {
            "head alone": average_of(where(head, dataset=task), "base").value,
            "VPT": average_of(where(most, dataset=task), "base").value,
            "gain": float(gain.mean()),
            "judges condensing": "yes" if task in tasks.judging else "no",
        }
        for task, gain in gains(tasks).items()
    }
    return pd.DataFrame.from_dict(rows, orient="index")


LOW_RANK = {"dip": "rank 1, dropout 0.5", "rank_1": "rank 1, dropout 0"}
"""Two variants with P0, DIP's own and the same without dropout: in numbers, and their names."""


def low_rank_gaps(tasks: TaskRuns) -> dict[str, Values]:
    """Variant -> task -> (S,) its accuracy minus that of as many prompts trained in full."""
    if (low := tasks.grid.low_rank) is None:
        return {}
    full = tasks.ends(vectors=low.of)
    return {
        name: minus(tasks.low_rank(update, vectors=low.of), full)
        for name, update in low.variants().items()
    }


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
    (whole,) = stays(tasks, ALL, "sum", tuned)
    theirs |= {"all": whole, "head": tasks.ends(vectors=0)}
    if tuned and share == tasks.grid.condensing.headline:
        theirs["few"] = tasks.few()
    found = {name: minus(ours, runs) for name, runs in theirs.items() if len(runs)}
    if draws := _drawn(tasks, share, tuned):
        found["random"] = minus(ours, *draws)
    return found


def _drawn(tasks: TaskRuns, share: float, tuned: bool) -> list[pd.DataFrame]:
    """The runs of each random subset that was measured."""
    draws = range(1, tasks.grid.condensing.draws + 1)
    every = (tasks.kept(share, "random", tuned, draw=draw) for draw in draws)
    return [runs for runs in every if len(runs)]


def stays(
    tasks: TaskRuns, share: float, choice: str, tuned: bool, ranking: str = "global"
) -> list[pd.DataFrame]:
    """The runs of what a choice keeps: of random subsets each, of ``share`` 100 all prompts."""
    if share == ALL:
        every = tasks.kept(ALL) if tuned else tasks.ends(vectors=tasks.grid.condensing.of)
        return [every]
    if choice == "random":
        return _drawn(tasks, share, tuned)
    return [tasks.kept(share, choice, tuned, ranking)]


class Kept(NamedTuple):
    """Points above the head alone: what stays, (S,), and what all prompts gain, over seeds."""

    stays: Array
    gained: float


def kept_points(
    tasks: TaskRuns,
    share: float,
    choice: str = "sum",
    tuned: bool = True,
    ranking: str = "global",
) -> dict[str, Kept]:
    """Task that judges -> what stays of the gain over the head.

    The gain is that of all prompts, trained on as long if these are. Random subsets are averaged.
    Tasks without such runs are left out.
    """
    whole, parts = (stays(tasks, each, choice, tuned, ranking) for each in (ALL, share))
    runs = finished_pairs(*whole, tasks.ends(vectors=0), *parts)
    every, none, *some = (final(each, "base") for each in runs)
    return {
        task: Kept(
            np.mean([each[task] for each in some], 0) - none[task],
            float((every[task] - none[task]).mean()),
        )
        for task in tasks.judging
        if some and all(task in each for each in (every, none, *some))
    }


def share_of_gain(kept: Mapping[str, Kept]) -> Values:
    """Task -> (S,) values whose average is the share that stays of all points gained together.

    An average of each task's own share would be that of the tasks with the least gain. These
    values vary over tasks as that ratio of averages does (linearised, as in survey sampling); of
    one task they are its share.
    """
    gained = np.mean([each.gained for each in kept.values()])
    share = np.mean([each.stays.mean() for each in kept.values()]) / gained
    return {
        task: share + (each.stays - share * each.gained) / gained for task, each in kept.items()
    }


def measured(tasks: TaskRuns) -> dict[str, Values]:
    """The differences that the claims on condensing read, of the tasks that judge: task -> (S,).

    Without those of which no task is measured.
    """
    found = against(tasks, tasks.grid.condensing.headline)
    inside, numbers = tasks.judging, dict[str, Values]()
    for name in ("all", "random", "few"):
        each = {task: values for task, values in found.get(name, {}).items() if task in inside}
        if each:
            numbers[f"tasks_condensed_minus_{name}"] = each
    return numbers
