"""The runs of DIP on visual prompts: every rank, with P0 and without, with and without dropout.

A prompt matrix of a block, P (n x d), is P0 + dropout(A B), P0 as VPT starts its prompts, or
dropout(A B) alone, both factors random. Each variant has a learning rate of its own, chosen as
those of the full matrix are (:mod:`.visual_tasks`), with which it is compared.
"""

from __future__ import annotations

from typing import Any

from dip_lib.training.run import Run
from dip_study.profiles import Profile
from dip_study.runs import once
from dip_study.visual_grid import Grid, Prompts, Rate
from dip_study.visual_tasks import is_plan, task_run


def visual_low_rank(profile: Profile, **changes: Any) -> list[Run]:
    """Runs that tune, and those at the rates that the profile has chosen, of every encoder."""
    runs = list[Run]()
    for grid in Grid.each(profile, planned=is_plan(changes)):
        for task in grid.low_rank.datasets if grid.low_rank else ():
            for tries in low_rank_tuning_runs(profile, grid, task, **changes).values():
                runs += tries.values()
            runs += low_rank_runs(profile, grid, task, **changes)
    return once(runs)


def low_rank_tuning_runs(
    profile: Profile, grid: Grid, task: str, **changes: Any
) -> dict[str, dict[Rate, Run]]:
    """Each variant with the runs that try its rates, on the 800 images, with the first seed."""
    low, first = grid.low_rank, grid.seeds[0]
    if low is None or task not in low.datasets:
        return {}
    prompts = Prompts("deep", low.of)
    return {
        name: {
            rate: task_run(
                profile, grid, task, prompts, rate, first, tuning=True, low_rank=update, **changes
            )
            for rate in grid.tried()
        }
        for name, update in low.variants().items()
    }


def low_rank_runs(profile: Profile, grid: Grid, task: str, **changes: Any) -> list[Run]:
    """The runs of one task that are shown: of the variants whose rate is chosen, every seed."""
    low = grid.low_rank
    if low is None or task not in low.datasets:
        return []
    prompts, chosen = Prompts("deep", low.of), low.lr.get(task, {})
    return [
        task_run(profile, grid, task, prompts, rate, seed, low_rank=update, **changes)
        for name, update in low.variants().items()
        if name in chosen
        for rate in [Rate.of(chosen[name])]
        for seed in grid.seeds
    ]
