"""Page 20: what DIP's gain comes from. Designs that change one thing, beside CoOp and DIP.

In each world; groups are frames of last checkpoints by design, as
:data:`dip_study.causes.DESIGNS` names them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from dip_book.frame import finished
from dip_book.paired_units import difference, mean_interval
from dip_book.statistics import Interval
from dip_book.tables import final, summary
from dip_lib.errors import NotMeasuredError
from dip_lib.training.run import Run
from dip_study.causes import DENSITIES, LOSS_SCALES, RATES, SHARES, level

Groups = Mapping[str, pd.DataFrame]
Rows = Mapping[str, pd.DataFrame]
COLUMNS = {"base": "base", "new": "new", "h": "H"}
SCALED = "scaled loss"
TOWER = "low-rank text tower"
COOP_STILL = "density held, full rank"
COOP_DENSE = "density held as DIP's, full rank"
DIP_STILL = "density held, rank 1"
DIP_DENSE = "density held as DIP's, rank 1"
FROZEN_RANDOM = "frozen random P0 + AB"
PARTS = {
    "DIP": ("DIP",),
    "rank": ("rank 2", "rank n"),
    "dropout": ("rank 1 without dropout", "rank n without dropout", "dropout alone"),
    "start": ("random start", FROZEN_RANDOM, "four random vectors", "AB without P0"),
    "length": (*SHARES, SCALED),
    "density": (COOP_STILL, COOP_DENSE, DIP_STILL, DIP_DENSE),
    "tower": (TOWER,),
}
"""What is changed -> the rows that change it."""


def by_design(runs: pd.DataFrame, designs: Mapping[str, Sequence[Run]]) -> dict[str, pd.DataFrame]:
    """The last checkpoints of each design's runs."""
    ends = runs[runs["last"]]
    return {
        name: ends[ends["key"].isin({run.key() for run in each})] for name, each in designs.items()
    }


def check_density(runs: pd.DataFrame) -> None:
    """Raise NotMeasuredError where finished runs hold no density as read: they are older."""
    points = finished(runs)
    known = points["id1_read"].notna() if "id1_read" in points else pd.Series(False, points.index)
    if not known.all():
        old, total = points.loc[~known, "key"].nunique(), points["key"].nunique()
        how = "They hold no density as read: measure them again, with results='fresh'."
        raise NotMeasuredError(old, total, how)


def mean(group: pd.DataFrame, column: str) -> float:
    """A column's average over datasets, of what finished."""
    return mean_interval(final(group, column)).value


def choices(groups: Groups) -> dict[str, str]:
    """Which of several settings stands for a design: row -> the design's name in ``groups``.

    No test image chooses. The scaled loss and the held density are those that come nearest to DIP,
    in validation base accuracy and in as-read density; the text tower's rate is the one with the
    best validation base accuracy.
    """
    val, dense = (mean(groups["DIP"], column) for column in ("val", "id1_read"))
    losses = [f"loss x {scale:g}" for scale in LOSS_SCALES]
    rates = [f"text-tower update, rate x {rate:g}" for rate in RATES]
    near = level(min(DENSITIES[1:], key=lambda density: abs(density - dense)))
    return {
        SCALED: min(losses, key=lambda name: abs(mean(groups[name], "val") - val)),
        TOWER: max(rates, key=lambda name: mean(groups[name], "val")),
        COOP_STILL: f"CoOp, density held at {level(0)}",
        COOP_DENSE: f"CoOp, density held at {near}",
        DIP_STILL: f"DIP, density held at {level(0)}",
        DIP_DENSE: f"DIP, density held at {near}",
    }


def rows(groups: Groups) -> dict[str, pd.DataFrame]:
    """The groups that the figure shows, CoOp first; of several settings the chosen one."""
    named = choices(groups)
    names = ["CoOp", *(name for part in PARTS.values() for name in part)]
    return {name: groups[named.get(name, name)] for name in names}


def against_coop(shown: Rows, quantity: str = "new") -> dict[str, Interval]:
    """Each row minus CoOp in "base", "new" or "h"."""
    coop = shown["CoOp"]
    return {
        name: difference(group, coop)[quantity] for name, group in shown.items() if name != "CoOp"
    }


def breaks() -> list[str]:
    """The rows that begin a part, but for the first."""
    return [part[0] for part in [*PARTS.values()][1:]]


def table(shown: Rows) -> pd.DataFrame:
    """Averages of every row: accuracies, H, densities, update norm, drift, trainable parameters."""
    measured = summary(shown)[["base", "new", "H", "numbers"]]
    more = {
        "val": "val",
        "ID1": "id1",
        "ID1 as read": "id1_read",
        "update norm": "update_norm",
        "drift": "drift_words",
    }
    for name, column in more.items():
        measured[name] = [mean(shown[row], column) for row in measured.index]
    order = ["base", "new", "H", *more, "numbers"]
    return measured[order].rename(columns={"numbers": "trainable"})


def every_setting(groups: Groups) -> pd.DataFrame:
    """The table of all settings of which one was chosen, with what chose."""
    several = {
        name: group
        for name, group in groups.items()
        if name.startswith(("loss x", "text-tower")) or "held at" in name
    }
    chosen = set(choices(groups).values())
    shown = table(several)
    return shown.assign(chosen=["yes" if name in chosen else "" for name in shown.index])


def held_density(shown: Rows) -> dict[str, Interval]:
    """What holding the density does, in points: row in words -> new accuracy minus that without."""
    pairs = {
        "full rank, held at its start": (COOP_STILL, "CoOp"),
        "full rank, held as DIP's": (COOP_DENSE, "CoOp"),
        "rank 1, held at its start": (DIP_STILL, "DIP"),
        "rank 1, held as DIP's": (DIP_DENSE, "DIP"),
    }
    return {
        name: difference(shown[ours], shown[theirs])["new"]
        for name, (ours, theirs) in pairs.items()
    }


def numbers(shown: Rows) -> dict[str, Interval]:
    """The page's numbers of designs: each row minus CoOp, and what holding the density does."""
    keys = {name: name.replace(" ", "_").replace(",", "").replace("'", "") for name in shown}
    found = {
        f"{keys[name]}_minus_coop_{quantity}": interval
        for quantity in COLUMNS
        for name, interval in against_coop(shown, quantity).items()
    }
    held = held_density(shown)
    return found | {
        "held_start_minus_dip_new": held["rank 1, held at its start"],
        "held_dense_minus_coop_new": held["full rank, held as DIP's"],
    }


def stopped(groups: Groups) -> int:
    """How many runs of the designs stopped."""
    every = pd.concat([*groups.values()]).drop_duplicates("key")
    return len(every) - len(finished(every))
