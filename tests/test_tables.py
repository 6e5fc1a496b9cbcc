"""Tables on made records, where the answer is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from dip_book.tables import (
    averages,
    correlation_numbers,
    correlation_table,
    differences,
    final,
    rate_table,
    rho,
    subset,
    trajectories,
    where,
)
from dip_lib.datasets import harmonic_mean

POINTS = 11
Curve = Callable[[float], float]


def made(
    dataset: str = "greek",
    method: str = "coop",
    seed: int = 1,
    new: Curve = lambda t: 60 - 10 * t,
    base: Curve = lambda t: 60 + 10 * t,
    id1: Curve = lambda t: 0.6 - 0.3 * t,
    **spec: Any,
) -> dict[str, Any]:
    """A record whose curves are functions of the time t in 0..1."""
    times = [i / (POINTS - 1) for i in range(POINTS)]
    checkpoints = [
        {"epoch": i, "base": base(t), "new": new(t), "val": base(t) - 1, "id": [id1(t), id1(t) / 2]}
        for i, t in enumerate(times)
    ]
    spec = {"dataset": dataset, "method": method, "seed": seed, "lr": 0.03} | spec
    return {"spec": spec, "status": "finished", "checkpoints": checkpoints}


def study(method: str = "coop", shift: float = 0.0, seeds: Sequence[int] = (1, 2)) -> list[Any]:
    """Two datasets by some seeds, with accuracies that differ between all of them."""

    def one(dataset: str, level: float, seed: int) -> dict[str, Any]:
        height = level + seed
        return made(dataset, method, seed, lambda t: 50 + height - 9 * t + shift, lambda t: height)

    return [one(d, level, s) for d, level in (("greek", 3.0), ("latin", 8.0)) for s in seeds]


def test_where_selects_by_every_named_setting() -> None:
    records = [*study("coop"), *study("dip")]
    assert len(where(records, method="dip")) == 4
    assert len(where(records, method="dip", seed=2)) == 2
    assert where(records, method="probe") == []


def test_trajectories_are_seeds_by_points_by_fields_in_order_of_seed() -> None:
    found = trajectories(reversed(study()), ("epoch", "new", "id1", "id2"))
    assert found.keys() == {"greek", "latin"}
    assert found["greek"].shape == (2, POINTS, 4)
    np.testing.assert_allclose(found["greek"][:, 0, 1], [54, 55])
    np.testing.assert_allclose(found["greek"][..., 3], found["greek"][..., 2] / 2)
    np.testing.assert_allclose(found["greek"][0, :, 0], range(POINTS))


def test_final_values_are_those_of_the_last_checkpoint() -> None:
    np.testing.assert_allclose(final(study(), "new")["latin"], [50, 51])
    np.testing.assert_allclose(final(study(), "base", "new")["greek"], [[4, 45], [5, 46]])


def test_a_stopped_run_is_left_out() -> None:
    records = study()
    records[0]["status"] = "stopped: non-finite loss in epoch 3"
    del records[0]["checkpoints"][-1]["id"]
    assert trajectories(records, ("new", "id1"))["greek"].shape == (1, POINTS, 2)


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
    table = correlation_table([*(made("greek", seed=s) for s in (1, 2)), *noise])
    assert list(table.columns) == ["id1", "id2", "epoch"]
    assert sorted(table.index) == ["greek", "latin"]
    np.testing.assert_allclose(table.to_numpy(), 1)  # opposite seeds cancel


def test_correlation_numbers_of_monotone_runs_are_exact() -> None:
    falling = [made(d, seed=s) for d in ("greek", "latin", "boxes") for s in (1, 2)]
    found = correlation_numbers(falling)
    for key in ("median_rho_id1", "median_rho_id2", "median_rho_epoch"):
        assert (found[key].value, found[key].low, found[key].high) == pytest.approx((1, 1, 1))
    nothing = found["rho_id1_minus_rho_epoch"]
    assert (nothing.value, nothing.low, nothing.high) == pytest.approx((0, 0, 0))


def test_the_median_is_over_datasets() -> None:
    rising = made("boxes", new=lambda t: 50 + t)
    found = correlation_numbers([made("greek"), made("latin"), rising])
    assert found["median_rho_id1"].value == pytest.approx(1)
    assert found["median_rho_id1"].low == pytest.approx(-1)


# ---- base to new --------------------------------------------------------------------------------


def test_averages_are_over_datasets_and_h_is_of_the_averages() -> None:
    found = averages(study())
    assert found["base"].value == pytest.approx(7.0)
    assert found["new"].value == pytest.approx(48.0)
    assert found["h"].value == pytest.approx(harmonic_mean(7.0, 48.0))
    for interval in found.values():
        assert interval.low <= interval.value <= interval.high
    alone = averages(study(), ["greek"])
    assert alone["base"].value == pytest.approx(4.5)
    assert averages(study(), ["greek", "absent"]) == alone


def test_runs_do_not_differ_from_themselves() -> None:
    for interval in differences(study("dip"), study("coop")).values():
        assert (interval.value, interval.low, interval.high) == (0, 0, 0)


def test_a_constant_gain_is_found_without_doubt() -> None:
    found = differences(study("dip", shift=2.5), study("coop"))
    new = found["new"]
    assert (new.value, new.low, new.high) == pytest.approx((2.5, 2.5, 2.5))
    assert found["base"].value == 0
    assert found["h"].value > 0
    back = differences(study("coop"), study("dip", shift=2.5))
    assert back["new"].value == pytest.approx(-2.5)
    assert back["h"].value == pytest.approx(-found["h"].value)


def test_one_zero_shot_run_stands_for_all_seeds() -> None:
    zero = study("zero-shot", seeds=(0,))
    found = differences(study("coop"), zero)
    assert found["new"].value == pytest.approx(1.5)
    assert found["base"].value == pytest.approx(1.5)


def test_unpaired_runs_are_refused() -> None:
    with pytest.raises(ValueError, match="not paired.*'latin'"):
        differences(study("dip"), where(study("coop"), dataset="greek"))
    with pytest.raises(ValueError, match="not paired: .*3 seeds against 2"):
        differences(study("dip", seeds=(1, 2, 3)), study("coop"))


def test_subset_keeps_the_named_datasets() -> None:
    values = {"greek": np.ones(2), "latin": np.zeros(2)}
    assert subset(values, None) is values
    assert subset(values, ["latin", "absent"]).keys() == {"latin"}


def test_the_rate_table_averages_each_rate_over_datasets() -> None:
    slow = [made(d, base=lambda t: 40 + t, lr=0.01) for d in ("greek", "latin")]
    fast = [made(d, base=lambda t: 70 + t, lr=0.1) for d in ("greek", "latin")]
    table = rate_table([*fast, *slow])
    assert list(table.index) == [0.01, 0.1]
    np.testing.assert_allclose(table["base"], [41, 71])
    np.testing.assert_allclose(table["val"], [40, 70])
    np.testing.assert_allclose(table["new"], [50, 50])
