"""Values over few datasets with 95 % intervals that hold what they promise.

Two questions are kept apart, and an estimate answers both.

*New datasets*: what would other datasets of the kind have given? The datasets are the units, and
what was repeated within one (seeds, halves of the classes) is averaged first. Of an average this is
Student's interval of the datasets' means; of other statistics the jackknife's error with Student's
quantile; of a median the order statistics.

*These datasets*: what would other seeds have given on the same datasets? Each dataset is a stratum,
its seeds the units; variances of strata add up, with Welch and Satterthwaite's degrees of freedom.

Shapes: D datasets, S seeds, N variants of the data at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from dip_book.interval import Interval

Array = NDArray[np.float64]
Values = Mapping[str, ArrayLike]
"""For each dataset its values over seeds, (S,) or (S, ...); S may differ between datasets."""
Statistic = Callable[[Array], Array]
"""(N, D, ...) means over seeds -> (N,) numbers, for any number of datasets."""
LEVEL = 0.95


def average(means: Array) -> Array:
    """The default statistic: (N, D) dataset means -> (N,) their average."""
    return means.mean(1)


def estimate(values: Values, statistic: Statistic = average) -> Interval:
    """A statistic of dataset means, with its interval over new datasets and over these.

    Of a single dataset there is no interval over new ones: its ends are then those over seeds.

    Args:
        values: dataset -> (S, ...) one entry a seed. Quantities that belong to one run (base and
            new accuracy, two methods, a trajectory) go in the trailing axes and stay together.
        statistic: of the means.

    Raises:
        ValueError: no dataset, or a dataset without values or with one that is not finite.
    """
    arrays = _checked(values)
    these = over_seeds(arrays, statistic)
    found = jackknife(np.stack([array.mean(0) for array in arrays]), statistic)
    if len(arrays) == 1 and these:
        found = replace(found, low=these[0], high=these[1])
    return replace(found, these=these)


def estimate_known(values: Mapping[str, Array]) -> Interval:
    """The average over datasets of their means over seeds, of what is known: nan is left out.

    Raises:
        ValueError: no dataset has a value.
    """
    arrays = {name: np.asarray(each, dtype=float) for name, each in values.items()}
    known = {name: array[np.isfinite(array)] for name, array in arrays.items()}
    return estimate({name: array for name, array in known.items() if len(array)})


def _checked(values: Values) -> list[Array]:
    if not values:
        raise ValueError("no dataset to average over")
    arrays = {name: np.atleast_1d(np.asarray(each, dtype=float)) for name, each in values.items()}
    for name, array in arrays.items():
        if not len(array) or not np.isfinite(array).all():
            raise ValueError(f"dataset {name!r} has no values, or values that are not finite")
    return [*arrays.values()]


def jackknife(units: Array, statistic: Statistic) -> Interval:
    """A statistic of D units with its 95 % interval: the jackknife's error, Student's quantile.

    Of an average it is Student's interval. Of one unit there is none: its ends are nan. It is no
    interval for a median, whose jackknife's error does not converge: see ``median_of``.

    Args:
        units: (D, ...); whatever belongs to a unit stays with it.
        statistic: of the units; also computed of a unit fewer.
    """
    value, pulls = _pulls(units, statistic)
    if len(pulls) < 2:
        return Interval(value, math.nan, math.nan)
    half = _quantile(len(pulls) - 1) * _error(pulls)
    return Interval(value, value - half, value + half, units=tuple((value + pulls).tolist()))


def _pulls(units: Array, statistic: Statistic, axis: int = 0) -> tuple[float, Array]:
    """The statistic's value, and how far each unit along an axis pulls it, times their number.

    Of an average a unit's pull is its distance from it; they sum to 0.
    """
    value, count = float(statistic(units[None])[0]), units.shape[axis]
    if count < 2:
        return value, np.zeros(count)
    without = np.stack([np.delete(units, i, axis) for i in range(count)])
    left = statistic(without)
    return value, (count - 1) * (left.mean() - left)


def _error(pulls: Array) -> float:
    return float(pulls.std(ddof=1)) / math.sqrt(len(pulls))


@cache
def _quantile(freedom: float) -> float:
    return float(stats.t.ppf((1 + LEVEL) / 2, freedom))


def _combined(value: float, parts: Sequence[tuple[float, int]]) -> tuple[float, float]:
    """Ends from independent errors (variance, degrees of freedom) that add up: Satterthwaite."""
    error, freedom = _sum(parts)
    if error == 0:
        return value, value
    half = _quantile(freedom) * error
    return value - half, value + half


def _sum(parts: Sequence[tuple[float, int]]) -> tuple[float, float]:
    """The error of independent parts (variance, degrees of freedom) together, and its freedom."""
    variance = sum(part for part, _ in parts)
    if variance == 0:
        return 0.0, math.inf
    return math.sqrt(variance), variance**2 / sum(part**2 / freedom for part, freedom in parts)


def over_seeds(arrays: Sequence[Array], statistic: Statistic) -> tuple[float, float] | None:
    """The ends over seeds with the datasets as they are; None if a dataset has a single seed.

    A seed of one dataset has nothing to do with the seed of that number of another. Of an average
    the variance is the mean over datasets of s^2 / S, over D.

    Args:
        arrays: each dataset's (S, ...).
        statistic: of the means over seeds.
    """
    if any(len(array) < 2 for array in arrays):
        return None
    return _combined(*_over_seeds(arrays, statistic))


def p_over_seeds(arrays: Sequence[Array], statistic: Statistic, against: float = 0.0) -> float:
    """Two-sided p of the test that goes with the ends of :func:`over_seeds`: is it ``against``?

    Below 0.05 exactly where the 95 % interval leaves ``against`` out. nan if a dataset has a single
    seed.
    """
    if any(len(array) < 2 for array in arrays):
        return math.nan
    value, parts = _over_seeds(arrays, statistic)
    error, freedom = _sum(parts)
    if error == 0:
        return float(value == against)
    return float(2 * stats.t.sf(abs(value - against) / error, freedom))


def _over_seeds(
    arrays: Sequence[Array], statistic: Statistic
) -> tuple[float, list[tuple[float, int]]]:
    """The statistic of the means over seeds, and each dataset's variance and degrees of freedom."""
    means = np.stack([array.mean(0) for array in arrays])
    variants = np.repeat(means[None], sum(map(len, arrays)), axis=0)  # (N, D, ...)
    ends = np.cumsum([len(array) for array in arrays])
    for place, (array, end) in enumerate(zip(arrays, ends, strict=True)):
        count = len(array)  # without each seed in turn
        variants[end - count : end, place] = (array.sum(0) - array) / (count - 1)
    parts = []
    for left in np.split(statistic(variants), ends[:-1]):
        count = len(left)
        parts.append((float((count - 1) ** 2 * left.var(ddof=1) / count), count - 1))
    return float(statistic(means[None])[0]), parts


