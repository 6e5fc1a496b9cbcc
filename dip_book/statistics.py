"""Intervals, paired differences and rank correlations over datasets.

The unit is the dataset: eleven of them, with seeds inside. Every function is pure; randomness comes
from a seed. Shapes: D datasets, S seeds, N bootstrap draws, T points of a trajectory.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from dip_book.interval import Interval
from dip_lib.data.splits import harmonic_mean

Array = NDArray[np.float64]
Values = Mapping[str, ArrayLike]
"""For each dataset its values over seeds, (S,) or (S, ...); S may differ between datasets."""


def average(means: Array) -> Array:
    """The default statistic: (N, D) dataset means -> (N,) their average."""
    return means.mean(1)


def hierarchical_bootstrap(
    values: Values,
    statistic: Callable[[Array], Array] = average,
    n: int = 10_000,
    seed: int = 0,
) -> Interval:
    """95 % percentile interval: draw datasets with replacement, then seeds within each.

    With eleven datasets such an interval is a little too narrow; it is a summary, not a proof.

    Args:
        values: dataset -> (S, ...) one entry a seed. Quantities that belong to one run (base and
            new accuracy, two methods, a trajectory) go in the trailing axes and stay together.
        statistic: (N, D, ...) means over seeds -> (N,) numbers.
        n: bootstrap draws N.
        seed: of the draws.

    Raises:
        ValueError: no dataset, or a dataset without values or with one that is not finite.
    """
    if not values:
        raise ValueError("no dataset to average over")
    arrays = {name: np.atleast_1d(np.asarray(each, dtype=float)) for name, each in values.items()}
    for name, array in arrays.items():
        if not len(array) or not np.isfinite(array).all():
            raise ValueError(f"dataset {name!r} has no values, or values that are not finite")
    counts = np.array([len(array) for array in arrays.values()])  # (D,)
    table = np.stack([np.resize(a, (counts.max(), *a.shape[1:])) for a in arrays.values()])
    rng = np.random.default_rng(seed)
    draws = np.empty((n, *counts.shape, *table.shape[2:]))  # (N, D, ...)
    for place in range(len(counts)):  # one place at a time keeps memory at N * S * ...
        dataset = rng.integers(len(counts), size=n)  # (N,)
        take = (rng.random((n, counts.max())) * counts[dataset, None]).astype(int)  # (N, S)
        used = np.arange(counts.max()) < counts[dataset, None]  # as many draws as it has seeds
        weight = (used / counts[dataset, None]).reshape(*take.shape, *(1,) * (table.ndim - 2))
        draws[:, place] = (table[dataset[:, None], take] * weight).sum(1)
    means = np.stack([array.mean(0) for array in arrays.values()])[None]  # (1, D, ...)
    low, high = np.percentile(statistic(draws), [2.5, 97.5])
    return Interval(float(statistic(means)[0]), float(low), float(high))


def crossed_bootstrap(
    values: Array, statistic: Callable[[Array], Array], n: int = 2000, seed: int = 0
) -> Interval:
    """95 % percentile interval where every dataset is measured under the same K conditions.

    Datasets and conditions are drawn with replacement, a draw of one for all of the other, then
    seeds within each pair: conditions that are shared do not count as independent.

    Args:
        values: (D, K, S, ...), as the entries of :func:`hierarchical_bootstrap`.
        statistic: (N, D, K, ...) means over seeds -> (N,) numbers.
    """
    count, conditions, seeds = values.shape[:3]
    rng, draws = np.random.default_rng(seed), np.empty((n, *values.shape[:2], *values.shape[3:]))
    for draw in draws:
        row = rng.integers(count, size=(count, 1, 1))
        column = rng.integers(conditions, size=(1, conditions, 1))
        draw[:] = values[row, column, rng.integers(seeds, size=(count, conditions, seeds))].mean(2)
    low, high = np.percentile(statistic(draws), [2.5, 97.5])
    return Interval(float(statistic(values.mean(2)[None])[0]), float(low), float(high))


def jackknife(units: Array, statistic: Callable[[Array], float]) -> Interval:
    """A statistic of D units with its 95 % interval: the jackknife's error, Student's quantile.

    Of an average it is Student's interval, which holds what it promises with few units, where a
    bootstrap's is too narrow. Of one unit there is none: its ends are nan.

    Args:
        units: (D, ...); whatever belongs to a unit stays with it.
        statistic: (D, ...) -> its value, also of a unit fewer.
    """
    value, count = statistic(units), len(units)
    if count < 2:
        return Interval(value, math.nan, math.nan)
    without = np.array([statistic(np.delete(units, i, axis=0)) for i in range(count)])
    error = math.sqrt((count - 1) / count * ((without - without.mean()) ** 2).sum())
    half = float(stats.t.ppf(0.975, count - 1)) * error
    return Interval(value, value - half, value + half)


def paired(a: Values, b: Values) -> dict[str, Array]:
    """a - b for each dataset and seed; a single value stands for all seeds (zero-shot has one).

    Raises:
        ValueError: different datasets, or numbers of seeds that do not match.
    """
    if a.keys() != b.keys():
        raise ValueError(f"not paired: only one side has {sorted(a.keys() ^ b.keys())}")
    pairs = {name: (np.atleast_1d(a[name]), np.atleast_1d(b[name])) for name in a}
    for name, (x, y) in pairs.items():
        if len(x) != len(y) and 1 not in (len(x), len(y)):
            raise ValueError(f"not paired: {name!r} has {len(x)} seeds against {len(y)}")
    return {name: np.asarray(x - y, dtype=float) for name, (x, y) in pairs.items()}


def paired_difference(a: Values, b: Values, n: int = 10_000, seed: int = 0) -> Interval:
    """The average of a - b over datasets, pairs of the same dataset and seed kept together."""
    return hierarchical_bootstrap(paired(a, b), n=n, seed=seed)


def average_h(means: Array) -> Array:
    """H of the average base and new accuracy, (N, D, 2) -> (N,): a statistic for the bootstrap.

    Give (S, 2) rows of (base, new) for each dataset, so that the pair is drawn together.
    """
    return harmonic_mean(means[..., 0].mean(1), means[..., 1].mean(1))


def average_h_difference(means: Array) -> Array:
    """H of averages, first method minus second, (N, D, 4) -> (N,).

    Rows are (base, new) of the first method, then (base, new) of the second, same seed.
    """
    return average_h(means[..., :2]) - average_h(means[..., 2:])


def spearman(x: ArrayLike, y: ArrayLike) -> Array:
    """Spearman's rho along the last axis, (..., T) -> (...); nan where one side is constant."""
    ranks = [stats.rankdata(each, axis=-1) for each in (x, y)]
    u, v = (each - each.mean(-1, keepdims=True) for each in ranks)
    spread = np.sqrt((u**2).sum(-1) * (v**2).sum(-1))
    rho = (u * v).sum(-1) / np.where(spread > 0, spread, np.nan)
    return np.asarray(np.clip(rho, -1, 1))


