"""The grid of the fair comparisons: which settings each method may choose from, and their runs.

Every method has at most ``MOST`` settings, whatever it calls them: learning rate, length, rank,
dropout, weight, or what is kept of the update after training. ``settings`` is the whole grid,
and it was committed before any of its runs. The first setting of a method is the one that it has
where nothing is chosen: the profile's learning rate, the whole length, the published weight.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, cast

from dip_lib.data.protocols import folds
from dip_lib.training.run import LowRank, Run, Schedule
from dip_study.hosts import rescaled
from dip_study.profiles import Profile
from dip_study.runs import DIP, class_count, make_run, once

MOST = 6
LENGTHS = (1.0, 1 / 2)
SHORT = (1 / 4, 1 / 8)
"""Parts of the epochs."""
DROPOUT = (0.5, 0.0)
KEPT = (0.5, 0.25, 0.75)
"""Parts of the update that are kept after training; they are evaluated with every CoOp and DIP."""
WEIGHTS = (None, 1.0, 0.25)
"""The published weight, then multiples of the one for the backbone's logit scale."""
FULL = LowRank(rank=None, dropout=0.5, site="prompt")
"""Dropout of the whole prompt, which has no low-rank update."""
WEIGHTED = {"kgcoop": "KgCoOp", "prograd": "ProGrad"}


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A setting of a method: a run, and what is kept of its update.

    Args:
        lr: learning rate.
        method, low_rank: of the run.
        length: part of the epochs that the profile gives the method.
        weight: None: the profile's, else this multiple of the one for the backbone's logit scale
            (``dip_study.hosts.rescaled``); only for methods that have one.
        kept: part of the update that is kept after training; 1: all of it.
    """

    lr: float
    method: str = "coop"
    low_rank: LowRank | None = None
    length: float = 1.0
    weight: float | None = None
    kept: float = 1.0

    def run(self, profile: Profile, dataset: str, seed: int, **changes: Any) -> Run:
        """The run that is trained, evaluated at its end alone."""
        more = {"lr": self.lr, "checkpoints": 1, **changes}
        run = make_run(profile, dataset, self.method, seed, self.low_rank, **more)
        schedule = cast(Schedule, run.schedule)
        epochs = max(1, round(self.length * schedule.epochs))
        run = replace(run, schedule=replace(schedule, epochs=epochs))
        return run if self.weight is None else rescaled(run, self.weight)


def rates(profile: Profile) -> tuple[float, float, float]:
    """The profile's learning rate, and the next higher and the next lower one of its ``rates``.

    Where these end, three times the rate, and a third of it.
    """
    higher = [rate for rate in profile.rates if rate > profile.lr]
    lower = [rate for rate in profile.rates if rate < profile.lr]
    up, down = min(higher, default=3 * profile.lr), max(lower, default=profile.lr / 3)
    return profile.lr, float(f"{up:.3g}"), float(f"{down:.3g}")


def settings(profile: Profile) -> dict[str, tuple[Setting, ...]]:
    """Method -> its settings, the one that it has without a choice first."""
    three, two = rates(profile), rates(profile)[:2]
    rank4 = replace(DIP, rank=4)

    def lengths(parts: tuple[float, ...], low_rank: LowRank | None) -> tuple[Setting, ...]:
        return tuple(Setting(lr=r, low_rank=low_rank, length=x) for x in parts for r in three)

    def dropouts(low_rank: LowRank) -> tuple[Setting, ...]:
        each = [replace(low_rank, dropout=p) for p in DROPOUT]
        return tuple(Setting(lr=r, low_rank=update) for update in each for r in three)

    def scaled(low_rank: LowRank | None) -> tuple[Setting, ...]:
        return tuple(Setting(lr=r, low_rank=low_rank, kept=part) for part in KEPT for r in two)

    def weights(method: str) -> tuple[Setting, ...]:
        return tuple(Setting(lr=r, method=method, weight=w) for w in WEIGHTS for r in two)

    grid = {
        "CoOp": lengths(LENGTHS, None),
        "CoOp + dropout": lengths(LENGTHS, FULL),
        "short CoOp": lengths(SHORT, None),
        "CoOp, update scaled": scaled(None),
        "DIP": dropouts(DIP),
        "DIP, rank 4": dropouts(rank4),
        "short DIP": lengths(SHORT, DIP),
        "DIP, update scaled": scaled(DIP),
    }
    hosts = {label: weights(name) for name, label in WEIGHTED.items() if profile.has(name)}
    return grid | hosts


class Place(NamedTuple):
    """Where a method chooses one of its settings."""

    dataset: str
    seed: int
    class_split: int = 0


class Entry(NamedTuple):
    """A setting of a method at a place, and the run that measures it.

    Attributes:
        setting: its number, from 0.
        held_out: 0, or the third of the base classes that the run leaves out.
    """

    method: str
    setting: int
    kept: float
    dataset: str
    seed: int
    class_split: int
    held_out: int
    run: Run


def places(profile: Profile) -> Iterator[Place]:
    """Every dataset with each of its own seeds, and the field's class split."""
    for dataset in profile.datasets:
        for seed in profile.seeds_of_grid(dataset):
            yield Place(dataset, seed)


def entries_at(
    profile: Profile,
    grid: Mapping[str, tuple[Setting, ...]],
    where: Iterable[Place],
    **changes: Any,
) -> Iterator[Entry]:
    """Every setting of a grid at every place.

    Each is there with all base classes, and with every third of these left out that can be: of
    datasets with few classes a third may be a single one, and tell nothing.
    """
    for place in where:
        count = class_count(place.dataset, folders=profile.folders)
        parts = (0, *folds(count, place.class_split))
        own = {"class_split": place.class_split, **changes}
        for method, of_method in grid.items():
            for number, each in enumerate(of_method):
                run = each.run(profile, place.dataset, place.seed, **own)
                for part in parts:
                    without = replace(run, data=replace(run.data, held_out=part))
                    yield Entry(method, number, each.kept, *place, part, without)


def entries(profile: Profile, **changes: Any) -> Iterator[Entry]:
    """Every setting of :func:`settings` at :func:`places`."""
    return entries_at(profile, settings(profile), places(profile), **changes)


def fronts(profile: Profile, **changes: Any) -> list[Run]:
    """The runs of all entries of the grid, each once, on the profile's first backbone."""
    return once(entry.run for entry in entries(profile, **changes))
