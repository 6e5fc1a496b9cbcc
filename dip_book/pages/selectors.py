"""Page 19: rules that choose a setting without new classes, beside validation accuracy.

The rules of ``dip_lib.selection`` look at accuracy on validation images of base classes and at
the drift of arbitrary words, and cost one run a setting. Leaving classes out costs further runs, so
it also stands here with as few settings as the same time allows.
"""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from dip_book.interval import Interval
from dip_book.pages.fair_comparisons import difference
from dip_book.pages.fair_grid import PLACE, Grid
from dip_lib.data import harmonic_mean
from dip_lib.data.protocols import Classes
from dip_lib.data.splits import VAL_SHOTS
from dip_lib.selection import RULES, choose
from dip_study.profiles import Profile
from dip_study.runs import class_count

LEAVE_OUT = "leave classes out"
EQUAL = "leave classes out, equal time"
BASELINE = "validation"
NAMES = (*RULES, LEAVE_OUT, EQUAL)
EVERY = "all methods"
POOLS = ("CoOp", "DIP", EVERY)
"""Whose settings are chosen from."""


def validation_images(profile: Profile) -> dict[str, int]:
    """Dataset -> validation images of its base classes, as if no class lacked pictures."""
    held = min(profile.shots, VAL_SHOTS)
    counts = {d: class_count(d, folders=profile.folders) for d in profile.datasets}
    return {d: held * len(Classes().part(range(count))[0]) for d, count in counts.items()}


def with_drift(runs: pd.DataFrame, found: Grid) -> pd.DataFrame:
    """The settings that are whole runs, with the drift of arbitrary words and their seconds.

    Those of all methods stand in the order of their numbers, so that first settings come first.
    """
    own = found.settings[found.settings["kept"] == 1]
    ends = runs[runs["last"]].set_index("key")
    table = own.join(ends["drift_words"], on="key")
    return table.sort_values("setting", kind="stable").reset_index(drop=True)


def _pools(table: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    for name in POOLS:
        yield name, table if name == EVERY else table[table["method"] == name]


def _place(settings: pd.DataFrame, images: int, rule: str, found: Grid) -> int | None:
    """The index of the setting that a rule chooses at a place; None: none has finished."""
    if rule in RULES:
        place = choose(settings["val"], settings["drift_words"], images, rule)
        return None if place is None else int(settings.index[place])
    spent = settings.join(found.seconds, on=["method", *PLACE])
    if rule == EQUAL:  # of each setting its share of the method's runs
        share = 1 + spent["folds"] / spent["full"]
        settings = settings[(spent["one"] * share).cumsum() <= spent["one"].sum()]
    scores = settings["lco"].dropna()
    return None if scores.empty else int(scores.idxmax())


def choices(runs: pd.DataFrame, found: Grid, profile: Profile) -> pd.DataFrame:
    """The accuracies that each rule arrives at: a row for each pool, rule, dataset and seed."""
    images, rows = validation_images(profile), []
    table = with_drift(runs, found)
    for pool, of_pool in _pools(table):
        for (dataset, seed), settings in of_pool.groupby(PLACE):
            for rule in NAMES:
                index = _place(settings, images[str(dataset)], rule, found)
                if index is not None:
                    where = {"pool": pool, "rule": rule, "dataset": dataset, "seed": seed}
                    rows.append(where | settings.loc[index, ["base", "new"]].to_dict())
    return pd.DataFrame(rows).set_index(["pool", "rule", *PLACE]).sort_index()


def differences(choice: pd.DataFrame, pool: str) -> dict[str, dict[str, Interval]]:
    """Each rule minus validation accuracy: "base", "new" and "h", with intervals."""
    baseline, of_pool = choice.loc[pool, BASELINE], choice.loc[pool]
    others = [rule for rule in NAMES if rule != BASELINE and rule in of_pool.index]
    return {rule: difference(of_pool.loc[rule], baseline) for rule in others}


def choice_table(choice: pd.DataFrame) -> pd.DataFrame:
    """Pool and rule: base, new and H of the averages, and H minus that of validation accuracy."""
    rows = {}
    for pool in POOLS:
        gaps = differences(choice, pool)
        for rule in NAMES:
            if rule in choice.loc[pool].index:
                base, new = choice.loc[pool, rule].groupby("dataset").mean().mean()
                rows[pool, rule] = {
                    "base": f"{base:.1f}",
                    "new": f"{new:.1f}",
                    "H": f"{harmonic_mean(base, new):.1f}",
                    f"H minus {BASELINE}": f"{gaps[rule]['h']:+.1f}" if rule in gaps else "",
                }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(["settings of", "rule"])


def numbers(choice: pd.DataFrame) -> dict[str, Interval]:
    """The page's numbers: H of each rule minus that of validation accuracy, among all settings."""
    gaps = differences(choice, EVERY)
    return {
        f"{rule.replace(', ', '_').replace(' ', '_')}_h": gap["h"] for rule, gap in gaps.items()
    }
