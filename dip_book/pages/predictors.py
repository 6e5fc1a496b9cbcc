"""Page 19: what of a trained prompt foretells its accuracy on new classes, and what to choose by.

All runs of the grid of ``dip_study.fronts`` at a place, a dataset and a seed, are ranked by each
quantity and by new-class accuracy. Symbols: N runs of a place, D datasets.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from dip_book.estimates import average, jackknife
from dip_book.interval import Interval
from dip_book.pages.fair_grid import PLACE, Grid
from dip_book.statistics import spearman
from dip_book.tables import Array
from dip_book.worlds import paragraphs

PREDICTORS = {
    "id1": "ID_1 of the prompt",
    "id1_read": "ID_1 as read",
    "rank_effective": "effective rank",
    "rank_stable": "stable rank",
    "update_norm": "distance from P0",
    "sharpness": "sharpness",
    "drift_words": "drift of arbitrary words",
    "drift_base": "drift of base names",
    "val": "validation accuracy",
    "lco": "H, classes left out",
}
"""Column -> its name. None of them knows a new class, its name or a test image. A world whose runs
were measured before a quantity was is shown without it."""
COLUMNS = {"rho": "rho", "held_out": "sign from other datasets", "partial": "given base accuracy"}


def trained(runs: pd.DataFrame, found: Grid) -> pd.DataFrame:
    """Every different run with all base classes: a row each, with those of ``PREDICTORS`` that the
    runs hold."""
    own = found.settings[found.settings["kept"] == 1].drop_duplicates("key")
    ends = runs[runs["last"]].set_index("key")
    measured = [name for name in PREDICTORS if name in ends and name not in own]
    table = own.join(ends[[*measured, "singular"]], on="key").dropna(subset=["base", "new"])
    table["rank_stable"] = [_stable_rank(values) for values in table["singular"]]
    table = table.drop(columns="singular")
    return table.dropna(subset=known(table))


def known(table: pd.DataFrame) -> list[str]:
    """Those of ``PREDICTORS`` that a table of trained prompts has."""
    return [name for name in PREDICTORS if name in table and table[name].notna().any()]


def _stable_rank(singular: Any) -> float:
    """The sum of the squared singular values by the largest one's square."""
    values = np.asarray(singular, dtype=float)
    return float((values**2).sum() / values[0] ** 2)


def partial(x: Array, y: Array, given: Array) -> float:
    """Spearman's rho of x and y (N,) given a third: the correlation of their ranks' residuals.

    0 where the third orders one of the two as it is ordered, which leaves no residuals.
    """
    xy, xz, yz = (float(np.nan_to_num(spearman(*p))) for p in ((x, y), (x, given), (y, given)))
    rest = (1 - xz**2) * (1 - yz**2)
    return (xy - xz * yz) / float(np.sqrt(rest)) if rest > 1e-12 else 0.0


def correlations(table: pd.DataFrame) -> pd.DataFrame:
    """Rho of each predictor with new-class accuracy on each dataset, averaged over its seeds.

    Returns:
        A row for each dataset and predictor: ``rho``, and ``partial``, given base accuracy. Where a
        quantity never changes it is 0.
    """
    rows = []
    for (dataset, seed), place in table.groupby(PLACE):
        new, base = (place[half].to_numpy(dtype=float) for half in ("new", "base"))
        for name in known(table):
            values = place[name].to_numpy(dtype=float)
            rho = float(np.nan_to_num(spearman(values, new)))
            row = {"dataset": dataset, "seed": seed, "predictor": name}
            rows.append(row | {"rho": rho, "partial": partial(values, new, base)})
    return pd.DataFrame(rows).groupby(["predictor", "dataset"])[["rho", "partial"]].mean()


def oriented(rhos: Array) -> Array:
    """The mean over datasets of rho (N, D) times its sign on average over the others: (N,).

    A quantity that foretells up on some datasets and down on others foretells nothing.
    """
    return (rhos * np.sign(rhos.sum(1, keepdims=True) - rhos)).mean(1)


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Predictor by column of ``COLUMNS``: means over datasets with their intervals."""
    by_dataset = correlations(table)
    rows = {}
    for name in known(table):
        rho, given = (by_dataset.loc[name, column].to_numpy() for column in ("rho", "partial"))
        rows[name] = {
            "rho": jackknife(rho, average),
            "held_out": jackknife(rho, oriented),
            "partial": jackknife(given, average),
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def summary_table(table: pd.DataFrame) -> pd.DataFrame:
    """``summary`` in words."""
    words = summary(table).map(lambda interval: f"{interval:+.2f}")
    return words.rename(index=PREDICTORS, columns=COLUMNS).rename_axis("predictor")


def finding(tables: Mapping[str, pd.DataFrame]) -> str:
    """What foretells new-class accuracy best in each world, and what ID does."""
    return paragraphs({world: _found(table) for world, table in tables.items()}, "Finding")


def _found(table: pd.DataFrame) -> str:
    rhos = summary(table)
    best = max(rhos.index, key=lambda name: rhos.loc[name, "held_out"].value)
    sized = max(rhos.index, key=lambda name: abs(rhos.loc[name, "partial"].value))
    places = table.groupby(PLACE).size()
    plain, given = rhos["rho"], rhos["partial"]
    return (
        f"Over {places.mean():.0f} runs at each of {len(places)} places, new-class accuracy "
        f"follows **{PREDICTORS[best]}** most (rho {plain[best]:+.2f}); given base accuracy it is "
        f"{PREDICTORS[sized]} (rho {given[sized]:+.2f}). ID_1 of the prompt has rho "
        f"{plain['id1']:+.2f}, ID_1 as read {plain['id1_read']:+.2f}; given base accuracy "
        f"{given['id1']:+.2f} and {given['id1_read']:+.2f}."
    )


def shown(table: pd.DataFrame) -> dict[str, dict[str, Interval]]:
    """What the figure shows: rho of each predictor, and given base accuracy."""
    rhos = summary(table).rename(index=PREDICTORS)
    panels = {"rho": "over all trainings", "partial": "given base accuracy"}
    return {title: rhos[column].to_dict() for column, title in panels.items()}


def numbers(table: pd.DataFrame) -> dict[str, Interval]:
    """The page's numbers: each predictor's rho, with the sign of other datasets, and given base."""
    rhos = summary(table)
    return {f"{column}_{name}": rhos.loc[name, column] for column in COLUMNS for name in rhos.index}
