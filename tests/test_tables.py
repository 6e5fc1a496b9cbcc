"""Tables on made runs, where the answer is known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from made_records import POINTS, made, records, stop, study

from dip_book.frame import frame
from dip_book.tables import (
    average_of,
    averages,
    differences,
    final,
    gap,
    over_seeds,
    published,
    rate_table,
    shrunk,
    subset,
    summary,
    sweep,
    sweep_h,
    trajectories,
)
from dip_lib.data import harmonic_mean


def test_trajectories_are_seeds_by_points_by_fields_in_order_of_seed() -> None:
    found = trajectories(frame(reversed(records())), ("epoch", "new", "id1", "id2"))
    assert found.keys() == {"greek", "latin"}
    assert found["greek"].shape == (2, POINTS, 4)
    np.testing.assert_allclose(found["greek"][:, 0, 1], [54, 55])
    np.testing.assert_allclose(found["greek"][..., 3], found["greek"][..., 2] / 2)
    np.testing.assert_allclose(found["greek"][0, :, 0], range(POINTS))


def test_final_values_are_those_of_the_last_checkpoint() -> None:
    np.testing.assert_allclose(final(study(), "new")["latin"], [50, 51])
    np.testing.assert_allclose(final(study(), "base", "new")["greek"], [[4, 45], [5, 46]])


def test_a_stopped_run_is_left_out() -> None:
    runs = records()
    del stop(runs[0])["checkpoints"][-1]["id"]
    assert trajectories(frame(runs), ("new", "id1"))["greek"].shape == (1, POINTS, 2)


def test_runs_of_different_lengths_are_no_trajectory() -> None:
    runs = records()
    del runs[0]["checkpoints"][3]
    with pytest.raises(ValueError, match="same shape"):
        trajectories(frame(runs), ["new"])
    assert final(frame(runs), "new")["greek"].shape == (2,)


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
    with pytest.raises(ValueError, match="latin"):
        differences(study("dip"), study("coop").query("dataset == 'greek'"))
    with pytest.raises(ValueError, match="greek"):
        differences(study("dip", seeds=(1, 2, 3)), study("coop"))


@pytest.mark.parametrize("seeds", [(1,), (2, 3), (1, 2, 3)])
def test_runs_of_other_seeds_are_no_pairs(seeds: tuple[int, ...]) -> None:
    # neither a single run nor as many runs of other draws may stand for the missing ones
    for compare in (gap, differences):
        with pytest.raises(ValueError, match="greek"):
            compare(study("dip", seeds=seeds), study("coop"))


def test_subset_keeps_the_named_datasets() -> None:
    values = {"greek": np.ones(2), "latin": np.zeros(2)}
    assert subset(values, None) is values
    assert subset(values, ["latin", "absent"]).keys() == {"latin"}


def test_the_rate_table_averages_each_rate_over_datasets() -> None:
    slow = [made(d, base=lambda t: 40 + t, lr=0.01) for d in ("greek", "latin")]
    fast = [made(d, base=lambda t: 70 + t, lr=0.1) for d in ("greek", "latin")]
    table = rate_table(frame([*fast, *slow]))
    assert list(table.index) == [0.01, 0.1]
    np.testing.assert_allclose(table["base"], [41, 71])
    np.testing.assert_allclose(table["val"], [40, 70])
    np.testing.assert_allclose(table["new"], [50, 50])


# ---- any study ----------------------------------------------------------------------------------


def test_the_average_weighs_datasets_alike() -> None:
    runs = frame([*records(), made("latin", seed=3, base=lambda t: 13.0)])
    assert average_of(runs, "base").value == pytest.approx((4.5 + (9 + 10 + 13) / 3) / 2)


def test_a_gap_turns_its_sign_with_its_sides_and_forgets_what_they_share() -> None:
    gained, theirs = records("dip", shift=2.5), study("coop")
    gained[0]["checkpoints"][-1]["new"] += 1  # one seed of one dataset of two
    ours = frame(gained)
    there, back = gap(ours, theirs, "new"), gap(theirs, ours, "new")
    assert there.value == pytest.approx(2.75)
    assert (back.value, back.low, back.high) == pytest.approx((-2.75, -there.high, -there.low))
    assert sorted(there.units) == pytest.approx([2.5, 3.0])
    nothing = gap(frame(reversed(records())), study(), "new")
    assert nothing.columns == {"value": 0, "low": 0, "high": 0}
    assert gap(study(), study("zero-shot", seeds=(0,))).value == pytest.approx(1.5)


def test_a_sweep_has_the_mean_at_each_value_in_order_with_a_band_around_it() -> None:
    runs = [
        made(d, seed=s, base=lambda t, x=shots, y=level + s: 10 * x + y, shots=shots)
        for shots in (16, 1, 4)
        for d, level in (("greek", 0.0), ("latin", 3.0), ("boxes", 9.0))
        for s in (1, 2)
    ]
    table = sweep(frame(runs), "shots", "base")
    assert list(table.index) == [1, 4, 16]
    np.testing.assert_allclose(table["value"], [15.5, 45.5, 165.5])
    assert (table["low"] < table["value"]).all() and (table["value"] < table["high"]).all()
    halves = table["high"] - table["value"]
    np.testing.assert_allclose(halves, halves.iloc[0])  # the datasets are as far apart at each
    alone = sweep(frame(runs[:2] + runs[6:8] + runs[12:14]), "shots", "base")
    np.testing.assert_allclose(alone, np.array([[11.5, 11, 12], [41.5, 41, 42], [161.5, 161, 162]]))
    assert over_seeds(np.array([3.0, 1.0, 8.0])).value == 4
    five = [made(seed=s, base=lambda t, y=s: y, shots=1) for s in (1, 2, 3, 4, 10)]
    np.testing.assert_allclose(
        sweep(frame(five), "shots", "base"), [[4, 1, 10]]
    )  # the range over seeds


def test_a_sweep_of_h_is_of_the_averages() -> None:
    runs = pd.concat([study().assign(epochs=epochs) for epochs in (40, 10)])
    table = sweep_h(runs, "epochs")
    assert list(table.index) == [10, 40]
    np.testing.assert_allclose(table["value"], harmonic_mean(7.0, 48.0))
    assert (table["low"] <= table["value"]).all() and (table["value"] <= table["high"]).all()


def test_a_summary_row_has_h_of_the_averages_and_the_mean_of_each_h() -> None:
    flat = [made("greek", base=lambda t: 90.0, new=lambda t: 30.0)]
    flat += [made("latin", base=lambda t: 40.0, new=lambda t: 80.0)]
    table = summary({"CoOp": frame(flat), "study": study()})
    assert list(table.index) == ["CoOp", "study"]
    row = table.loc["CoOp"]
    assert (row["base"], row["new"]) == (65, 55)
    assert row["H"] == pytest.approx(harmonic_mean(65, 55))
    mean = (harmonic_mean(90, 30) + harmonic_mean(40, 80)) / 2
    assert row["mean H"] == pytest.approx(mean)
    assert row["H"] > mean + 5
    assert (row["joint"], row["ECE new"], row["numbers"]) == (32.5, 4, 2048)


def test_shrunk_prompts_are_averaged_over_datasets_alike() -> None:
    runs = [made("greek", seed=1), made("latin", seed=1), made("latin", seed=2)]
    for record, base in zip(runs, (10.0, 30.0, 50.0), strict=True):
        ways = {"x 0.5": {"base": base, "new": 60.0}, "rank 1": {"base": base + 1, "new": base}}
        record["checkpoints"][-1]["shrunk"] = ways
    stopped = stop(made("greek", seed=2))  # it has no shrunk prompts
    table = shrunk(frame([*runs, stopped]))
    assert list(table.index) == ["x 0.5", "rank 1"]
    assert list(table.columns) == ["base", "new", "H"]
    np.testing.assert_allclose(table.loc["x 0.5"], [25, 60, harmonic_mean(25, 60)])
    np.testing.assert_allclose(table.loc["rank 1"], [26, 25, harmonic_mean(26, 25)])


def test_published_rows_agree_with_themselves_and_name_their_source() -> None:
    table = published().set_index("method")
    assert table.index.is_unique and len(table) == 10
    assert list(table.columns) == ["base", "new", "H", "source"]
    h = harmonic_mean(table["base"].to_numpy(), table["new"].to_numpy())
    np.testing.assert_allclose(table["H"], h, atol=0.01)
    assert table["source"].str.len().min() > 3
    numbers = {name: tuple(row) for name, *row in table[["base", "new", "H"]].itertuples()}
    assert numbers["zero-shot CLIP"] == (69.34, 74.22, 71.70)  # MaPLe's README
    assert numbers["CoOp, 200 epochs"] == (82.69, 63.22, 71.66)
    assert numbers["CoOp, as KgCoOp gives it"] == (82.63, 67.99, 74.60)
    assert numbers["CoOp, 10 epochs"] == (81.50, 69.77, 75.18)
    assert numbers["KgCoOp"] == (80.73, 73.60, 77.00)
    assert numbers["PromptSRC"] == (84.26, 76.10, 79.97)
