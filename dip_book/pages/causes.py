"""Page 20: what DIP's gain comes from. Designs that change one thing, beside CoOp and DIP.

In each world; groups are frames of last checkpoints by design, as
:data:`dip_study.causes.DESIGNS` names them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from dip_book.estimates import estimate_known, jackknife
from dip_book.frame import finished
from dip_book.interval import Interval
from dip_book.pages.fair_grid import PLACE
from dip_book.pages.surgery import ways
from dip_book.tables import Array, differences, final, summary
from dip_lib.errors import NotMeasuredError
from dip_lib.methods.surgery import FACTORS
from dip_lib.training.run import Run
from dip_study.causes import DENSITIES, LOSS_SCALES, RATES, SHARES, level

Groups = Mapping[str, pd.DataFrame]
Rows = Mapping[str, pd.DataFrame]
COLUMNS = {"base": "base", "new": "new", "h": "H"}
SCALED = "scaled loss"
TOWER = "low-rank text tower"
FROZEN_RANDOM = "frozen random P0 + AB"
HELD = {
    name: tuple(f"{name}, density held at {level(density)}" for density in DENSITIES)
    for name in ("CoOp", "rank n")
}
"""What trains -> its rows with the density held, from the start's level upwards."""
PARTS = {
    "DIP": ("DIP",),
    "rank": ("rank 2", "rank n"),
    "dropout": ("rank 1 without dropout", "rank n without dropout", "dropout alone"),
    "start": ("random start", FROZEN_RANDOM, "four random vectors", "AB without P0"),
    "length": (*SHARES, SCALED),
    "density": (*HELD["CoOp"], *HELD["rank n"]),
    "tower": (TOWER,),
}
"""What is changed -> the rows that change it."""


def by_design(runs: pd.DataFrame, designs: Mapping[str, Sequence[Run]]) -> dict[str, pd.DataFrame]:
    """The last checkpoints of each design's runs."""
    ends = runs[runs["last"]]
    return {
        name: ends[ends["key"].isin({run.key() for run in each})] for name, each in designs.items()
    }


