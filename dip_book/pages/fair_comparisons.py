"""Page 18: methods that choose among as many settings, each by itself and without new classes.

The grid is that of ``dip_study.fronts``, the choice that of ``dip_book.pages.fair_grid``.
Symbols: D datasets.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from dip_book.estimates import average, jackknife
from dip_book.interval import Interval
from dip_book.pages.fair_grid import PRIMARY, RULES, Grid, chosen
from dip_book.statistics import average_h_difference
from dip_book.tables import Array
from dip_book.worlds import disagreement, paragraphs
from dip_lib.data import harmonic_mean
from dip_study.fronts import Setting, settings
from dip_study.profiles import Profile

REFERENCE = "DIP"
BETWEEN = 21
"""Points between the ends of two fronts' common range, at which they are compared."""


def pairs(ours: pd.DataFrame, theirs: pd.DataFrame) -> Array:
    """(D, 4) base and new of ours, then of theirs, over the seeds that both have."""
    halves = ["base", "new"]
    both = ours[halves].join(theirs[halves].add_suffix("_theirs"), how="inner")
    return both.groupby("dataset").mean().to_numpy(dtype=float)


def difference(ours: pd.DataFrame, theirs: pd.DataFrame) -> dict[str, Interval]:
    """Ours minus theirs, averaged over datasets: base, new, and H of the averages.

    Args:
        ours, theirs: chosen settings of one method each, by dataset and seed.
    """
    units = pairs(ours, theirs)
    return {
        "base": jackknife(units, lambda u: (u[..., 0] - u[..., 2]).mean(1)),
        "new": jackknife(units, lambda u: (u[..., 1] - u[..., 3]).mean(1)),
        "h": jackknife(units, average_h_difference),
    }


def differences(found: Grid, rule: str) -> dict[str, dict[str, Interval]]:
    """Each method that chooses by a rule, minus DIP that does: "base", "new" and "h"."""
    choice = chosen(found.settings, rule)
    methods = [name for name in found.settings["method"].unique() if name != REFERENCE]
    reference = choice.loc[REFERENCE]
    return {
        name: difference(choice.loc[name], reference) for name in methods if name in choice.index
    }


# ---- matched accuracy on base classes -----------------------------------------------------------


def front(rows: pd.DataFrame) -> pd.Series:
    """New-class accuracy of a method's settings on one dataset by validation accuracy, ascending.

    Both are averaged over seeds first; settings with the same validation accuracy are one point.
    """
    points = rows.groupby("setting")[["val", "new"]].mean().dropna()
    return points.groupby("val")["new"].mean()


def height(ours: pd.Series, theirs: pd.Series) -> float:
    """How far one front lies above another where they overlap, on average; nan: nowhere.

    Between its points a front is a straight line; beyond its ends it is not continued.
    """
    if ours.empty or theirs.empty:
        return float("nan")
    low = max(ours.index.min(), theirs.index.min())
    high = min(ours.index.max(), theirs.index.max())
    if low > high:
        return float("nan")
    at = np.linspace(low, high, BETWEEN)
    return float(np.mean(np.interp(at, *_xy(ours)) - np.interp(at, *_xy(theirs))))


def _xy(points: pd.Series) -> tuple[Array, Array]:
    return points.index.to_numpy(dtype=float), points.to_numpy(dtype=float)


def matched(found: Grid) -> dict[str, tuple[Interval, int]]:
    """Method -> new-class accuracy minus DIP's at the same validation accuracy, and on how many
    datasets the two fronts overlap; a method that overlaps nowhere has no entry."""
    fronts = {
        name: {dataset: front(each) for dataset, each in rows.groupby("dataset")}
        for name, rows in found.settings.groupby("method", sort=False)
    }
    heights = {}
    for name, ours in fronts.items():
        if name == REFERENCE:
            continue
        each = [height(ours[d], fronts[REFERENCE][d]) for d in ours if d in fronts[REFERENCE]]
        known = np.array([h for h in each if np.isfinite(h)])
        if len(known):
            heights[name] = jackknife(known, average), len(known)
    return heights


# ---- what the page shows ------------------------------------------------------------------------


def words(setting: Setting) -> str:
    """A setting in words: its learning rate, and what else its method chooses."""
    update, weight = setting.low_rank, setting.weight
    parts = [f"lr {setting.lr:g}"]
    if setting.length != 1:
        parts.append(f"{setting.length:g} of the epochs")
    if update and update.rank:
        parts.append(f"dropout {update.dropout:g}")
    if setting.kept != 1:
        parts.append(f"{setting.kept:g} of the update")
    if setting.method != "coop":
        parts.append("published weight" if weight is None else f"{weight:g} of the rescaled weight")
    return ", ".join(parts)