def crossed(values: Array, statistic: Statistic) -> Interval:
    """An estimate where every dataset is measured under the same K conditions, such as styles.

    Over new datasets *and* new conditions: the errors of both add up, and what a dataset does in
    one condition alone is in both, so that the interval is a little wide. A condition that all
    datasets share does not count as D independent ones.

    Args:
        values: (D, K, S, ...).
        statistic: (N, D, K, ...) means over seeds -> (N,) numbers, for any D and K.
    """
    means = values.mean(2)
    (value, rows), (_, columns) = (_pulls(means, statistic, axis) for axis in (0, 1))
    parts = [(_error(p) ** 2, len(p) - 1) for p in (rows, columns) if len(p) > 1]
    low, high = _combined(value, parts) if parts else (math.nan, math.nan)

    def of_cells(cells: Array) -> Array:
        return statistic(cells.reshape(len(cells), *means.shape))

    these = over_seeds([*values.reshape(-1, *values.shape[2:])], of_cells)
    return Interval(value, low, high, these)


def median_of(values: Mapping[str, float]) -> Interval:
    """The median over datasets with its exact 95 % interval over new ones, by order statistics.

    It holds for any distribution: the true median lies outside two order statistics as often as a
    fair coin falls so one-sidedly. With fewer than six datasets no two reach 95 %: the ends are
    nan.
    """
    ordered = np.sort([*values.values()])
    rank = int(stats.binom.ppf((1 - LEVEL) / 2, len(ordered), 0.5)) - 1  # counted from 0
    if rank < 0:
        return Interval(float(np.median(ordered)), math.nan, math.nan)
    low, high = ordered[rank], ordered[-1 - rank]
    return Interval(float(np.median(ordered)), float(low), float(high))
