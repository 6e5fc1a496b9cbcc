"""Page 20: density that chance assigns.

The factor A of DIP's update is drawn by the seed alone, the same for all datasets of a world. The
longer it is, the faster the update grows, and the denser the prompt ends. So a seed assigns a
density as a lot does, and accuracies of seeds tell what comes of it. Symbols: S seeds.
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from scipy import stats

from dip_book.interval import Interval
from dip_lib.data import harmonic_mean
from dip_lib.prompt.low_rank import initial_factors

STEP = 0.1
"""Of Information Density, to which slopes refer."""
FEWEST = 3
"""Seeds through which a line with an error can be laid."""
COLUMNS = {
    "start": "length of A",
    "id1": "ID₁",
    "id1_read": "ID₁ as read",
    "base": "base",
    "new": "new",
    "h": "H",
}


def by_seed(runs: pd.DataFrame) -> pd.DataFrame:
    """Averages over datasets of DIP's last checkpoints: a row a seed, with the columns of COLUMNS.

    Args:
        runs: of rank 1. A dataset counts if it has every seed.
    """
    ends = runs[runs["last"]]
    seeds = ends.groupby("dataset")["seed"].nunique()
    whole = ends[ends["dataset"].isin(seeds.index[seeds == ends["seed"].nunique()])]
    table = whole.groupby("seed")[["id1", "id1_read", "base", "new"]].mean()
    table["h"] = harmonic_mean(table["base"].to_numpy(), table["new"].to_numpy())
    first = ends.iloc[0]
    vectors = len(first["singular"])
    shape = vectors, int(first["trainable"]) - vectors  # rank 1 trains n + d numbers
    starts = [initial_factors(int(seed), shape, 1)[0].norm().item() for seed in table.index]
    return table.assign(start=starts)[[*COLUMNS]]


def slope(table: pd.DataFrame, column: str) -> Interval:
    """By how much a column changes for each STEP of ID_1, over seeds: least squares, Student's.

    Without ends where there are too few seeds.
    """
    if len(table) < FEWEST:
        return Interval(math.nan, math.nan, math.nan)
    x, y = (table[name] - table[name].mean() for name in ("id1", column))
    rise = float(x @ y / (x @ x))
    freedom = len(table) - 2
    error = math.sqrt(float(((y - rise * x) ** 2).sum() / (x @ x)) / freedom)
    half = float(stats.t.ppf(0.975, freedom)) * error
    return Interval(STEP * rise, STEP * (rise - half), STEP * (rise + half))


def sentence(table: pd.DataFrame) -> str:
    """How far densities of seeds differ, and what comes of it."""
    low, high = table["id1"].min(), table["id1"].max()
    start = f"By the seed alone DIP's prompts end with an ID₁ between {low:.2f} and {high:.2f}"
    if len(table) < FEWEST:
        return f"{start}; {len(table)} seeds are too few to say what comes of it."
    follows = float(np.corrcoef(table["start"], table["id1"])[0, 1])
    names = ("new", "base", "h")
    changes = ", ".join(f"{COLUMNS[name]} by {slope(table, name):+.2f}" for name in names)
    return (
        f"{start} (correlation with the length of A {follows:+.2f}, {len(table)} seeds). For each "
        f"{STEP:g} of ID₁ accuracy changes, in points: {changes}."
    )


def shown(table: pd.DataFrame) -> pd.DataFrame:
    """The table by the names of the page."""
    return table.rename(columns=COLUMNS)


def numbers(table: pd.DataFrame) -> dict[str, Interval]:
    """The slopes that have an interval, for prose."""
    found = {f"{name}_per_drawn_density": slope(table, name) for name in ("base", "new", "h")}
    return {name: each for name, each in found.items() if not each.endless}
