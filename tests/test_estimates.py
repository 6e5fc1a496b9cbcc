"""Laws of estimates: Student's interval, the jackknife's, that over seeds, and a median's."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from test_statistics import study

from dip_book.estimates import (
    average,
    crossed,
    estimate,
    jackknife,
    median_of,
    over_seeds,
    p_over_seeds,
)
from dip_book.statistics import average_h_difference


def table(values: dict[str, list[float]]) -> np.ndarray:
    return np.array([*values.values()])


def test_of_an_average_it_is_students_interval_of_the_dataset_means() -> None:
    for datasets in (2, 6, 11):
        means = table(study(datasets=datasets)).mean(1)
        found = estimate(study(datasets=datasets))
        low, high = stats.t.interval(0.95, datasets - 1, means.mean(), stats.sem(means))
        assert (found.value, found.low, found.high) == pytest.approx((means.mean(), low, high))
        assert found.units == pytest.approx(means)


def test_the_value_weighs_datasets_alike_whatever_their_number_of_seeds() -> None:
    found = estimate({"a": [1.0, 3.0], "b": [10.0]})
    assert found.value == 6 and found.units == (2, 10)
    assert found.these is None  # nothing was repeated in b


def test_it_moves_and_scales_with_the_values_and_the_order_is_nothing() -> None:
    found = estimate(study())
    moved = estimate({name: np.array(v) * 2 + 5 for name, v in reversed(study().items())})
    for name, value in found.columns.items():
        assert moved.columns[name] == pytest.approx(2 * value + 5)
    assert moved.these == pytest.approx([2 * end + 5 for end in found.these or ()])


def test_values_without_spread_have_an_interval_of_no_width() -> None:
    found = estimate({name: [2.5] * 3 for name in "abc"})
    assert (found.low, found.high, found.these) == (2.5, 2.5, (2.5, 2.5))


def test_seeds_that_repeat_others_make_no_interval_over_new_datasets_narrower() -> None:
    twice = estimate({name: [*v, *v] for name, v in study().items()})
    assert twice.columns == pytest.approx(estimate(study()).columns)


def test_over_these_datasets_it_is_welch_and_satterthwaites() -> None:
    rng = np.random.default_rng(0)
    two = {"a": rng.normal(0, 1, 4), "b": rng.normal(5, 3, 7)}
    a, b = two.values()
    low, high = stats.ttest_ind(a, -b, equal_var=False).confidence_interval(0.95)  # of a + b
    assert estimate(two).these == pytest.approx((low / 2, high / 2))


def test_how_far_datasets_are_apart_says_nothing_of_these_datasets() -> None:
    far = {name: np.array(v) + 100 * i for i, (name, v) in enumerate(study().items())}
    near, wide = estimate(study()), estimate(far)
    assert near.these is not None and wide.these is not None
    assert np.diff(wide.these) == pytest.approx(np.diff(near.these))
    assert wide.high - wide.low > 10 * (near.high - near.low)


def test_of_a_single_dataset_the_ends_are_those_over_seeds() -> None:
    values = [1.0, 2.0, 4.0]
    found = estimate({"only": values})
    assert (found.low, found.high) == found.these
    assert found.these == pytest.approx(
        stats.t.interval(0.95, 2, np.mean(values), stats.sem(values))
    )
    assert found.units == ()
    single = estimate({"only": [2.0]})
    assert single.value == 2 and math.isnan(single.low) and single.sign == 0
    assert (f"{single:.1f}", single.ends(".1f")) == ("2.0", "not known")


def test_the_jackknife_of_a_smooth_statistic_agrees_with_its_linear_part() -> None:
    rng = np.random.default_rng(0)
    rows = {f"data{i}": 60 + rng.normal(0, 1, (5, 4)) for i in range(11)}
    found = estimate(rows, average_h_difference)
    at = np.stack([r.mean(0) for r in rows.values()])
    slopes = np.array([[1, 1, -1, -1]]) / 2  # of H where base and new are alike
    linear = (at - at.mean(0)) @ slopes[0]
    assert np.array(found.units) - found.value == pytest.approx(linear, abs=0.01)


@pytest.mark.parametrize("values", [{}, {"a": [1.0], "b": []}, {"a": [1.0], "b": [math.nan]}])
def test_nothing_and_not_a_number_are_refused(values: dict[str, list[float]]) -> None:
    with pytest.raises(ValueError, match="dataset"):
        estimate(values)


# ---- crossed, median ----------------------------------------------------------------------------


def mean(cells: np.ndarray) -> np.ndarray:
    return np.asarray(cells.mean((1, 2)))


def test_shared_conditions_do_not_count_as_independent() -> None:
    rng = np.random.default_rng(0)
    of_dataset, of_condition = rng.normal(0, 3, 30), rng.normal(0, 2, 20)
    cells = of_dataset[:, None, None] + of_condition[None, :, None] + np.zeros((30, 20, 4))
    found = crossed(cells, mean)
    assert found.value == pytest.approx(cells.mean())
    # the variance of two crossed means, not that of 600 independent cells
    spread = math.sqrt(of_dataset.var(ddof=1) / 30 + of_condition.var(ddof=1) / 20)
    assert (found.high - found.low) / 2 / spread == pytest.approx(2.02, abs=0.03)
    assert found.these == pytest.approx((found.value, found.value))


def test_under_one_condition_it_is_the_estimate_over_datasets() -> None:
    values = table(study())
    found, nested = crossed(values[:, None], mean), estimate(study())
    assert found.columns == pytest.approx(nested.columns)
    assert found.these == pytest.approx(nested.these)
    assert math.isnan(crossed(values[:1, None], mean).low)


def test_a_median_lies_between_order_statistics_and_needs_six_datasets() -> None:
    def of(count: int) -> tuple[float, float, float]:
        found = median_of({str(i): float(i) for i in range(1, count + 1)})
        return found.value, found.low, found.high

    assert (of(6), of(8), of(11), of(22)) == ((3.5, 1, 6), (4.5, 1, 8), (6, 2, 10), (11.5, 6, 17))
    for count in range(6, 30):
        _, low, _ = of(count)
        assert 1 - 2 * stats.binom.cdf(low - 1, count, 0.5) >= 0.95
        assert 1 - 2 * stats.binom.cdf(low, count, 0.5) < 0.95  # no narrower pair would do
    assert math.isnan(of(5)[1])


def test_a_seed_alone_gives_no_interval_over_seeds() -> None:
    assert over_seeds([np.ones(2), np.ones(1)], lambda m: m.mean(1)) is None


def test_a_p_value_over_seeds_is_below_5_percent_exactly_outside_the_ends() -> None:
    arrays = [np.array(each) for each in study(datasets=5).values()]
    value, ends = estimate(study(datasets=5)).value, over_seeds(arrays, average)
    assert ends is not None
    for end in ends:
        assert p_over_seeds(arrays, average, end) == pytest.approx(0.05)
    assert p_over_seeds(arrays, average, value) == pytest.approx(1)
    assert (
        p_over_seeds(arrays, average, ends[1] + 1)
        < 0.05
        < p_over_seeds(arrays, average, value + 1e-9)
    )
    one = [np.array([[1.0], [2.0], [4.0]])[:, 0]]
    assert p_over_seeds(one, average) == pytest.approx(stats.ttest_1samp(one[0], 0).pvalue)
    assert math.isnan(p_over_seeds([np.ones(2), np.ones(1)], average))


def test_a_jackknife_of_one_unit_has_no_interval() -> None:
    one = jackknife(np.array([[1.0, 3.0]]), mean)
    assert one.value == 2 and one.sign == 0
    assert np.isnan([one.low, one.high]).all()
