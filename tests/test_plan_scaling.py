"""A study on more workers: limits of the model, and the costs it is made of."""

from __future__ import annotations

import math
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dip_study.plan import plan
from dip_study.plan_scaling import Rates, estimate, group_seconds, makespan, phases
from dip_study.profiles import load_profile

sys.path.append(str(Path(__file__).resolve().parents[1] / "book" / "_ext"))  # as Sphinx does
from companion.scaling import Scaling

SECONDS = st.lists(st.floats(0.01, 1000), min_size=1, max_size=40)
RATES = Rates(times_a_core=250.0, images_per_second=1500.0, client_seconds=0.01)


@given(SECONDS, st.integers(1, 50))
def test_no_sharing_is_faster_than_its_limits_nor_slower_than_one_worker(
    seconds: list[float], workers: int
) -> None:
    taken, work = makespan(seconds, workers), math.fsum(seconds)
    assert taken >= max(work / workers, max(seconds)) * (1 - 1e-12)
    assert taken <= work / workers + max(seconds) + 1e-9  # Graham 1966
    assert makespan(seconds, workers + 1) <= taken + 1e-9
    assert makespan(seconds, 1) == pytest.approx(work)


def test_the_bottleneck_is_the_limit_that_is_met_first() -> None:
    shared = estimate([[10.0] * 64], 64, 8, RATES)
    assert shared.bottleneck == "work" and shared.hours == pytest.approx(80 / 3600)
    assert shared.share_at_work == pytest.approx(1) and shared.worker_hours == 8 * shared.hours
    longest = estimate([[10.0] * 4 + [500.0]], 5, 8, RATES)
    assert longest.bottleneck == "longest group" and longest.hours == pytest.approx(500 / 3600)
    slow = replace(RATES, client_seconds=30.0)
    client = estimate([[10.0] * 64], 64, 64, slow)
    assert client.bottleneck == "client" and client.hours == pytest.approx(64 * 30 / 3600)


@pytest.mark.parametrize("seconds", [math.nan, math.inf])
def test_what_was_not_measured_is_no_estimate(seconds: float) -> None:
    with pytest.raises(ValueError):
        estimate([[1.0, seconds]], 2, 1, RATES)
    with pytest.raises(ValueError):
        estimate([[1.0]], 1, 0, RATES)


def test_groups_cost_together_what_the_plan_of_the_profile_says() -> None:
    few = replace(
        load_profile("paper"),
        **{"datasets": ("eurosat", "dtd"), "seeds": (1,), "only": ("base_to_new", "epochs")},
    )
    whole = plan(few, images_per_second=RATES.images_per_second).sum()
    seconds = group_seconds(few, RATES, workers=4)
    expected = 60 * (whole["image_minutes"] + whole["text_minutes"] / RATES.times_a_core)
    assert sum(map(math.fsum, seconds)) == pytest.approx(expected)
    assert sum(map(len, phases(few))) == whole["runs"]


def test_a_row_compares_workers_with_one_of_their_kind() -> None:
    seconds = {"processes, 1": [8.0], "Dask, 1": [9.0, 11.0], "Dask, 2": [5.0, 4.0, 6.0]}
    seconds["Dask, 2, other network"] = [8.0]
    rows = {
        (row["kind"], row["workers"]): row["times"] for row in Scaling.rows({"seconds": seconds})
    }
    assert rows == {
        ("processes", 1): 1.0,
        ("Dask", 1): 1.0,
        ("Dask", 2): 2.0,
        ("Dask, other network", 2): 1.25,
    }
