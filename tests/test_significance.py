"""p-values without numpy agree with scipy's, and their corrections keep what they promise."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from scipy import stats

from dip_book.significance import equivalence, holm, sign_flip, skew, student_tail, t_test


def units(count: int, shift: float = 0.5, seed: int = 0) -> list[float]:
    return [*map(float, np.random.default_rng(seed).normal(shift, 1, count))]


def test_students_tail_is_scipys() -> None:
    for freedom in (*range(1, 13), 21, 40):
        for t in (0.0, 0.1, 1.0, -2.5, 12.0, 300.0):
            expected = 2 * stats.t.sf(abs(t), freedom)
            assert student_tail(t, freedom) == pytest.approx(expected, abs=1e-14)


@pytest.mark.parametrize("count", [2, 6, 11, 22])
@pytest.mark.parametrize("against", [0.0, 0.4, -1.0])
def test_the_t_test_is_scipys_and_agrees_with_the_interval(count: int, against: float) -> None:
    each = units(count)
    p = t_test(each, against)
    assert p == pytest.approx(stats.ttest_1samp(each, against).pvalue)
    low, high = stats.t.interval(0.95, count - 1, np.mean(each), stats.sem(each))
    assert (p < 0.05) == (not low <= against <= high)
    assert t_test([2 * u + 3 for u in each], 2 * against + 3) == pytest.approx(p)


def test_units_without_spread_are_certain_and_one_unit_says_nothing() -> None:
    assert t_test([1.0] * 3) == 0 and t_test([0.0] * 3) == 1
    assert equivalence([0.2] * 3, 0, 0.5) == 0 and equivalence([0.7] * 3, 0, 0.5) == 1
    assert math.isnan(t_test([1.0])) and math.isnan(equivalence([1.0], 0, 1))


def test_skew_is_scipys_and_turns_with_the_sign() -> None:
    each = units(9)
    assert skew(each) == pytest.approx(stats.skew(each))
    assert skew([-u for u in each]) == pytest.approx(-skew(each))
    assert skew([2.0] * 3) == 0


def test_sign_flips_count_every_pattern() -> None:
    each = units(7)
    sums = [abs(np.dot(signs, each)) for signs in product((-1, 1), repeat=7)]
    expected = np.mean([s >= abs(sum(each)) - 1e-9 for s in sums])
    assert sign_flip(each) == pytest.approx(expected)
    assert sign_flip([3.0, 2.0, 1.0, 4.0]) == 0.125  # as small as with four units it can be
    assert sign_flip([1.0, 1.0, 1.0], against=1.0) == 1
    assert sign_flip([0.0, 0.0, 5.0]) == 1  # a tie has no sign


def test_many_units_are_sampled_and_agree_with_the_t_test() -> None:
    each = units(22, shift=0.4)
    assert sign_flip(each) == sign_flip(each)
    assert sign_flip(each) == pytest.approx(t_test(each), rel=0.2)


def test_equivalence_is_two_one_sided_tests() -> None:
    each = units(11, shift=0.1)
    above = stats.ttest_1samp(each, -1, alternative="greater").pvalue
    below = stats.ttest_1samp(each, 1, alternative="less").pvalue
    assert equivalence(each, 0, 1) == pytest.approx(max(above, below))
    low, high = stats.t.interval(0.90, 10, np.mean(each), stats.sem(each))
    for margin in (0.3, 0.6, 0.9, 2.0):
        assert (equivalence(each, 0, margin) < 0.05) == (-margin < low and high < margin)


def test_a_mean_at_the_margin_is_called_equivalent_at_most_once_in_twenty() -> None:
    rng = np.random.default_rng(0)
    said = [equivalence([*rng.normal(1.0, 0.3, 8)], 0, 1) < 0.05 for _ in range(2000)]
    assert np.mean(said) == pytest.approx(0.05, abs=0.015)


def test_holms_values_are_those_of_the_method() -> None:
    found = holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.5})
    assert found == pytest.approx({"a": 0.04, "c": 0.09, "b": 0.09, "d": 0.5})
    assert list(found) == ["a", "b", "c", "d"]
    assert holm({"only": 0.02}) == {"only": 0.02} and holm({}) == {}
    assert holm({"a": 0.9, "b": 0.8})["a"] == 1


def test_with_four_claims_that_are_all_false_one_passes_at_most_once_in_twenty() -> None:
    rng = np.random.default_rng(0)
    tables = rng.normal(0, 1, (1000, 4, 8))
    passed = [
        any(p < 0.05 for p in holm({str(i): t_test([*u]) for i, u in enumerate(each)}).values())
        for each in tables
    ]
    assert np.mean(passed) <= 0.065
