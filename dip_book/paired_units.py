"""Averages over datasets where a quantity may be unknown in some runs.

Symbols: D datasets, S seeds.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from dip_book.estimates import Array, estimate
from dip_book.interval import Interval
from dip_book.tables import differences as difference

__all__ = ["difference", "mean_interval"]


def mean_interval(values: Mapping[str, Array]) -> Interval:
    """The average over datasets of their means over seeds; values that are nan are left out.

    Raises:
        ValueError: no dataset has a value.
    """
    arrays = {name: np.asarray(each, dtype=float) for name, each in values.items()}
    known = {name: array[np.isfinite(array)] for name, array in arrays.items()}
    return estimate({name: array for name, array in known.items() if len(array)})
