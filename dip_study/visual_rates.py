"""The learning rates of the tasks for visual prompts, as their tuning runs choose them.

    python -m dip_study.visual_rates visual-tasks [--full]

prints the table ``[visual.tasks.lr]`` of that profile, or one for each of its ``towers``, which is
then written into its file.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dip_lib.errors import NotMeasuredError
from dip_lib.store import Store
from dip_lib.training.record import FINISHED
from dip_study.profiles import Profile, load_profile
from dip_study.study import open_store
from dip_study.visual_grid import Grid, Rate
from dip_study.visual_tasks import tuning_runs


def chosen_rates(
    profile: Profile, store: Store, grid: Grid
) -> Iterator[tuple[str, dict[str, Rate]]]:
    """Each task with its rates: of each number of prompts the best on the images that choose.

    Of equal accuracies the smaller rate; a run that stopped is worse than any.

    Raises:
        NotMeasuredError: a run that tunes is not stored.
    """
    for task in grid.datasets:
        best = dict[str, Rate]()
        for name, runs in tuning_runs(profile, grid, task).items():
            if missing := store.missing(list(runs.values())):
                how = f"`dip measure --profile {profile.name} --study visual_tasks` measures them."
                raise NotMeasuredError(len(missing), len(runs), how)
            found = {rate: _accuracy(store.get(run)) for rate, run in runs.items()}
            best[name] = max(found, key=found.__getitem__)
        yield task, best


def _accuracy(record: Mapping[str, Any] | None) -> float:
    if record is None or record["status"] != FINISHED:
        return -1.0
    return float(record["checkpoints"][-1]["base"])


def main(arguments: Sequence[str] = tuple(sys.argv[1:])) -> None:
    profile = load_profile(arguments[0])
    store, named = open_store(profile, "missing"), "towers" in profile.visual.get("tasks", {})
    for grid in Grid.each(profile, "--full" in arguments):
        own = f'."{grid.tower}"' if named else ""
        print(f"[visual.tasks.lr{own}]")
        for task, rates in chosen_rates(profile, store, grid):
            inside = ", ".join(f'"{number}" = {rate}' for number, rate in rates.items())
            print(f"{task} = {{ {inside} }}")


if __name__ == "__main__":
    main()
