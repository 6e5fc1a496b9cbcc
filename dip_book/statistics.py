"""Paired differences, harmonic means and rank correlations over datasets, and what they can find.

The unit is the dataset, with seeds inside; :func:`dip_book.estimates.estimate` makes the intervals.
Every function is pure; randomness comes from a seed. Shapes: D datasets, S seeds, N variants of the
data at once, T points of a trajectory.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from dip_book.estimates import Array, Values, estimate
from dip_book.interval import Interval
from dip_lib.data.splits import harmonic_mean


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


def paired_difference(a: Values, b: Values) -> Interval:
    """The average of a - b over datasets, pairs of the same dataset and seed kept together."""
    return estimate(paired(a, b))


def average_h(means: Array) -> Array:
    """H of the average base and new accuracy, (N, D, 2) -> (N,): a statistic for an estimate.

    Give (S, 2) rows of (base, new) for each dataset, so that the pair stays together.
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


def detectable_effect(units: ArrayLike) -> float:
    """The smallest true average that a two-sided test at 5 % finds with 80 % power.

    (t_0.975 + t_0.8) * sd / sqrt(D), Student quantiles with D - 1 degrees of freedom and sd the
    standard deviation of the units of an interval, (D,). nan for fewer than two.
    """
    each = np.asarray(units, dtype=float)
    if len(each) < 2:
        return math.nan
    quantiles = stats.t.ppf([0.975, 0.8], len(each) - 1).sum()
    return float(quantiles * each.std(ddof=1) / math.sqrt(len(each)))


def exactly(value: float) -> Interval:
    """A number that is computed and not measured: nothing to sample, so no width."""
    return Interval(value, value, value)


def median_interval(values: ArrayLike, n: int = 10_000, seed: int = 0) -> Interval:
    """The median of repeated measurements (K,), with its 95 % bootstrap interval.

    For timings, of which there are many and which share no unit.
    """
    measured = np.asarray(values, dtype=float)
    draws = np.random.default_rng(seed).integers(len(measured), size=(n, len(measured)))
    low, high = np.percentile(np.median(measured[draws], axis=1), [2.5, 97.5])
    return Interval(float(np.median(measured)), float(low), float(high))
