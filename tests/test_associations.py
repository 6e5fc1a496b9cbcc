"""Rank correlations given other quantities, and differences whose units are datasets."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_records import records, stop
from scipy import stats

from dip_book.associations import PREDICTORS, associations, partial_spearman, rho_table, rhos_along
from dip_book.estimates import estimate_known
from dip_book.frame import frame
from dip_book.statistics import spearman
from dip_book.tables import differences

rng = np.random.default_rng(0)


@given(st.integers(0, 10_000))
def test_given_nothing_it_is_spearmans_rho(seed: int) -> None:
    x, y = np.random.default_rng(seed).normal(size=(2, 12))
    assert partial_spearman(x, y) == pytest.approx(float(spearman(x, y)))
    # what says nothing of either changes it little; a constant says nothing at all
    assert partial_spearman(x, y, [np.ones(12)]) == pytest.approx(float(spearman(x, y)))


@given(st.integers(0, 10_000))
def test_given_one_quantity_it_is_the_textbooks_formula(seed: int) -> None:
    x, y, z = np.random.default_rng(seed).normal(size=(3, 15))
    xy, xz, yz = (float(spearman(*pair)) for pair in ((x, y), (x, z), (y, z)))
    wanted = (xy - xz * yz) / np.sqrt((1 - xz**2) * (1 - yz**2))
    assert partial_spearman(x, y, [z]) == pytest.approx(wanted, abs=1e-9)
    # only ranks count
    assert partial_spearman(np.exp(x), y, [z**3]) == pytest.approx(wanted, abs=1e-9)


def test_what_only_follows_a_third_quantity_has_no_partial_correlation() -> None:
    z = np.arange(400.0)
    x, y = (z + 30 * rng.normal(size=400) for _ in range(2))
    assert partial_spearman(x, y) > 0.8
    assert abs(partial_spearman(x, y, [z])) < 0.15
    assert np.isnan(partial_spearman(z, y, [z]))  # nothing is left of it


def points(**columns: object) -> pd.DataFrame:
    t = np.arange(10.0)
    made = {"id1": t, "id1_read": -t, "update_norm": -t, "drift_words": t, "new": t, "base": t**0}
    each = pd.DataFrame({**made, **columns})
    cells = [(d, s) for d in ("greek", "latin") for s in (1, 2)]
    rows = [each.assign(dataset=d, seed=s, status="finished") for d, s in cells]
    return pd.concat(rows, ignore_index=True)


def test_associations_have_the_sign_that_is_expected_of_a_good_predictor() -> None:
    found = {name: each.value for name, each in associations(points()).items()}
    assert [*found] == [*PREDICTORS]
    assert list(found.values()) == pytest.approx([1, -1, 1, -1])
    assert associations(points(new=1.0)) == {}  # an accuracy that never moves has no order
    few = points().groupby(["dataset", "seed"]).head(3)
    assert associations(few) == {}


def test_rho_along_training_is_that_of_the_made_curves() -> None:
    runs = frame(records())  # density and new accuracy fall while base accuracy stays
    found = rhos_along(runs, "CoOp", "id1")
    assert found["new"].tolist() == pytest.approx([1, 1])
    assert found["base"].tolist() == [0, 0]
    row = rho_table(runs, {"ID1": "id1"}).loc["CoOp"]
    assert (row["ID1, new > 0"], row["datasets"]) == (2, 2)


def test_a_difference_is_students_over_datasets() -> None:
    ours, theirs = frame(records(shift=2.0)), frame(records())
    found = differences(ours[ours["last"]], theirs[theirs["last"]])
    assert found["new"].value == pytest.approx(2.0)
    assert (found["new"].low, found["new"].high) == pytest.approx((2.0, 2.0))
    assert found["base"].value == 0 and found["h"].value > 0
    gains = {f"d{i}": np.array([gain, gain]) for i, gain in enumerate(rng.normal(size=8))}
    means = [each.mean() for each in gains.values()]
    low, high = stats.t.interval(0.95, 7, np.mean(means), stats.sem(means))
    interval = estimate_known(gains)
    assert (interval.low, interval.high) == pytest.approx((low, high))


def test_a_stopped_run_leaves_both_sides() -> None:
    some = records(shift=2.0)
    some[0] = stop(some[0])
    ours, theirs = frame(some), frame(records())
    found = differences(ours[ours["last"]], theirs[theirs["last"]])
    assert found["new"].value == pytest.approx(2.0)
    with pytest.raises(ValueError, match="no dataset"):
        estimate_known({"greek": np.array([np.nan])})
