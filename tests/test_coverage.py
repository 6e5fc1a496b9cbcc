"""Intervals hold the truth as often as they promise, with few datasets too."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from dip_book import coverage
from dip_book.coverage import DATASETS, KINDS, Draw, drawn_from, normal
from dip_book.estimates import Array

ROOT = Path(__file__).parents[1]
LEAST = 0.93
STUDIES = 1500
"""So many that a coverage of 95 % is found within 1.1 points, at two standard errors."""


@pytest.fixture(scope="module")
def residuals() -> dict[str, Array]:
    claims = ROOT / "book" / "claims.toml"
    return coverage.committed_residuals(claims, ROOT / "results" / "numbers")


@pytest.fixture(scope="module")
def draws(residuals: dict[str, Array]) -> dict[str, Draw]:
    rng = np.random.default_rng(0)
    every = np.concatenate([*residuals.values()])
    return {"normal": normal(rng), "committed": drawn_from(every, rng)}


@pytest.mark.parametrize("of", ["normal", "committed"])
@pytest.mark.parametrize("kind", KINDS)
def test_at_least_93_of_100_intervals_hold_the_truth(
    kind: str, of: str, draws: dict[str, Draw], residuals: dict[str, Array]
) -> None:
    found = {count: KINDS[kind](draws[of], count, STUDIES) for count in DATASETS}
    skew = coverage.skewness(np.concatenate([*residuals.values()]))
    assert min(found.values()) >= LEAST, f"{found}; the residuals' skew is {skew:.2f}"


def test_the_committed_residuals_are_standardised_and_not_normal(
    residuals: dict[str, Array],
) -> None:
    assert len(residuals) > 15
    for each in residuals.values():
        assert (each.mean(), each.std()) == pytest.approx((0, 1))
    skew = {name: coverage.skewness(each) for name, each in residuals.items()}
    assert max(map(abs, skew.values())) > 1, skew


def test_the_committed_report_is_what_a_shorter_simulation_finds() -> None:
    committed = json.loads((ROOT / "results" / coverage.COVERAGE).read_text("utf-8"))
    fresh = coverage.report(coverage.pools(ROOT / "book" / "claims.toml", ROOT / "results"), 200)
    for row, again in zip(committed, fresh, strict=True):
        assert {**row, "coverage": 0} == {**again, "coverage": 0}
        found, expected = ([*each["coverage"].values()] for each in (row, again))
        assert found == pytest.approx(expected, abs=12), row


def test_intervals_that_are_too_narrow_are_found_out(draws: dict[str, Draw]) -> None:
    def percentile(means: Array, rng: np.random.Generator) -> bool:
        drawn = rng.choice(means, (400, len(means))).mean(1)
        low, high = np.percentile(drawn, [2.5, 97.5])
        return bool(low <= 0 <= high)

    rng = np.random.default_rng(0)
    held = [percentile(draws["normal"]((6,)), rng) for _ in range(STUDIES)]
    assert np.mean(held) < LEAST - 0.02  # what a bootstrap over six datasets promises
