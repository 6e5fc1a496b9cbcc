"""Rank correlations of new-class accuracy with what a prompt is like, given other quantities.

They describe runs that were made; that something moves with accuracy is no cause of it. Symbols: T
points, K quantities that are given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.stats import rankdata

from dip_book.estimates import estimate_known
from dip_book.frame import finished
from dip_book.statistics import Interval, spearman

PREDICTORS = {
    "ID1": ("id1", 1),
    "ID1 as read": ("id1_read", 1),
    "small update": ("update_norm", -1),
    "small drift of arbitrary names": ("drift_words", -1),
}
"""What might go with accuracy on new classes -> its column, and the sign it should have."""
FEWEST = 5
"""Points below which no correlation is computed."""


def partial_spearman(x: ArrayLike, y: ArrayLike, given: Sequence[ArrayLike] = ()) -> float:
    """Spearman's rho of x and y (T,) after what their ranks have of the ranks of ``given`` (K, T).

    The ranks of x and y are regressed on those of ``given``, and the residuals correlated; without
    ``given`` it is Spearman's rho. nan where a residual is constant.
    """
    ranks = [rankdata(each) for each in (x, y, *given)]
    if not given:
        return float(spearman(x, y))
    design = np.column_stack([np.ones(len(ranks[0])), *ranks[2:]])
    rest = [r - design @ np.linalg.lstsq(design, r, rcond=None)[0] for r in ranks[:2]]
    # a residual that is only rounding has no order
    if any(np.abs(r).max() < 1e-9 * len(r) for r in rest):
        return float("nan")
    return float(np.clip(np.corrcoef(*rest)[0, 1], -1, 1))


def associations(points: pd.DataFrame, given: Sequence[str] = ()) -> dict[str, Interval]:
    """Each of :data:`PREDICTORS` with new-class accuracy, averaged over datasets.

    The points of one dataset and seed are correlated with each other, so that neither the dataset
    nor the draw makes a correlation; a dataset's seeds are averaged, and datasets are the units.
    Correlations that are not defined are left out.

    Args:
        points: rows with dataset, seed, new and the columns of the predictors.
        given: columns that are held fixed, such as base or epoch.
    """
    found: dict[str, dict[str, list[float]]] = {name: {} for name in PREDICTORS}
    for (dataset, _), same in finished(points).groupby(["dataset", "seed"]):
        for name, (column, sign) in PREDICTORS.items():
            needed = ["new", column, *given]
            rows = same[needed].dropna()
            if len(rows) < FEWEST:
                continue
            rho = partial_spearman(sign * rows[column], rows["new"], [rows[g] for g in given])
            found[name].setdefault(str(dataset), []).append(rho)
    return {
        name: estimate_known({d: np.array(each) for d, each in rhos.items()})
        for name, rhos in found.items()
        if np.isfinite([each for rho in rhos.values() for each in rho]).any()
    }


def association_table(found: Mapping[str, Mapping[str, Interval]]) -> pd.DataFrame:
    """Predictors by row; a column for each way, "0.12 [0.01, 0.23]"."""
    return pd.DataFrame(
        {way: {name: f"{each:.2f}" for name, each in of.items()} for way, of in found.items()}
    ).reindex([*PREDICTORS])


def across_and_along(
    ends: pd.DataFrame, trajectories: pd.DataFrame
) -> dict[str, dict[str, Interval]]:
    """Across runs, given their base accuracy; and along training, given the epoch.

    Args:
        ends: last checkpoints of many runs a dataset and seed.
        trajectories: all checkpoints of runs; the start, where all are the same, is left out.
    """
    along = trajectories[trajectories["epoch"] > 0]
    return {
        "across runs": associations(ends),
        "across runs, given base": associations(ends, ["base"]),
        "along training": associations(along),
        "along training, given epoch": associations(along, ["epoch"]),
        "along training, given epoch and base": associations(along, ["epoch", "base"]),
    }


def rhos_along(trajectories: pd.DataFrame, label: str, column: str) -> pd.DataFrame:
    """Rho of a column with accuracy along a method's training, averaged over seeds first.

    Returns:
        Rows by dataset; columns "new" and "base", the half whose accuracy it is. An accuracy that
        never moves has no order: it counts as 0.
    """
    of_label = finished(trajectories[trajectories["label"] == label])
    paths = of_label.groupby(["dataset", "epoch"])[[column, "new", "base"]].mean()
    found = {
        dataset: {half: float(spearman(path[column], path[half])) for half in ("new", "base")}
        for dataset, path in paths.groupby("dataset")
    }
    return pd.DataFrame.from_dict(found, orient="index", columns=["new", "base"]).fillna(0.0)


def rho_table(trajectories: pd.DataFrame, columns: Mapping[str, str]) -> pd.DataFrame:
    """Rho along training of each method: rows by label.

    Args:
        columns: what it is in words -> its column, such as "ID1": "id1".

    Returns:
        For each column and half the mean over datasets; for new classes in how many datasets it is
        positive, too; and how many datasets there are.
    """
    rows = {}
    for label in trajectories["label"].unique():
        row: dict[str, float] = {}
        for name, column in columns.items():
            found = rhos_along(trajectories, label, column)
            row |= {f"{name}, new": found["new"].mean(), f"{name}, base": found["base"].mean()}
            row[f"{name}, new > 0"] = int((found["new"] > 0).sum())
            row["datasets"] = len(found)
        rows[label] = row
    return pd.DataFrame.from_dict(rows, orient="index")
