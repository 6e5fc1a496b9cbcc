"""Page 08: how long a prompt is trained, and how much of its update dropout hides in a step.

In each world; a mapping gives the world, and its runs.
"""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from dip_book.frame import finished, where
from dip_book.interval import Interval
from dip_book.statistics import paired, paired_difference
from dip_book.tables import Array, final, finished_pairs, gap, summary, sweep, sweep_h
from dip_book.worlds import disagreement, paragraphs


def panels(runs: pd.DataFrame, setting: str) -> dict[str, dict[str, pd.DataFrame]]:
    """Base, new and H against a setting: title of the panel -> label of the runs -> curve."""
    by_label = {str(label): group for label, group in runs.groupby("label")}
    halves = {"base classes, %": "base", "new classes, %": "new"}
    curves = {
        title: {label: sweep(each, setting, half) for label, each in by_label.items()}
        for title, half in halves.items()
    }
    return curves | {"H, %": {label: sweep_h(each, setting) for label, each in by_label.items()}}


# ---- training longer ----------------------------------------------------------------------------


def new_change(runs: pd.DataFrame) -> dict[str, Array]:
    """Dataset -> (S,) new-class accuracy after the longest schedule minus after the shortest."""
    ends = (runs["epochs"].max(), runs["epochs"].min())
    longest, shortest = (final(where(runs, epochs=length), "new") for length in ends)
    return paired(longest, shortest)


def new_changes(runs: pd.DataFrame) -> dict[str, dict[str, Array]]:
    """:func:`new_change` of CoOp's and of DIP's runs."""
    (runs,) = finished_pairs(runs)
    return {label: new_change(where(runs, label=label)) for label in ("CoOp", "DIP")}


def apart(runs: pd.DataFrame) -> Interval:
    """The change of new-class accuracy with DIP minus that with CoOp."""
    changes = new_changes(runs)
    return paired_difference(changes["DIP"], changes["CoOp"])


def longer(long: Mapping[str, pd.DataFrame]) -> str:
    """What training longer does to new classes, with CoOp and with DIP, in each world."""
    differences = {world: apart(runs) for world, runs in long.items()}
    said = {world: _longer(runs, differences[world]) for world, runs in long.items()}
    what = "how training longer changes DIP minus CoOp on new classes"
    return disagreement(differences, what) + paragraphs(said, "Finding")


def _longer(runs: pd.DataFrame, difference: Interval) -> str:
    changes = new_changes(runs)
    coop, dip = (
        sum(change.mean() for change in change_of.values()) / len(change_of)
        for change_of in changes.values()
    )
    return (
        f"From {runs['epochs'].min()} to {runs['epochs'].max()} epochs, new-class "
        f"accuracy changes by **{coop:+.1f}** points with CoOp and by **{dip:+.1f}** with DIP: a "
        f"difference of **{difference.value:+.1f}** (95 % interval {difference.ends('+.1f')})."
    )


# ---- dropping more ------------------------------------------------------------------------------


def _half_and_none(dip: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    return where(dip, dropout=0.5), where(dip, dropout=0.0)


def dropping(dips: Mapping[str, pd.DataFrame]) -> str:
    """What dropout of one half does to DIP, on base and on new classes, in each world."""
    base, new = (
        {world: gap(*_half_and_none(dip), field) for world, dip in dips.items()}
        for field in ("base", "new")
    )
    said = {world: _dropping(base[world], new[world]) for world in dips}
    return (
        disagreement(base, "what dropout of one half does to base classes")
        + disagreement(new, "what dropout of one half does to new classes")
        + paragraphs(said, "Finding")
    )


def _dropping(base: Interval, new: Interval) -> str:
    return (
        f"Dropout of one half moves DIP by **{base.value:+.1f}** points on base "
        f"classes (95 % interval {base.ends('+.1f')}) and by **{new.value:+.1f}** on new ones "
        f"({new.ends('+.1f')})."
    )


# ---- both ---------------------------------------------------------------------------------------


def averages_table(long: pd.DataFrame, dip: pd.DataFrame) -> pd.DataFrame:
    """Averages of both methods at every length of training, and of DIP at every dropout."""
    groups = {
        f"{a}, {n} epochs": group for (a, n), group in finished(long).groupby(["label", "epochs"])
    }
    groups |= {f"DIP, dropout {p:g}": group for p, group in dip.groupby("dropout")}
    return summary(groups)


def numbers(long: pd.DataFrame, dip: pd.DataFrame) -> dict[str, Interval]:
    """The page's numbers in one world, of trainings of every length and of DIP at every dropout."""
    return {
        "new_change_dip_minus_coop": apart(long),
        "dropout_new": gap(*_half_and_none(dip), "new"),
        "dropout_base": gap(*_half_and_none(dip), "base"),
    }