def grid_table(profile: Profile) -> pd.DataFrame:
    """Every setting that a method chooses from, in words; the first is that without a choice."""
    rows = {method: map(words, each) for method, each in settings(profile).items()}
    return pd.DataFrame({name: pd.Series([*row]) for name, row in rows.items()}).T.rename(
        columns=lambda i: i + 1
    )


def choice_table(found: Grid) -> pd.DataFrame:
    """Methods by rule: base, new and H of the averages, H minus DIP's, seconds of one choice.

    Seconds are of one core, for a dataset and seed: by validation accuracy all full runs; when
    classes are left out the runs that do, and the full run of the chosen setting.
    """
    spent = found.seconds.groupby("method").mean()
    rows = {}
    for rule in RULES:
        choice, gaps = chosen(found.settings, rule), differences(found, rule)
        for method in found.settings["method"].unique():
            if method not in choice.index:
                continue
            of = choice.loc[method].groupby("dataset")[["base", "new"]].mean().mean()
            full, one, folds = spent.loc[method]
            seconds = {"leave classes out": folds + one, "validation": full, "no choice": one}
            rows[rule, method] = {
                "base": f"{of['base']:.1f}",
                "new": f"{of['new']:.1f}",
                "H": f"{harmonic_mean(of['base'], of['new']):.1f}",
                "H minus DIP": f"{gaps[method]['h']:+.1f}" if method in gaps else "",
                "seconds": f"{seconds[rule]:.1f}",
            }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(["rule", "method"])


def shown(found: Grid) -> dict[str, dict[str, Interval]]:
    """What the figure shows, each method minus DIP: new-class accuracy at equal validation
    accuracy, H by the primary rule, and H without a choice."""
    by_rule = {
        f"H, {rule}": {name: gap["h"] for name, gap in differences(found, rule).items()}
        for rule in (PRIMARY, "no choice")
    }
    heights = {name: gap for name, (gap, _) in matched(found).items()}
    return {"new classes, at equal validation accuracy": heights, **by_rule}


def matched_table(found: Grid) -> pd.DataFrame:
    """New-class accuracy minus DIP's at equal validation accuracy, and the datasets that tell."""
    rows = {
        name: {"minus DIP": f"{gap:+.1f}", "datasets": count}
        for name, (gap, count) in matched(found).items()
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("method")


def finding(found: Mapping[str, Grid]) -> str:
    """The page's finding: whether the worlds disagree, then what was found in each."""
    h = {world: differences(each, PRIMARY)["CoOp"]["h"] for world, each in found.items()}
    said = {world: _found(each) for world, each in found.items()}
    return disagreement(h, "CoOp minus DIP in H") + paragraphs(said, "Finding")


def _found(found: Grid) -> str:
    """CoOp against DIP by each rule, and who is ahead of DIP."""
    before, after = (differences(found, rule) for rule in ("no choice", PRIMARY))
    ahead = [name for name, gap in after.items() if gap["h"].sign > 0]
    behind = [name for name, gap in after.items() if gap["h"].sign < 0]
    open_still = [name for name in after if name not in (*ahead, *behind)]
    matches = matched(found)
    text = (
        f"At the one learning rate of the other pages, CoOp minus DIP is "
        f"**{before['CoOp']['h']:+.1f}** in H; where each chooses among six settings by leaving "
        f"classes out, it is **{after['CoOp']['h']:+.1f}**. Ahead of DIP are then: "
        f"{'; '.join(ahead) or 'none'}. Behind it: {'; '.join(behind) or 'none'}. Not decided: "
        f"{'; '.join(open_still) or 'none'}. "
    )
    if "CoOp" not in matches:
        return text + "CoOp and DIP reach no common accuracy on validation images."
    gap, count = matches["CoOp"]
    return text + (
        f"At equal accuracy on validation images CoOp's new-class accuracy is **{gap:+.1f}** "
        f"points from DIP's ({count} datasets on which both reach it)."
    )


def slug(name: str) -> str:
    """A method's name as it stands in the names of numbers."""
    return name.lower().replace(" + ", "_").replace(", ", "_").replace(" ", "_")


def numbers(found: Grid) -> dict[str, Interval | int]:
    """The page's numbers: each method minus DIP by each rule, and at matched accuracy."""
    values: dict[str, Interval | int] = {}
    for rule in RULES:
        for name, gap in differences(found, rule).items():
            for half, interval in gap.items():
                values[f"{slug(name)}_minus_dip_{half}_{slug(rule)}"] = interval
    for name, (interval, count) in matched(found).items():
        if not interval.endless:  # of one dataset there is none
            values[f"{slug(name)}_minus_dip_new_matched"] = interval
        values[f"{slug(name)}_overlap"] = count
    return values