def detectable_effect(values: Values) -> float:
    """The smallest true average that a two-sided test at 5 % finds with 80 % power.

    (t_0.975 + t_0.8) * sd / sqrt(D), Student quantiles with D - 1 degrees of freedom and sd the
    standard deviation of the dataset means. nan for fewer than two datasets.
    """
    means = [np.asarray(each, dtype=float).mean() for each in values.values()]
    if len(means) < 2:
        return math.nan
    quantiles = stats.t.ppf([0.975, 0.8], len(means) - 1).sum()
    return float(quantiles * np.std(means, ddof=1) / math.sqrt(len(means)))


def wilcoxon(a: Values, b: Values) -> float:
    """Two-sided p-value of Wilcoxon's signed-rank test on the D paired dataset means."""
    means = [each.mean() for each in paired(a, b).values()]
    return float(stats.wilcoxon(means).pvalue) if any(means) else 1.0


def exactly(value: float) -> Interval:
    """A number that is computed and not measured: nothing to sample, so no width."""
    return Interval(value, value, value)


def median_interval(values: ArrayLike, n: int = 10_000, seed: int = 0) -> Interval:
    """The median of repeated measurements (K,), with its 95 % bootstrap interval."""
    measured = np.asarray(values, dtype=float)
    draws = np.random.default_rng(seed).integers(len(measured), size=(n, len(measured)))
    low, high = np.percentile(np.median(measured[draws], axis=1), [2.5, 97.5])
    return Interval(float(np.median(measured)), float(low), float(high))
