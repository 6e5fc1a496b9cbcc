"""The analysis of variance that tells what a seed does to all datasets alike."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from dip_book.shared_seeds import SeedEffect


def simulated(alike: float, generator: np.random.Generator) -> dict[str, np.ndarray]:
    """Eight datasets of their own level and five seeds, whose common effect has this deviation."""
    common = alike * generator.normal(size=5)
    return {str(i): 10 * generator.normal() + common + generator.normal(size=5) for i in range(8)}


def test_without_a_common_effect_p_is_uniform_and_with_one_it_is_small() -> None:
    generator = np.random.default_rng(1)
    none = [SeedEffect.of(simulated(0, generator)).p for _ in range(400)]
    assert stats.kstest(none, "uniform").pvalue > 0.01
    large = [SeedEffect.of(simulated(2, generator)).p for _ in range(100)]
    assert np.mean(np.array(large) < 0.05) > 0.95


def test_two_seeds_are_the_paired_t_test() -> None:
    one, other = np.random.default_rng(2).normal(size=(2, 6))
    found = SeedEffect.of({str(i): pair for i, pair in enumerate(zip(one, other, strict=True))})
    t = stats.ttest_rel(one, other)
    assert found.ratio == pytest.approx(t.statistic**2)
    assert found.p == pytest.approx(t.pvalue)
    assert found.deviation == pytest.approx(abs(np.mean(one - other)) / np.sqrt(2))


def test_levels_of_datasets_and_their_order_change_nothing() -> None:
    values = simulated(1, np.random.default_rng(3))
    found = SeedEffect.of(values)
    moved = {name: each + 100 * i for i, (name, each) in enumerate(reversed(values.items()))}
    for name, value in vars(SeedEffect.of(moved)).items():
        assert value == pytest.approx(getattr(found, name))


@pytest.mark.parametrize("values", [{"a": [1, 2]}, {"a": [1], "b": [2]}])
def test_too_little_for_a_table(values: dict[str, list[float]]) -> None:
    with pytest.raises(ValueError, match="two"):
        SeedEffect.of(values)
