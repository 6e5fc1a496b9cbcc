"""Laws of the intervals and correlations."""

import math
import warnings

import numpy as np
import pytest
from scipy import stats

from dip_book.statistics import (
    average_h,
    average_h_difference,
    crossed_bootstrap,
    detectable_effect,
    exactly,
    hierarchical_bootstrap,
    median_interval,
    paired,
    paired_difference,
    spearman,
    wilcoxon,
)
from dip_lib.data.splits import harmonic_mean


def study(effect: float = 0.0, seed: int = 0, datasets: int = 11) -> dict[str, list[float]]:
    """Values of five seeds on each dataset; datasets differ more than seeds do."""
    rng = np.random.default_rng(seed)
    return {
        f"data{i}": list(effect + rng.normal(0, 3) + rng.normal(0, 1, 5)) for i in range(datasets)
    }


def test_the_value_weighs_datasets_alike_whatever_their_number_of_seeds() -> None:
    found = hierarchical_bootstrap({"a": [1.0, 3.0], "b": [10.0]})
    assert found.value == 6
    assert (found.low, found.high) == (1.5, 10)  # both places "a", or both "b"


def test_the_interval_is_reproducible_moves_and_scales_with_the_values() -> None:
    values = study()
    found = hierarchical_bootstrap(values, seed=1)
    assert found == hierarchical_bootstrap(values, seed=1)
    assert found.low < found.value < found.high
    moved = hierarchical_bootstrap({n: np.array(v) * 2 + 5 for n, v in values.items()}, seed=1)
    for before, after in zip(vars(found).values(), vars(moved).values(), strict=True):
        assert after == pytest.approx(2 * before + 5)


def test_values_without_spread_have_an_interval_of_no_width() -> None:
    found = hierarchical_bootstrap({name: [2.5] * 3 for name in "abc"})
    assert (found.value, found.low, found.high) == (2.5, 2.5, 2.5)


def test_the_spread_is_that_of_drawing_datasets_then_seeds() -> None:
    values = study(datasets=40)
    found = hierarchical_bootstrap(values)
    table = np.array(list(values.values()))
    variance = table.mean(1).var() / 40 + table.var(1).mean() / 5 / 40
    assert (found.high - found.low) / (2 * 1.96) == pytest.approx(math.sqrt(variance), rel=0.05)


def test_about_95_of_100_intervals_hold_the_truth() -> None:
    held = 0
    for seed in range(200):
        found = hierarchical_bootstrap(study(effect=1.0, seed=seed), n=1000, seed=seed)
        held += found.low <= 1.0 <= found.high
    assert 0.88 <= held / 200 <= 0.99


@pytest.mark.parametrize("values", [{}, {"a": [1.0], "b": []}, {"a": [1.0], "b": [math.nan]}])
def test_nothing_and_not_a_number_are_refused(values: dict[str, list[float]]) -> None:
    with pytest.raises(ValueError, match="dataset"):
        hierarchical_bootstrap(values)


def mean(cells: np.ndarray) -> np.ndarray:
    return np.asarray(cells.mean((1, 2)))


def test_shared_conditions_do_not_count_as_independent() -> None:
    rng = np.random.default_rng(0)
    of_dataset, of_condition = rng.normal(0, 3, 30), rng.normal(0, 2, 20)
    cells = of_dataset[:, None, None] + of_condition[None, :, None] + np.zeros((30, 20, 4))
    found = crossed_bootstrap(cells, mean, n=4000)
    assert found.value == pytest.approx(cells.mean())
    # the variance of two crossed means, not that of 600 independent cells
    spread = math.sqrt(of_dataset.var() / 30 + of_condition.var() / 20)
    assert (found.high - found.low) / (2 * 1.96) == pytest.approx(spread, rel=0.05)


def test_under_one_condition_it_is_the_hierarchical_bootstrap() -> None:
    values = study(datasets=40)
    crossed = crossed_bootstrap(np.array(list(values.values()))[:, None], mean, n=10_000)
    nested = hierarchical_bootstrap(values)
    assert crossed.value == pytest.approx(nested.value)
    assert crossed.high - crossed.low == pytest.approx(nested.high - nested.low, rel=0.05)


def test_paired_differences_forget_what_both_share() -> None:
    a = study(seed=3)
    b = {name: [v - 0.7 for v in values] for name, values in a.items()}
    found = paired_difference(a, b)
    assert (found.value, found.low, found.high) == pytest.approx((0.7, 0.7, 0.7))
    assert wilcoxon(a, b) < 0.01
    assert wilcoxon(a, a) == 1
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
    first = hierarchical_bootstrap({n: r[:, :2] for n, r in rows.items()}, average_h)
    assert first.value == pytest.approx(harmonic_mean(means[0], means[1]))
    both = hierarchical_bootstrap(rows, average_h_difference)
    assert both.value == pytest.approx(first.value - harmonic_mean(means[2], means[3]))
    same = {name: np.hstack([r[:, :2], r[:, :2]]) for name, r in rows.items()}
    found = hierarchical_bootstrap(same, average_h_difference)
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


def test_a_rank_correlation_of_trajectories_is_bootstrapped_as_a_whole() -> None:
    rng = np.random.default_rng(0)
    time = np.linspace(0, 1, 11)
    runs = {
        f"data{i}": np.stack(
            [-time + rng.normal(0, 0.05, (5, 11)), -(time**2) + np.zeros((5, 11))]
        ).swapaxes(0, 1)  # (S, 2, T)
        for i in range(11)
    }
    found = hierarchical_bootstrap(
        runs, lambda m: np.median(spearman(m[:, :, 0], m[:, :, 1]), axis=1), n=500
    )
    assert 0.9 < found.low <= found.value <= found.high <= 1


def test_an_effect_as_large_as_the_detectable_one_is_found_four_times_in_five() -> None:
    effect = detectable_effect(study())
    rng = np.random.default_rng(1)
    spread = np.std([np.mean(v) for v in study().values()], ddof=1)
    samples = rng.normal(effect, spread, (4000, 11))
    power = (stats.ttest_1samp(samples, 0, axis=1).pvalue < 0.05).mean()
    assert power == pytest.approx(0.8, abs=0.03)
    assert math.isnan(detectable_effect({"only": [1.0, 2.0]}))


def test_what_is_computed_has_no_width() -> None:
    assert vars(exactly(0.25)) == {"value": 0.25, "low": 0.25, "high": 0.25}


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
    np.testing.assert_allclose([*vars(thousand).values()], [v * 1000 for v in vars(found).values()])
    assert median_interval([3.0] * 5) == exactly(3.0)


def test_about_95_of_100_intervals_of_a_median_hold_the_true_one() -> None:
    rng = np.random.default_rng(0)
    found = [median_interval(rng.exponential(size=41), n=500, seed=i) for i in range(200)]
    held = sum(each.low <= math.log(2) <= each.high for each in found)
    assert 0.88 <= held / 200 <= 0.99
