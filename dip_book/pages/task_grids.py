"""The grids of tasks for visual prompts that page 14 shows: which of their tasks are measured.

A grid that tunes is only read: its learning rates are chosen between two sweeps, by
``dip_study/visual_rates.py``. One that takes its rates from another profile is measured where the
page's other runs are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

import pandas as pd

from dip_book.estimates import estimate
from dip_book.frame import frame
from dip_book.interval import Interval
from dip_book.notebook import Page
from dip_book.pages import visual_tasks
from dip_book.pages.visual_tasks import TaskRuns
from dip_book.tables import over_seeds
from dip_lib.training.run import Run
from dip_study import study
from dip_study.profiles import Profile
from dip_study.visual_condensed import condensed_runs
from dip_study.visual_grid import Grid
from dip_study.visual_low_rank import low_rank_runs
from dip_study.visual_tasks import shown_runs

Grids = Sequence[TaskRuns]
T = TypeVar("T")
MEASURES = "dip measure --study visual_tasks visual_condensed"


def of_page(page: Page) -> list[TaskRuns]:
    """The grid of each profile that the page's names (:attr:`Profile.tasks_of`).

    A task is in it once all its runs are stored, and its condensed runs, or those of low rank, once
    all of these are.
    """
    return [_grid(page, profile) for profile in page.further]


def _grid(page: Page, profile: Profile) -> TaskRuns:
    grid = Grid.of(profile)
    assert grid is not None  # load_profile has seen its table
    kinds = (shown_runs, condensed_runs, low_rank_runs)
    parts = [of(profile, grid, task) for of in kinds for task in grid.datasets]
    if page.results == "stored" or grid.rates:
        return TaskRuns.of(page.stored(_stored(profile, parts), profile), profile)
    own = replace(page, profile=profile)
    return TaskRuns.of(own.collect(run for part in parts for run in part), profile)


def _stored(profile: Profile, parts: Sequence[Sequence[Run]]) -> list[Run]:
    """The runs of the parts that are stored as a whole."""
    store = study.open_store(profile, "stored")
    return [run for part in parts if not store.missing(list(part)) for run in part]


def every_run(grids: Grids) -> pd.DataFrame:
    """The runs of all grids; without any, a frame without rows."""
    return pd.concat([frame([]), *(tasks.runs for tasks in grids)])


def not_measured(grids: Grids) -> str:
    """A sentence on the declared tasks that have no runs, or none that are condensed."""
    without = {tasks.profile.name: _rest(tasks, tasks.measured) for tasks in grids}
    whole = {
        tasks.profile.name: [t for t in tasks.measured if t not in tasks.condensed]
        for tasks in grids
    }
    parts = [_named("not measured yet", without), _named("not condensed yet", whole)]
    declared = sum(len(tasks.grid.datasets) for tasks in grids)
    said = "; ".join(part for part in parts if part)
    if not said:
        return f"All {declared} declared tasks are measured."
    return f"Of {declared} declared tasks, {said}; `{MEASURES}` measures them."


def measured_by(grids: Grids) -> str:
    """The command that measures the runs of grids that the page only reads; "" if there are none,
    or it measures them."""
    read = (tasks for tasks in grids if tasks.grid.rates and tasks.measured)
    further = {
        tasks.profile.name: " visual_low_rank" if tasks.grid.low_rank else "" for tasks in read
    }
    return " && ".join(f"{MEASURES}{more} --profile {name}" for name, more in further.items())


def _rest(tasks: TaskRuns, there: Sequence[str]) -> list[str]:
    return [task for task in tasks.grid.datasets if task not in there]


def _named(what: str, by_profile: Mapping[str, Sequence[str]]) -> str:
    """ "not measured yet: how-many, which-font (`--profile visual-tasks`)"."""
    each = [
        f"{', '.join(tasks)} (`--profile {profile}`)"
        for profile, tasks in by_profile.items()
        if tasks
    ]
    return f"{what}: {', '.join(each)}" if each else ""


def merged(each: Sequence[Mapping[str, T]]) -> dict[str, T]:
    """What there is of each task, of all grids."""
    return {task: values for found in each for task, values in found.items()}


def write_numbers(page: Page, grids: Grids) -> None:
    """The numbers of the page's world that claims and prose read: of its grid, no other's.

    Those on condensing rest on the tasks that judge and are measured; without any they are left
    out. The gain of a task, over the head alone, has a range over seeds, and so has what low rank
    loses.
    """
    for tasks in grids:
        if tasks.profile.world != page.world:
            continue
        own = replace(page, profile=replace(tasks.profile, datasets=tuple(tasks.grid.datasets)))
        found = visual_tasks.measured(tasks)
        numbers: dict[str, Interval | float | int | str] = {
            "tasks_measured": len(tasks.measured),
            "tasks_judging": len(tasks.judging),
            **{name: estimate(values) for name, values in found.items()},
        }
        for task, gain in visual_tasks.gains(tasks).items():
            numbers[f"tasks_gain_{task.replace('-', '_')}"] = over_seeds(gain)
        gaps = visual_tasks.low_rank_gaps(tasks)
        for name, variant in visual_tasks.LOW_RANK.items():
            for task, gap in gaps.get(variant, {}).items():
                numbers[f"tasks_{name}_minus_full_{task.replace('-', '_')}"] = over_seeds(gap)
        rest_on = {name: len(found[name]) if name in found else 1 for name in numbers}
        own.numbers(numbers, n=rest_on)
