"""The runs of visual prompts on tasks where they can pay: accuracy against the number of prompts.

As VTAB has it: every setting that is chosen is chosen on 800 images of a task and judged by 200
others; what is shown then trains on all 1,000 and is tested once. A task of the profile is the
dataset of that name, and "<task>-800" its tuning part: drawn by Glyph World, or of VTAB-1k and FGVC
(:mod:`dip_lib.data.prepared`). The chosen learning rates, and weight decays where these are tried,
too, stand in the profile, so that which runs there are does not depend on results;
``dip_study/visual_rates.py`` chooses them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from dip_lib.data.prepared import TUNING, prepared
from dip_lib.training.run import Run
from dip_lib.training.vtab import EVERY_IMAGE
from dip_study.loaded import dataset_of
from dip_study.profiles import Profile
from dip_study.runs import make_run, once
from dip_study.visual_grid import FEW, Grid, Prompts, Rate


def task_run(
    profile: Profile,
    grid: Grid,
    task: str,
    prompts: Prompts,
    rate: Rate,
    seed: int,
    tuning: bool = False,
    **changes: Any,
) -> Run:
    """VPT on a task, or on its tuning part, whose own 200 images evaluate it."""
    name = task + TUNING if tuning else task
    settings: dict[str, Any] = {
        "backbone": grid.tower,
        "protocol": "all-classes",
        "shots": _every(name, profile),
        "views": 0,
        "epochs": grid.epochs,
        "batch": grid.batch,
        "optimiser": grid.optimiser,
        "vectors": prompts.count,
        **({"depth": 1} if prompts.kind == "shallow" else {}),
    }
    return make_run(profile, name, "vpt", seed, **settings | rate.settings | changes)


def is_plan(changes: Mapping[str, Any]) -> bool:
    """Whether runs are made to be counted, and not to be looked up."""
    return changes.get("fingerprint") == ""


def _every(name: str, profile: Profile) -> int:
    """So many images a class that all are drawn; of VTAB-1k and FGVC without reading the files."""
    if prepared(name):
        return EVERY_IMAGE
    labels = dataset_of(name, "default", profile.folders).labels("train")
    return int(torch.bincount(labels).max())


def tuning_runs(
    profile: Profile, grid: Grid, task: str, **changes: Any
) -> dict[str, dict[Rate, Run]]:
    """What has a rate of its own -> each rate with the run that tries it.

    They train on the 800 images, with the first seed.
    """
    first, few, long = grid.seeds[0], grid.condensing.few, _longer(grid, grid.condensing.tuned)
    wanted = {str(prompts): (grid, prompts) for prompts in grid.tuned()} | {FEW: (long, few)}
    return {
        name: {
            rate: task_run(profile, of, task, prompts, rate, first, tuning=True, **changes)
            for rate in grid.tried()
        }
        for name, (of, prompts) in wanted.items()
    }


def _longer(grid: Grid, epochs: int) -> Grid:
    return replace(grid, epochs=grid.epochs + epochs)


def visual_tasks(profile: Profile, full: bool = False, **changes: Any) -> list[Run]:
    """Runs that tune, and at the rates that the profile has chosen those that are shown.

    Args:
        full: the full grid.
        changes: settings of every run; where these are planned alone (``fingerprint=""``), those
            are among them whose rate is still to be chosen.
    """
    grids = Grid.each(profile, full, is_plan(changes))
    return once(run for grid in grids for run in _of_grid(profile, grid, **changes))


def _of_grid(profile: Profile, grid: Grid, **changes: Any) -> list[Run]:
    """The runs of one encoder."""
    runs = list[Run]()
    for task in grid.datasets:
        for tries in tuning_runs(profile, grid, task, **changes).values():
            runs += tries.values()
    for task in grid.datasets:
        runs += shown_runs(profile, grid, task, **changes)
    return runs


def shown_runs(profile: Profile, grid: Grid, task: str, **changes: Any) -> list[Run]:
    """The runs of one task that are shown, at the rates that are chosen: none without any."""
    runs = list[Run]()
    for prompts in grid.prompts():
        if (rate := grid.rate(task, prompts)) is None:
            continue
        runs += [task_run(profile, grid, task, prompts, rate, s, **changes) for s in grid.seeds]
        if task in grid.twice:
            long = _longer(grid, grid.epochs)
            runs.append(task_run(profile, long, task, prompts, rate, grid.seeds[0], **changes))
    if rate := grid.chosen(task, FEW):
        few, long = grid.condensing.few, _longer(grid, grid.condensing.tuned)
        runs += [task_run(profile, long, task, few, rate, s, **changes) for s in grid.seeds]
    return runs
