"""Does accuracy follow density: on made runs, where the answer is known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from made_records import POINTS, made, stop

from dip_book.correlations import (
    correlation_numbers,
    correlation_table,
    rank_trend,
    rho,
    rho_across_runs,
    rho_per_run,
    rho_pooled,
)
from dip_book.frame import frame
from dip_book.tables import trajectories

SIX = ("arrows", "boxes", "cyrillic", "dingbats", "greek", "latin")
"""As many datasets as a median needs to have an interval."""

# ---- correlation --------------------------------------------------------------------------------


def test_rho_is_one_for_whatever_moves_together() -> None:
    t = np.linspace(0, 1, POINTS)
    together = np.stack([60 - t**2, np.exp(-t), 1 - t, t], -1)  # new, id1, id2, epoch
    np.testing.assert_allclose(rho(together), [1, 1, 1])
    opposed = np.stack([60 + t, np.exp(-t), 1 - t, t], -1)
    np.testing.assert_allclose(rho(opposed), [-1, -1, -1])
    still = np.stack([0 * t, 1 - t, 1 - t, t], -1)
    np.testing.assert_allclose(rho(still), [0, 0, 0])
    stacked = rho(np.stack([together, opposed, still]))
    np.testing.assert_allclose(stacked, [[1] * 3, [-1] * 3, [0] * 3])


def test_the_correlation_table_has_a_row_a_dataset_on_the_average_of_its_seeds() -> None:
    noise = [made("latin", seed=s, new=lambda t, s=s: 50 - t + s * (t > 0.5)) for s in (-3, 3)]
    table = correlation_table(frame([*(made("greek", seed=s) for s in (1, 2)), *noise]))
    assert list(table.columns) == ["id1", "id2", "epoch"]
    assert sorted(table.index) == ["greek", "latin"]
    np.testing.assert_allclose(table.to_numpy(), 1)  # opposite seeds cancel


def test_correlation_numbers_of_monotone_runs_are_exact() -> None:
    falling = [made(d, seed=s) for d in SIX for s in (1, 2)]
    found = correlation_numbers(frame(falling))
    for key in ("median_rho_id1", "median_rho_id2", "median_rho_epoch"):
        assert (found[key].value, found[key].low, found[key].high) == pytest.approx((1, 1, 1))
    nothing = found["rho_id1_minus_rho_epoch"]
    assert (nothing.value, nothing.low, nothing.high) == pytest.approx((0, 0, 0))


def test_the_median_is_over_datasets() -> None:
    rising = made("boxes", new=lambda t: 50 + t)
    found = correlation_numbers(frame([*(made(d) for d in SIX if d != "boxes"), rising]))
    assert found["median_rho_id1"].value == pytest.approx(1)
    assert found["median_rho_id1"].low == pytest.approx(-1)


def test_single_runs_are_ranked_one_by_one_where_averages_would_cancel() -> None:
    noise = [made("latin", seed=s, new=lambda t, s=s: 50 - t + s * (t > 0.5)) for s in (-3, 3)]
    assert rho_per_run(frame([made("greek"), made("boxes")])).value == pytest.approx(1)
    assert rho_per_run(frame(noise)).value < 1  # of seed averages it is 1: see above


def test_pooling_forgets_how_easy_or_dense_a_dataset_is() -> None:
    easy = made("greek", new=lambda t: 90 - 10 * t)
    dense = made("latin", new=lambda t: 20 - 10 * t, id1=lambda t: 0.9 - 0.3 * t)
    found = rho_pooled(frame([easy, dense]))  # uncentred, the denser dataset is the harder one
    assert min(found.columns.values()) > 0.98  # ties of the two are broken by rounding
    rising = made("boxes", new=lambda t: 50 + 10 * t)
    assert abs(rho_pooled(frame([easy, rising])).value) < 0.1


# ---- effective rank and density across runs -----------------------------------------------------


def ranks(*spectra: Sequence[float]) -> list[float]:
    """The effective rank of each spectrum, by way of a record."""
    record = made()
    record["checkpoints"] = [{"singular": list(each)} for each in spectra]
    return trajectories(frame([record]), ["rank_effective"])["greek"][0, :, 0].tolist()


def test_the_effective_rank_counts_equal_directions_whatever_their_size() -> None:
    assert ranks([2.0], [5.0, 5.0], [0.1] * 4, [3.0, 0.0, 0.0]) == pytest.approx([1, 2, 4, 1])
    spectrum = np.array([8.0, 3.0, 1.0, 0.5])
    whole, scaled = ranks(spectrum, 1e-3 * spectrum)
    assert whole == pytest.approx(scaled)
    assert 1 < whole < 4
    flatter = ranks(spectrum + 1)[0]
    assert whole < flatter < 4


def test_the_numerical_rank_counts_what_is_not_zero_but_for_rounding() -> None:
    record = made()
    record["checkpoints"] = [{"singular": [4.0, 4e-3, 4e-6]}, {"singular": [2.0, 1.0, 1e-3]}]
    found = trajectories(frame([record]), ["rank_numerical"])["greek"][0, :, 0]
    assert found.tolist() == [2, 3]


def ranked(dataset: str, seed: int, sign: float) -> dict[str, Any]:
    """The prompt flattens along training, and new accuracy follows its sign."""
    found = made(dataset, seed=seed, new=lambda t: 50 - sign * t**2)
    for i, point in enumerate(found["checkpoints"]):
        point["singular"] = [20.0, 1.0 + i]
    return found


def test_the_rank_trend_is_one_where_accuracy_falls_as_the_rank_rises() -> None:
    for sign in (1, -1):
        runs = [ranked(d, s, sign) for d in SIX for s in (1, 2)]
        assert rank_trend(frame(runs)).columns == pytest.approx(
            {"value": sign, "low": sign, "high": sign}
        )
    mixed = rank_trend(frame([ranked(d, 1, -1 if d == "boxes" else 1) for d in SIX]))
    assert (mixed.value, mixed.low) == pytest.approx((1, -1))  # the median of the six


def ends(shift: float = 0.0, slope: float = 1.0) -> list[dict[str, Any]]:
    """Four methods on two datasets and two seeds; greek's new accuracy is shifted."""
    return [
        made(
            dataset,
            method,
            seed,
            new=lambda t, d=density, h=level + seed: 50 + slope * 30 * d * t + h,
            id1=lambda t, d=density: d,
        )
        for dataset, level in (("greek", shift), ("latin", 0.0))
        for seed in (1, 2)
        for method, density in (("coop", 0.4), ("do", 0.6), ("pp", 0.5), ("dip", 0.9))
    ]


def test_rho_across_runs_compares_only_runs_of_one_dataset_and_seed() -> None:
    for slope in (1, -1):
        for shift in (0.0, 40.0, -40.0):
            found = rho_across_runs(frame(ends(shift, slope)))
            assert found.columns == pytest.approx({"value": slope, "low": slope, "high": slope})
    pooled = ends(40.0, -1)[:4] + ends(-40.0, -1)[8:]
    assert rho_across_runs(frame(pooled)).value == pytest.approx(
        -1
    )  # though pooled density would differ
    half = ends(slope=1)[:8] + ends(slope=-1)[8:]
    assert rho_across_runs(frame(half)).value == pytest.approx(0)  # the mean of the datasets
    unequal = ends(slope=1)[:8] + ends(slope=-1)[8:12]
    assert rho_across_runs(frame(unequal)).value == pytest.approx(0)  # however many seeds they have


def test_rho_across_runs_leaves_out_what_stopped() -> None:
    runs = ends()
    stop(runs[3])["checkpoints"][-1]["new"] = 0.0
    assert rho_across_runs(frame(runs)).value == pytest.approx(1)
