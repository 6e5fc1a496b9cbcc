"""Does new-class accuracy follow information density: along training, and across trainings.

Functions of a frame of runs (:mod:`dip_book.frame`). Symbols: T points of a trajectory.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from dip_book.estimates import estimate, median_of
from dip_book.frame import finished
from dip_book.interval import Interval
from dip_book.statistics import spearman
from dip_book.tables import Array, trajectories

CORRELATED = ("id1", "id2", "epoch")


def rho(means: Array) -> Array:
    """Spearman of new-class accuracy with ID_1, ID_2 and minus epoch.

    ``means`` is (..., T, 4) with the fields new, id1, id2, epoch; the result is (..., 3).
    """
    new = means[..., 0]
    signs = (1, 1, -1)
    rhos = [spearman(new, sign * means[..., i + 1]) for i, sign in enumerate(signs)]
    # a dataset whose accuracy never moves has no rank order: it counts as no correlation
    return np.nan_to_num(np.stack(rhos, -1))


def correlation_table(runs: pd.DataFrame) -> pd.DataFrame:
    """Spearman's rho of each dataset on its seed-averaged trajectory: columns of CORRELATED."""
    paths = trajectories(runs, ("new", *CORRELATED))
    rows = {dataset: rho(path.mean(0)) for dataset, path in paths.items()}
    return pd.DataFrame.from_dict(rows, orient="index", columns=list(CORRELATED))


def correlation_numbers(runs: pd.DataFrame) -> dict[str, Interval]:
    """The claims' statistics: medians over datasets, and ID_1's lead over the epoch."""

    def beyond(means: Array) -> Array:
        rhos = np.abs(rho(means))
        return (rhos[..., 0] - rhos[..., 2]).mean(1)

    table = correlation_table(runs)
    medians = {f"median_rho_{name}": median_of(dict(table[name])) for name in CORRELATED}
    paths = trajectories(runs, ("new", *CORRELATED))
    return medians | {"rho_id1_minus_rho_epoch": estimate(paths, beyond)}


def rho_per_run(runs: pd.DataFrame) -> Interval:
    """Rho of new-class accuracy with ID_1 along each single run; the mean over datasets."""
    paths = trajectories(runs, ("new", "id1"))
    rows = {d: np.nan_to_num(spearman(path[..., 0], path[..., 1])) for d, path in paths.items()}
    return estimate(rows)


def rho_pooled(runs: pd.DataFrame) -> Interval:
    """Rho of new-class accuracy with ID_1 over the points of all datasets at once.

    Each dataset's points are centred first, so that easy datasets do not count as dense ones.
    """

    def pooled(means: Array) -> Array:
        new, id1 = np.moveaxis(means - means.mean(2, keepdims=True), -1, 0)  # (N, D, T) each
        rhos = spearman(new.reshape(len(new), -1), id1.reshape(len(id1), -1))
        return np.nan_to_num(rhos)  # as in rho

    return estimate(trajectories(runs, ("new", "id1")), pooled)


def rank_trend(runs: pd.DataFrame) -> Interval:
    """Median over datasets of rho between new-class accuracy and minus effective rank."""
    paths = {d: path.mean(0) for d, path in trajectories(runs, ("new", "rank_effective")).items()}
    rhos = {d: np.nan_to_num(spearman(path[:, 0], -path[:, 1])) for d, path in paths.items()}
    return median_of({d: float(each) for d, each in rhos.items()})


def rho_across_runs(runs: pd.DataFrame) -> Interval:
    """Rho of final ID_1 and new accuracy over the runs of each dataset and seed; their mean."""
    ends = finished(runs[runs["last"]])
    rows: dict[str, list[float]] = {}
    for (dataset, _), of_seed in ends.groupby(["dataset", "seed"], sort=False):
        rho = float(np.nan_to_num(spearman(of_seed["id1"], of_seed["new"])))
        rows.setdefault(dataset, []).append(rho)
    return estimate(rows)
