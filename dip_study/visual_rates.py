"""The learning rates of the tasks for visual prompts, as their tuning runs choose them.

    python -m dip_study.visual_rates visual-tasks [--full | --low-rank]

prints the table ``[visual.tasks.lr]`` of that profile, or one for each of its ``towers``, or those
of the variants of low rank; it is then written into the profile's file.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dip_lib.errors import NotMeasuredError
from dip_lib.store import Store
from dip_lib.training.record import FINISHED
from dip_lib.training.run import Run
from dip_study.profiles import Profile, load_profile
from dip_study.study import open_store
from dip_study.visual_grid import Grid, Rate
from dip_study.visual_low_rank import low_rank_tuning_runs
from dip_study.visual_tasks import tuning_runs


def chosen_rates(
    profile: Profile, store: Store, grid: Grid
) -> Iterator[tuple[str, dict[str, Rate]]]:
    """Each task with its rates, for the table ``lr``: of each number of prompts the best.

    Raises:
        NotMeasuredError: a run that tunes is not stored.
    """
    measures = f"{profile.name} --study visual_tasks"
    for task in grid.datasets:
        yield task, _best(tuning_runs(profile, grid, task), store, measures)


def low_rank_rates(
    profile: Profile, store: Store, grid: Grid
) -> Iterator[tuple[str, dict[str, Rate]]]:
    """Each task with the rate of each variant, for the table ``low_rank.lr``."""
    measures = f"{profile.name} --study visual_low_rank"
    for task in grid.low_rank.datasets if grid.low_rank else ():
        yield task, _best(low_rank_tuning_runs(profile, grid, task), store, measures)


def _best(tuning: Mapping[str, Mapping[Rate, Run]], store: Store, measures: str) -> dict[str, Rate]:
    """The rate with the best accuracy on the images that choose.

    Of equal accuracies the smaller rate; a run that stopped is worse than any.
    """
    best = dict[str, Rate]()
    for name, runs in tuning.items():
        if missing := store.missing(list(runs.values())):
            how = f"`dip measure --profile {measures}` measures them."
            raise NotMeasuredError(len(missing), len(runs), how)
        found = {rate: _accuracy(store.get(run)) for rate, run in runs.items()}
        best[name] = max(found, key=found.__getitem__)
    return best


def _accuracy(record: Mapping[str, Any] | None) -> float:
    if record is None or record["status"] != FINISHED:
        return -1.0
    return float(record["checkpoints"][-1]["base"])


def main(arguments: Sequence[str] = tuple(sys.argv[1:])) -> None:
    profile = load_profile(arguments[0])
    store, named = open_store(profile, "missing"), "towers" in profile.visual.get("tasks", {})
    for grid in Grid.each(profile, "--full" in arguments):
        if "--low-rank" in arguments:
            for task, rates in low_rank_rates(profile, store, grid):
                print(f"[visual.tasks.low_rank.lr.{task}]")
                print("\n".join(f'"{variant}" = {rate}' for variant, rate in rates.items()))
            continue
        own = f'."{grid.tower}"' if named else ""
        print(f"[visual.tasks.lr{own}]")
        for task, rates in chosen_rates(profile, store, grid):
            inside = ", ".join(f'"{number}" = {rate}' for number, rate in rates.items())
            print(f"{task} = {{ {inside} }}")


if __name__ == "__main__":
    main()
