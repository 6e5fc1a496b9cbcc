"""What was measured of every setting of the grid of ``dip_study.fronts``, and who chooses which.

A *place* is a dataset and a seed, or these and a class split: there every method chooses one of its
settings by a rule, and is judged by the test accuracy of that one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from dip_lib.data import harmonic_mean
from dip_lib.training.record import FINISHED
from dip_study.fronts import Entry, entries
from dip_study.profiles import Profile

PLACE = ["dataset", "seed"]
RULES = {"leave classes out": "lco", "validation": "val", "no choice": "first"}
"""Rule -> the column whose largest value it chooses; the first is the primary one."""
PRIMARY = "leave classes out"
HALVES = ["base", "new", "val"]


@dataclass(frozen=True, eq=False)
class Grid:
    """What was measured of every setting.

    Attributes:
        settings: a row for each method, setting and place: ``base``, ``new`` and ``val`` accuracy
            and ``h`` of the run with all base classes; ``lco``, the mean H of the runs that leave
            a third of them out; ``key`` of the first run, and what is ``kept`` of its update. nan
            where a run stopped.
        seconds: a row for each method and place, of one core and over all its different runs:
            ``full``, those with all base classes, ``one`` of them on average, and ``folds``, those
            that leave classes out.
    """

    settings: pd.DataFrame
    seconds: pd.DataFrame


def grid(runs: pd.DataFrame, profile: Profile) -> Grid:
    """The entries of the grid with what a frame of their runs measured."""
    return measured(runs, entries(profile))


def measured(runs: pd.DataFrame, of: Iterable[Entry], place: Sequence[str] = PLACE) -> Grid:
    """Some entries with what a frame of their runs measured.

    Args:
        place: columns that tell places apart.
    """
    every = pd.DataFrame([each._asdict() | {"key": each.run.key()} for each in of])
    ends = runs[runs["last"]].set_index("key")
    every = every.join(ends[["status", *HALVES, "seconds", "shrunk"]], on="key")
    whole = every["status"] == FINISHED
    for i in every.index[whole & (every["kept"] != 1)]:
        of_part = every.at[i, "shrunk"][f"x {every.at[i, 'kept']:g}"]
        every.loc[i, HALVES] = [of_part[half] for half in HALVES]
    every.loc[~whole, HALVES] = np.nan
    every["h"] = harmonic_mean(every["base"].to_numpy(float), every["new"].to_numpy(float))
    return Grid(_settings(every, place), _seconds(every, place))


def _settings(every: pd.DataFrame, place: Sequence[str]) -> pd.DataFrame:
    """A row for each setting: the run with all base classes, and the mean H without some."""
    index = ["method", "setting", *place]
    parts = every[every["held_out"] > 0].groupby(index, sort=False)["h"]
    folds = parts.agg(["mean", "count", "size"])
    lco = folds["mean"].where(folds["count"] == folds["size"]).rename("lco")
    columns = [*index, "key", "kept", *HALVES, "h"]
    table = every.loc[every["held_out"] == 0, columns].join(lco, on=index)
    table["first"] = table["base"].where(table["setting"] == 0)
    return table.reset_index(drop=True)


def _seconds(every: pd.DataFrame, place: Sequence[str]) -> pd.DataFrame:
    """Seconds of each method's different runs: shrunk updates need no run of their own."""
    once = every.drop_duplicates(["method", *place, "key"])
    index = ["method", *place]
    full = once[once["held_out"] == 0].groupby(index, sort=False)["seconds"]
    folds = once[once["held_out"] > 0].groupby(index, sort=False)["seconds"].sum()
    return pd.DataFrame({"full": full.sum(), "one": full.mean(), "folds": folds})


def chosen(settings: pd.DataFrame, rule: str, place: Sequence[str] = PLACE) -> pd.DataFrame:
    """The setting that each method chooses at each place; of equals the first.

    Returns:
        Rows of ``settings``, by method and place; none where no run finished.
    """
    score = RULES[rule]
    known = settings.dropna(subset=[score, "base"]).sort_values("setting", kind="stable")
    best = known.groupby(["method", *place])[score].idxmax()
    return settings.loc[best].set_index(["method", *place])