def with_density(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs of those datasets and seeds at which all that finished hold the density as read.

    Runs that were measured before it was do not.

    Raises:
        NotMeasuredError: there are none.
    """
    points = finished(runs)
    known = points["id1_read"].notna() if "id1_read" in points else pd.Series(False, points.index)
    whole = known.groupby([points[name] for name in PLACE]).all()
    if not whole.any():
        old, total = points.loc[~known, "key"].nunique(), points["key"].nunique()
        how = "They hold no density as read: measure them again, with results='fresh'."
        raise NotMeasuredError(old, total, how)
    return runs[pd.MultiIndex.from_frame(runs[PLACE]).isin(whole.index[whole])]


def mean(group: pd.DataFrame, column: str) -> float:
    """A column's average over datasets, of what finished."""
    return estimate_known(final(group, column)).value


def choices(groups: Groups) -> dict[str, str]:
    """Which of several settings stands for a design: row -> the design's name in ``groups``.

    No test image chooses. The scaled loss is the one that comes nearest to DIP in validation base
    accuracy; the text tower's rate is the one with the best.
    """
    losses = [f"loss x {scale:g}" for scale in LOSS_SCALES]
    rates = [f"text-tower update, rate x {rate:g}" for rate in RATES]
    wanted, val = mean(groups["DIP"], "val"), {n: mean(groups[n], "val") for n in (*losses, *rates)}
    return {
        SCALED: min(losses, key=lambda name: abs(val[name] - wanted)),
        TOWER: max(rates, key=lambda name: val[name]),
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
        name: differences(group, coop)[quantity] for name, group in shown.items() if name != "CoOp"
    }


def breaks() -> list[str]:
    """The rows that begin a part, but for the first."""
    return [part[0] for part in [*PARTS.values()][1:]]


def table(shown: Rows) -> pd.DataFrame:
    """Averages of every row: accuracies, H, densities, update norm, drift, trainable parameters.

    The text tower's update is no prompt: it has no density, and its norm is another matrix's.
    """
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
    no_prompt = [row for row in measured.index if shown[row]["method"].eq("tower-update").all()]
    measured.loc[no_prompt, ["ID1", "ID1 as read", "update norm"]] = np.nan
    order = ["base", "new", "H", *more, "numbers"]
    return measured[order].rename(columns={"numbers": "trainable"})


def every_setting(groups: Groups) -> pd.DataFrame:
    """The table of all settings of which one was chosen, with what chose."""
    several = {n: each for n, each in groups.items() if n.startswith(("loss x", "text-tower"))}
    chosen = set(choices(groups).values())
    shown = table(several)
    return shown.assign(chosen=["yes" if name in chosen else "" for name in shown.index])


def held_density(shown: Rows) -> dict[str, dict[str, Interval]]:
    """What holding the density does, in points: row -> base, new and H minus those when free."""
    return {
        name: differences(shown[name], shown[free]) for free, rows in HELD.items() for name in rows
    }


def trade_off(operated: pd.DataFrame) -> Array:
    """CoOp's own trade-off: validation base and new accuracy with its update scaled from 0 to 1.

    Args:
        operated: surgery on CoOp.

    Returns:
        (D, F, 2), datasets in alphabetical order, averaged over seeds.
    """
    values = ways(operated)[["val", "new"]].groupby(["dataset", "way"]).mean()
    scaled = [f"x {factor:g}" for factor in FACTORS if factor <= 1]
    datasets = sorted(values.index.unique("dataset"))
    return np.stack([values.loc[d].loc[scaled].to_numpy(dtype=float) for d in datasets])


def beyond_trade_off(shown: Rows, operated: pd.DataFrame) -> dict[str, Interval]:
    """New-class accuracy of each row minus CoOp's at the same validation accuracy on base classes.

    CoOp's is interpolated between its trained update scaled by 0, 1/4, 1/2, 3/4 and 1, on the
    averages over datasets; rows beyond these are left out. So what a smaller step towards the few
    images gives as well does not count for a design.
    """
    curve, found = trade_off(operated), dict[str, Interval]()
    for name in [each for each in shown if each != "CoOp"]:
        both = final(shown[name], "val", "new")
        row = np.stack([both[d].mean(0) for d in sorted(both)])[:, None]  # (D, 1, 2)
        if len(row) != len(curve):  # every run of a dataset stopped
            continue
        gap = jackknife(np.concatenate([row, curve], 1), _above)
        if np.isfinite([gap.value, gap.low, gap.high]).all():
            found[name] = gap
    return found


def _above(units: Array) -> Array:
    """A row's new accuracy above the curve behind it at the same val; nan beyond the curve.

    (N, D, 1 + F, 2) -> (N,): the row comes first.
    """
    return np.array([_above_curve(each) for each in units.mean(1)])


def _above_curve(points: Array) -> float:
    (val, new), *curve = points
    of_val, of_new = np.array(curve).T
    order = np.argsort(of_val, kind="stable")
    inside = of_val.min() <= val <= of_val.max()
    return float(new - np.interp(val, of_val[order], of_new[order])) if inside else float("nan")


def numbers(shown: Rows, operated: pd.DataFrame) -> dict[str, Interval]:
    """The page's numbers of designs: each row minus CoOp, and beyond CoOp's own trade-off."""
    keys = {name: re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_") for name in shown}
    found = {
        f"{keys[name]}_minus_coop_{quantity}": interval
        for quantity in COLUMNS
        for name, interval in against_coop(shown, quantity).items()
    }
    beyond = beyond_trade_off(shown, operated)
    return found | {f"{keys[name]}_beyond_trade_off": each for name, each in beyond.items()}


def stopped(groups: Groups) -> int:
    """How many runs of the designs stopped."""
    every = pd.concat([*groups.values()]).drop_duplicates("key")
    return len(every) - len(finished(every))
