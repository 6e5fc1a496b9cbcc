"""The runs of Prompt Condensation on the tasks, with its controls, from the largest set of prompts.

Of each task that has a learning rate: every choice of what stays, at every share, as it is; trained
on, the choice by importance at every share and ranking, the controls at the share of the headline,
and all prompts as long. Few prompts trained from the start as long as the others in all, and the
head alone, are runs of ``dip_study/visual_tasks.py``.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

from dip_lib.methods.condensation import CHOICES, Condensation
from dip_lib.methods.vpt import RANKINGS, VPT
from dip_lib.training.run import Run
from dip_study.profiles import Profile
from dip_study.runs import once
from dip_study.visual_grid import Condense, Grid, Prompts
from dip_study.visual_tasks import is_plan, task_run

GLOBAL, LAYER = RANKINGS


def visual_condensed(profile: Profile, **changes: Any) -> list[Run]:
    """All condensed runs, of every task whose rate is chosen, and every seed."""
    grids = Grid.each(profile, planned=is_plan(changes))
    return once(
        run
        for grid in grids
        for task in grid.datasets
        for run in condensed_runs(profile, grid, task, **changes)
    )


def condensed_runs(profile: Profile, grid: Grid, task: str, **changes: Any) -> list[Run]:
    """The condensed runs of one task and every seed: none while its rate is not chosen."""
    most, runs = Prompts("deep", grid.condensing.of), list[Run]()
    if (rate := grid.rate(task, most)) is None:
        return runs
    for seed in grid.seeds:
        source = task_run(profile, grid, task, most, rate, seed, **changes)
        runs += [replace(source, method=each) for each in condensations(source, grid.condensing)]
    return runs


def condensations(source: Run, settings: Condense) -> list[Condensation]:
    """The methods that condense one trained run, each once."""
    vpt = cast(VPT, source.method)

    def of(keep: float, choice: str, ranking: str = GLOBAL, tuned: int = 0, draw: int = 0) -> None:
        made[
            Condensation(
                vectors=vpt.vectors,
                depth=vpt.depth,
                keep=float(keep),
                choice=choice,
                ranking=ranking,
                tuned=tuned,
                draw=draw,
            )
        ] = None

    made = dict[Condensation, None]()
    of(100, "sum", tuned=settings.tuned)
    for keep in settings.keep:
        for ranking in RANKINGS:
            of(keep, "sum", ranking)
            of(keep, "sum", ranking, settings.tuned)
        for tuned in (0, settings.tuned) if keep == settings.headline else (0,):
            for choice in CHOICES:
                for draw in range(1, settings.draws + 1) if choice == "random" else (0,):
                    of(keep, choice, GLOBAL, tuned, draw)
    return [*made]
