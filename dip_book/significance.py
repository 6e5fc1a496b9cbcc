"""p-values of units, and their correction for several claims.

The book's scoreboard is built without numpy, so this needs the standard library alone. Units are
one number a dataset, as ``Interval`` has them.
"""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Mapping, Sequence

EXACT = 16
"""Up to so many units every pattern of signs is counted; of more, SAMPLED are drawn."""
SAMPLED = 20_000


def student_tail(t: float, freedom: int) -> float:
    """P(|T| >= |t|) for Student's distribution with a whole number of degrees of freedom.

    The finite sums of Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.3 and 26.7.4.
    """
    angle = math.atan(abs(t) / math.sqrt(freedom))
    cosine, odd = math.cos(angle), freedom % 2
    term, total = (cosine if odd else 1.0), 0.0
    for k in range(2 + odd, freedom + 1, 2):
        total += term
        term *= cosine**2 * (k - 1) / k
    inside = math.sin(angle) * total
    return min(1.0, max(0.0, 1 - (2 / math.pi * (angle + inside) if odd else inside)))


def _t(units: Sequence[float], against: float) -> float:
    """Student's statistic; infinite where units without spread lie elsewhere."""
    away, spread = statistics.fmean(units) - against, statistics.stdev(units)
    if spread == 0:
        return math.copysign(math.inf, away) if away else 0.0
    return away / spread * math.sqrt(len(units))


def skew(units: Sequence[float]) -> float:
    """The mean cube of the units' distances from their mean, in standard deviations."""
    mean, spread = statistics.fmean(units), statistics.pstdev(units)
    return statistics.fmean(((u - mean) / spread) ** 3 for u in units) if spread else 0.0


def t_test(units: Sequence[float], against: float = 0.0) -> float:
    """Two-sided p of Student's test that the mean of the units is ``against``.

    It is below 0.05 exactly where the 95 % interval leaves ``against`` out. nan for one unit.
    """
    if len(units) < 2:
        return math.nan
    return student_tail(_t(units, against), len(units) - 1)


def sign_flip(units: Sequence[float], against: float = 0.0) -> float:
    """Two-sided p of the sign-flip test: how many patterns of signs give a mean as far away.

    Exact up to EXACT units, where it assumes only that each unit lies above and below alike; of
    more units, patterns are drawn with a fixed seed. It cannot fall below 2^(1 - D).
    """
    away = [unit - against for unit in units]
    least = abs(math.fsum(away)) - 1e-9 * math.fsum(map(abs, away))
    if len(away) > EXACT:
        draw = random.Random(0).choice
        sums = [sum(draw((-1, 1)) * d for d in away) for _ in range(SAMPLED)]
        return (1 + sum(abs(each) >= least for each in sums)) / (1 + SAMPLED)
    sums = [0.0]
    for d in away:
        sums = [each + d for each in sums] + [each - d for each in sums]
    return sum(abs(each) >= least for each in sums) / len(sums)


def equivalence(units: Sequence[float], against: float, margin: float) -> float:
    """p of two one-sided tests: that the mean lies ``margin`` or more away from ``against``.

    The larger of the two; below 0.05 the mean is equivalent to ``against``. nan for one unit.
    """
    if len(units) < 2:
        return math.nan
    tails = []
    for side in (-1, 1):
        t = side * _t(units, against + side * margin)  # below 0 where the mean is inside
        half = student_tail(t, len(units) - 1) / 2
        tails.append(half if t < 0 else 1 - half)
    return max(tails)


def holm(ps: Mapping[str, float]) -> dict[str, float]:
    """Holm's adjusted p-values: below 0.05 for a claim, with at most 5 % chance that any is false.

    The smallest p is multiplied by the number of claims, the next by one less, and so on; none is
    smaller than the one before it, nor above 1.
    """
    adjusted, least = {}, 0.0
    for place, name in enumerate(sorted(ps, key=lambda name: ps[name])):
        least = max(least, min(1.0, (len(ps) - place) * ps[name]))
        adjusted[name] = least
    return {name: adjusted[name] for name in ps}
