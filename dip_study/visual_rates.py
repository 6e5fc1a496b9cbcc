"""The learning rates of the tasks for visual prompts, as their tuning runs choose them.

    python -m dip_study.visual_rates visual-tasks [--full | --low-rank]

prints the table ``[visual.tasks.lr]`` of that profile, or one for each of its ``towers``, or those
of the variants of low rank; it is then written into the profile's file. Comments tell the accuracy
that was reached with these rates on the images that choose.
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

Accuracies = dict[str, dict[Rate, float]]
"""What has a rate of its own -> each rate that is tried -> accuracy on the images that choose."""


def accuracies(profile: Profile, store: Store, grid: Grid) -> Iterator[tuple[str, Accuracies]]:
    """Each task with what its tuning runs reached, in per cent.

    Raises:
        NotMeasuredError: a run that tunes is not stored.
    """
    measures = f"{profile.name} --study visual_tasks"
    for task in grid.datasets:
        yield task, _reached(tuning_runs(profile, grid, task), store, measures)


def low_rank_accuracies(
    profile: Profile, store: Store, grid: Grid
) -> Iterator[tuple[str, Accuracies]]:
    """The same of the variants of low rank, on each of their tasks."""
    measures = f"{profile.name} --study visual_low_rank"
    for task in grid.low_rank.datasets if grid.low_rank else ():
        yield task, _reached(low_rank_tuning_runs(profile, grid, task), store, measures)


def best(reached: Accuracies) -> dict[str, Rate]:
    """For the tables ``lr``: the rate with the best accuracy, of equal ones the smaller."""
    return {name: max(found, key=found.__getitem__) for name, found in reached.items()}


def _reached(tuning: Mapping[str, Mapping[Rate, Run]], store: Store, measures: str) -> Accuracies:
    found: Accuracies = {}
    for name, runs in tuning.items():
        if missing := store.missing(list(runs.values())):
            how = f"`dip measure --profile {measures}` measures them."
            raise NotMeasuredError(len(missing), len(runs), how)
        found[name] = {rate: _accuracy(store.get(run)) for rate, run in runs.items()}
    return found


def _accuracy(record: Mapping[str, Any] | None) -> float:
    """Of a run that stopped, worse than any."""
    if record is None or record["status"] != FINISHED:
        return -1.0
    return float(record["checkpoints"][-1]["base"])


def _said(reached: Accuracies) -> str:
    """ "# validation, %: deep 0 41.5, deep 16 52.0": a comment, accuracies at the chosen rates."""
    return "# validation, %: " + ", ".join(f"{n} {max(f.values()):g}" for n, f in reached.items())


def main(arguments: Sequence[str] = tuple(sys.argv[1:])) -> None:
    profile = load_profile(arguments[0])
    store, named = open_store(profile, "missing"), "towers" in profile.visual.get("tasks", {})
    for grid in Grid.each(profile, "--full" in arguments):
        if "--low-rank" in arguments:
            for task, reached in low_rank_accuracies(profile, store, grid):
                print(f"[visual.tasks.low_rank.lr.{task}]\n{_said(reached)}")
                print("\n".join(f'"{name}" = {rate}' for name, rate in best(reached).items()))
            continue
        own = f'."{grid.tower}"' if named else ""
        print(f"[visual.tasks.lr{own}]")
        for task, reached in accuracies(profile, store, grid):
            inside = ", ".join(f'"{name}" = {rate}' for name, rate in best(reached).items())
            print(f"{_said(reached)}\n{task} = {{ {inside} }}")


if __name__ == "__main__":
    main()
