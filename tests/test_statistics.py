"""Laws of paired differences, correlations and what a study can find."""

import math
import warnings

import numpy as np
import pytest
from scipy import stats

from dip_book.estimates import estimate
from dip_book.statistics import (
    average_h,
    average_h_difference,
    detectable_effect,
    exactly,
    median_interval,
    paired,
    paired_difference,
    spearman,
)
from dip_lib.data.splits import harmonic_mean


def study(effect: float = 0.0, seed: int = 0, datasets: int = 11) -> dict[str, list[float]]:
    """Values of five seeds on each dataset; datasets differ more than seeds do."""
    rng = np.random.default_rng(seed)
    return {
        f"data{i}": list(effect + rng.normal(0, 3) + rng.normal(0, 1, 5)) for i in range(datasets)
    }


def test_paired_differences_forget_what_both_share() -> None:
    a = study(seed=3)
    b = {name: [v - 0.7 for v in values] for name, values in a.items()}
    found = paired_difference(a, b)
    assert (found.value, found.low, found.high) == pytest.approx((0.7, 0.7, 0.7))
    zero_shot = {name: [0.0] for name in a}
    assert paired(a, zero_shot)["data0"].tolist() == a["data0"]


def test_pairs_that_do_not_match_are_refused() -> None:
    with pytest.raises(ValueError, match="'b'"):
        paired_difference({"a": [1.0]}, {"a": [1.0], "b": [1.0]})
    with pytest.raises(ValueError, match="'a'"):
        paired_difference({"a": [1.0, 2.0, 3.0]}, {"a": [1.0, 2.0]})


def test_average_h_is_the_h_of_the_averages_not_the_average_of_the_hs() -> None:
    rng = np.random.default_rng(0)
    rows = {f"data{i}": rng.uniform(20, 90, (5, 4)) for i in range(11)}
    means = np.stack([r.mean(0) for r in rows.values()]).mean(0)
    first = estimate({n: r[:, :2] for n, r in rows.items()}, average_h)
    assert first.value == pytest.approx(harmonic_mean(means[0], means[1]))
    both = estimate(rows, average_h_difference)
    assert both.value == pytest.approx(first.value - harmonic_mean(means[2], means[3]))
    same = {name: np.hstack([r[:, :2], r[:, :2]]) for name, r in rows.items()}
    found = estimate(same, average_h_difference)
    assert (found.low, found.high) == (0, 0)  # a run stays with its pair


def test_spearman_is_scipys_along_the_last_axis() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 6, (2, 5, 11)).astype(float)  # with ties
    expected = [stats.spearmanr(a, b).statistic for a, b in zip(x, y, strict=True)]
    np.testing.assert_allclose(spearman(x, y), expected)
    assert spearman([1, 2, 3, 4], [10, 20, 30, 400]) == pytest.approx(1)
    assert spearman([1, 2, 3, 4], [-1, -2, -3, -4]) == pytest.approx(-1)


def test_spearman_of_a_constant_is_nan_without_a_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = spearman(np.array([[1, 1, 1], [1, 2, 3]]), np.array([[1, 2, 3], [1, 2, 3]]))
    assert np.isnan(found[0]) and found[1] == pytest.approx(1)


def test_a_rank_correlation_is_of_whole_trajectories() -> None:
    rng = np.random.default_rng(0)
    time = np.linspace(0, 1, 11)
    runs = {
        f"data{i}": np.stack(
            [-time + rng.normal(0, 0.05, (5, 11)), -(time**2) + np.zeros((5, 11))]
        ).swapaxes(0, 1)  # (S, 2, T)
        for i in range(11)
    }
    found = estimate(runs, lambda m: spearman(m[:, :, 0], m[:, :, 1]).mean(1))
    each = [float(spearman(*run.mean(0))) for run in runs.values()]
    assert found.value == pytest.approx(np.mean(each)) and found.units == pytest.approx(each)


def test_an_effect_as_large_as_the_detectable_one_is_found_four_times_in_five() -> None:
    effect = detectable_effect(estimate(study()).units)
    rng = np.random.default_rng(1)
    spread = np.std([np.mean(v) for v in study().values()], ddof=1)
    samples = rng.normal(effect, spread, (4000, 11))
    power = (stats.ttest_1samp(samples, 0, axis=1).pvalue < 0.05).mean()
    assert power == pytest.approx(0.8, abs=0.03)
    assert math.isnan(detectable_effect([1.0]))


def test_what_is_computed_has_no_width() -> None:
    assert exactly(0.25).columns == {"value": 0.25, "low": 0.25, "high": 0.25}


def test_the_interval_of_a_median_holds_it_and_shrinks_with_repetition() -> None:
    rng = np.random.default_rng(0)
    widths = []
    for repetitions in (10, 100, 1000):
        times = rng.lognormal(size=repetitions)
        found = median_interval(times, n=2000)
        assert found == median_interval(times, n=2000)
        assert found.value == np.median(times)
        assert found.low < found.value < found.high
        widths.append(found.high - found.low)
    assert widths[0] > 1.5 * widths[1] > 3 * widths[2]


def test_the_interval_of_a_median_ignores_one_slow_repetition_and_moves_with_the_unit() -> None:
    times = [1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7, 1.8]
    found, disturbed = median_interval(times), median_interval([*times[:-1], 60.0])
    assert disturbed.value == found.value == 1.4
    assert disturbed.high < 2
    thousand = median_interval(np.array(times) * 1000)
    for name, value in found.columns.items():
        assert thousand.columns[name] == pytest.approx(1000 * value)
    assert median_interval([3.0] * 5) == exactly(3.0)


def test_about_95_of_100_intervals_of_a_median_hold_the_true_one() -> None:
    rng = np.random.default_rng(0)
    found = [median_interval(rng.exponential(size=41), n=500, seed=i) for i in range(200)]
    held = sum(each.low <= math.log(2) <= each.high for each in found)
    assert 0.88 <= held / 200 <= 0.99
