"""The runs of visual prompts on tasks where they can pay: accuracy against the number of prompts.

As VTAB has it: every setting that is chosen is chosen on 800 images of a task and judged by 200
others; what is shown then trains on all 1,000 and is tested once. A task of the profile is the
dataset of that name, and "<task>-800" its tuning part. The chosen learning rates stand in the
profile, so that which runs there are does not depend on results; ``dip_study/visual_rates.py``
chooses them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from dip_lib.errors import BadValueError
from dip_lib.training.run import Run
from dip_study.loaded import dataset_of
from dip_study.profiles import Profile
from dip_study.runs import make_run, once

TUNING = "-800"
"""What the name of a task's tuning part ends in."""
EVERY = "every number"
"""In ``chosen_at``: each number of prompts has a learning rate of its own."""
USUAL = 16
"""Prompts of a block in VPT-deep whose rate those without one of their own have."""


@dataclass(frozen=True)
class Prompts:
    """How many prompts, and where: "deep 16", or "shallow 16" in the first block alone."""

    kind: str
    count: int

    def __str__(self) -> str:
        return f"{self.kind} {self.count}"


@dataclass(frozen=True)
class Condense:
    """The table ``[visual.tasks.condense]`` of a profile.

    Attributes:
        of: how many deep prompts are condensed.
        keep: percentages that stay.
        headline: the one at which every control is trained on, too.
        tuned: epochs of training on.
        draws: random subsets.
    """

    of: int
    keep: Sequence[float]
    headline: float
    tuned: int
    draws: int

    @property
    def few(self) -> Prompts:
        """As many prompts as stay at the headline's share, to be trained from the start."""
        return Prompts("deep", round(self.of * self.headline / 100))


FEW = "few"
"""In the table of rates: few prompts trained from the start, as long as the others in all."""


@dataclass(frozen=True)
class Grid:
    """The table ``[visual.tasks]`` of a profile.

    Attributes:
        datasets: the tasks.
        deep, shallow: numbers of prompts.
        epochs, batch: of all runs.
        twice: tasks that are trained for twice as many epochs, too, with the first seed.
        rates: learning rates that are tried.
        chosen_at: numbers of prompts ("deep 16") with a rate of their own, or "every number".
        lr: task -> number of prompts -> the rate that was chosen.
        condensing: what is condensed, and how.
        seeds: of the runs that are shown; the first tunes.
    """

    datasets: Sequence[str]
    deep: Sequence[int]
    shallow: Sequence[int]
    epochs: int
    batch: int
    twice: Sequence[str]
    rates: Sequence[float]
    chosen_at: Sequence[str]
    lr: Mapping[str, Mapping[str, float]]
    condensing: Condense
    seeds: Sequence[int]

    @classmethod
    def of(cls, profile: Profile, full: bool = False) -> Grid | None:
        """That of a profile; None if it has none. ``full``: with what its table ``full`` says.

        Raises:
            ValueError: a table with other fields.
        """
        table = dict(profile.visual.get("tasks", {}))
        if not table:
            return None
        differs = table.pop("full", {})
        table |= differs if full else {}
        condense = table.pop("condense", {})
        for part, of in ((table, cls), (condense, Condense)):
            wanted = set(of.__dataclass_fields__) - {"seeds", "condensing"}
            if wrong := part.keys() ^ wanted:
                raise ValueError(f"{profile.name}: [visual.tasks] needs {sorted(wanted)}: {wrong}")
        return cls(**table, condensing=Condense(**condense), seeds=profile.seeds)

    def prompts(self) -> list[Prompts]:
        """All numbers of prompts: the head alone, deep, shallow."""
        deep = [Prompts("deep", count) for count in self.deep]
        return [*deep, *(Prompts("shallow", count) for count in self.shallow)]

    def tuned(self) -> list[Prompts]:
        """Numbers of prompts that have a learning rate of their own."""
        every = self.prompts()
        if EVERY in self.chosen_at:
            return every
        if unknown := set(self.chosen_at) - set(map(str, every)):
            raise BadValueError("chosen_at", str(sorted(unknown)), f"some of {[*map(str, every)]}")
        return [each for each in every if str(each) in self.chosen_at]

    def rate(self, task: str, prompts: Prompts) -> float | None:
        """The chosen rate; None: it is not chosen yet."""
        own = prompts in self.tuned()
        return self.lr.get(task, {}).get(str(prompts) if own else f"deep {USUAL}")


def task_run(
    profile: Profile,
    grid: Grid,
    task: str,
    prompts: Prompts,
    lr: float,
    seed: int,
    tuning: bool = False,
    **changes: Any,
) -> Run:
    """VPT on a task, or on its tuning part, whose own 200 images evaluate it."""
    name = task + TUNING if tuning else task
    dataset = dataset_of(name, "default", profile.folders)
    settings: dict[str, Any] = {
        "protocol": "all-classes",
        "shots": -(-len(dataset.labels("train")) // len(dataset.class_names)),
        "views": 0,
        "epochs": grid.epochs,
        "batch": grid.batch,
        "vectors": prompts.count,
        **({"depth": 1} if prompts.kind == "shallow" else {}),
    }
    return make_run(profile, name, "vpt", seed, **settings | {"lr": lr} | changes)


def tuning_runs(
    profile: Profile, grid: Grid, task: str, **changes: Any
) -> dict[str, dict[float, Run]]:
    """What has a rate of its own -> each rate with the run that tries it.

    They train on the 800 images, with the first seed.
    """
    first, few, long = grid.seeds[0], grid.condensing.few, _longer(grid, grid.condensing.tuned)
    wanted = {str(prompts): (grid, prompts) for prompts in grid.tuned()} | {FEW: (long, few)}
    return {
        name: {
            lr: task_run(profile, of, task, prompts, lr, first, tuning=True, **changes)
            for lr in grid.rates
        }
        for name, (of, prompts) in wanted.items()
    }


def _longer(grid: Grid, epochs: int) -> Grid:
    return replace(grid, epochs=grid.epochs + epochs)


def visual_tasks(profile: Profile, full: bool = False, **changes: Any) -> list[Run]:
    """Runs that tune, and at the rates that the profile has chosen those that are shown.

    Args:
        full: the full grid.
    """
    if (grid := Grid.of(profile, full)) is None:
        return []
    runs = list[Run]()
    for task in grid.datasets:
        for tries in tuning_runs(profile, grid, task, **changes).values():
            runs += tries.values()
    for task, prompts in product(grid.datasets, grid.prompts()):
        if (lr := grid.rate(task, prompts)) is None:
            continue
        runs += [task_run(profile, grid, task, prompts, lr, s, **changes) for s in grid.seeds]
        if task in grid.twice:
            long = _longer(grid, grid.epochs)
            runs.append(task_run(profile, long, task, prompts, lr, grid.seeds[0], **changes))
    for task in grid.datasets:
        if lr := grid.lr.get(task, {}).get(FEW):
            few, long = grid.condensing.few, _longer(grid, grid.condensing.tuned)
            runs += [task_run(profile, long, task, few, lr, s, **changes) for s in grid.seeds]
    return once(runs)
