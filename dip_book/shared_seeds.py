"""Whether a seed acts on all datasets alike, where all have the same seeds.

DIP draws its random factor A by the seed alone, so that with one seed it is the same on every
dataset. What that does to all of them at once is in no interval over datasets. An analysis of
variance, dataset x seed, tells whether there is such a thing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats


@dataclass(frozen=True)
class SeedEffect:
    """What seeds do to an average over datasets.

    Attributes:
        deviation: standard deviation over seeds of the average over datasets.
        expected: the same if seeds acted on each dataset independently of the others.
        ratio: F, the square of the one over the square of the other.
        p: of an F as large or larger, without a common effect; nan where nothing varies.
    """

    deviation: float
    expected: float
    ratio: float
    p: float

    @classmethod
    def of(cls, values: Mapping[str, ArrayLike]) -> Self:
        """Of (S,) values of each dataset, in the same order of seeds.

        Raises:
            ValueError: fewer than two datasets or seeds, or datasets with different numbers of
                seeds.
        """
        table = np.array([np.asarray(each, dtype=float) for each in values.values()])  # (D, S)
        if table.ndim != 2 or min(table.shape) < 2:
            raise ValueError(f"needs two datasets and two seeds at least, got {table.shape}")
        datasets, seeds = table.shape
        alike = table.mean(0) - table.mean()  # (S,)
        rest = table - table.mean(1, keepdims=True) - alike
        of_seeds = float((alike**2).sum() / (seeds - 1))
        of_rest = float((rest**2).sum() / ((datasets - 1) * (seeds - 1) * datasets))
        ratio = of_seeds / of_rest if of_rest else math.nan
        p = float(stats.f.sf(ratio, seeds - 1, (datasets - 1) * (seeds - 1)))
        return cls(math.sqrt(of_seeds), math.sqrt(of_rest), ratio, p)
