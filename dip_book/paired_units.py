"""Differences and averages over datasets with Student's intervals, which few datasets need.

Datasets are the units, each with all its seeds. Symbols: D datasets, S seeds.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from dip_book.statistics import Interval, average_h_difference, jackknife
from dip_book.tables import Array, final, finished_pairs


def mean_interval(values: Mapping[str, Array]) -> Interval:
    """The average over datasets of their means over seeds; values that are nan are left out.

    Raises:
        ValueError: no dataset has a value.
    """
    arrays = (np.asarray(each, dtype=float) for each in values.values())
    known = [array[np.isfinite(array)] for array in arrays]
    means = np.array([array.mean() for array in known if len(array)])
    if not len(means):
        raise ValueError("no dataset has a value to average")
    return jackknife(means, lambda units: float(units.mean()))


def difference(ours: pd.DataFrame, theirs: pd.DataFrame) -> dict[str, Interval]:
    """Ours minus theirs, paired by dataset and seed: "base", "new", and "h" of the averages.

    Args:
        ours, theirs: rows of last checkpoints, of the same datasets and seeds. Where a run of
            either stopped, neither side has that seed.
    """
    ours, theirs = finished_pairs(ours, theirs)
    a, b = (final(side, "base", "new") for side in (ours, theirs))
    units = np.stack([np.concatenate([a[d].mean(0), b[d].mean(0)]) for d in a])  # (D, 4)
    return {
        "base": jackknife(units, lambda u: float((u[:, 0] - u[:, 2]).mean())),
        "new": jackknife(units, lambda u: float((u[:, 1] - u[:, 3]).mean())),
        "h": jackknife(units, lambda u: float(average_h_difference(u[None])[0])),
    }
