"""Methods that choose among as many settings: choice, matched fronts, predictors, on made runs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from made_grid import PROFILE, grid_runs
from matplotlib import pyplot as plt
from scipy import stats

from dip_book import rows_by_world
from dip_book.pages import fair_comparisons as page
from dip_book.pages import predictors, selectors
from dip_book.pages.fair_grid import RULES, chosen, grid
from dip_lib.data import harmonic_mean
from dip_study.fronts import MOST, Entry


def level(entry: Entry) -> dict[str, Any]:
    """Every setting is better on new classes than the one before, and worse on base classes."""
    base, new = 80.0 - 2 * entry.setting, 50.0 + 2 * entry.setting
    return {"base": base, "new": new, "val": base - 1}


# ---- the grid -----------------------------------------------------------------------------------


def test_every_setting_is_there_at_every_place_with_its_own_numbers() -> None:
    found = grid(grid_runs(level), PROFILE).settings
    assert len(found) == 10 * MOST * 2 * 2
    dip = found[found["method"] == "DIP"]
    assert dip["base"].tolist() == pytest.approx((80 - 2 * dip["setting"]).tolist())
    assert found["lco"].notna().all()


def test_what_is_kept_of_an_update_is_read_from_the_run_that_kept_all() -> None:
    def numbers(entry: Entry) -> dict[str, Any]:
        away = 10.0 * entry.held_out
        parts = {f"x {k:g}": {"base": k * 100, "new": k * 80 + away, "val": k} for k in (0.25, 0.5)}
        return {"shrunk": parts, "base": 1.0, "new": 1.0, "val": 1.0}

    found = grid(grid_runs(numbers), PROFILE).settings
    of = found[found["method"] == "CoOp, update scaled"]
    half = of[of["kept"] == 0.5]
    assert set(half["base"]) == {50} and set(half["new"]) == {40} and set(half["val"]) == {0.5}
    lco = np.mean([harmonic_mean(50, 40 + 10 * part) for part in (1, 2, 3)])
    assert half["lco"].tolist() == pytest.approx([lco] * len(half))


@pytest.mark.parametrize("rule", RULES)
def test_each_rule_chooses_what_it_says_and_the_first_of_equals(rule: str) -> None:
    def numbers(entry: Entry) -> dict[str, Any]:
        val = {2: 90.0, 3: 90.0}.get(entry.setting, 60.0)
        new = 90.0 if entry.held_out and entry.setting in (4, 5) else 50.0
        return {"val": val, "base": 60.0 + entry.setting, "new": new}

    found = grid(grid_runs(numbers), PROFILE)
    choice = chosen(found.settings, rule).loc["DIP, rank 4"]
    expected = {"leave classes out": 5, "validation": 2, "no choice": 0}[rule]
    assert len(choice) == 4
    assert set(choice["setting"]) == {expected}
    assert set(choice["base"]) == {60.0 + expected}


def test_settings_of_which_a_run_stopped_are_not_chosen() -> None:
    def numbers(entry: Entry) -> dict[str, Any]:
        stops = (entry.setting == 0 and not entry.held_out) or (
            entry.setting == 1 and entry.held_out == 2
        )
        status = "stopped: non-finite loss in epoch 1" if stops else "finished"
        return {"status": status, "val": 90.0 - entry.setting, "base": 90.0 - entry.setting}

    found = grid(grid_runs(numbers), PROFILE)
    chosen_of = {rule: chosen(found.settings, rule) for rule in RULES}
    assert set(chosen_of["validation"].loc["DIP"]["setting"]) == {1}
    assert set(chosen_of["leave classes out"].loc["DIP"]["setting"]) == {2}
    assert "DIP" not in chosen_of["no choice"].index


def test_seconds_are_of_each_methods_different_runs() -> None:
    def numbers(entry: Entry) -> dict[str, Any]:
        return {"seconds": 0.5 if entry.held_out else 2.0}

    seconds = grid(grid_runs(numbers), PROFILE).seconds
    whole, scaled = seconds.loc["DIP, rank 4"].iloc[0], seconds.loc["DIP, update scaled"].iloc[0]
    assert whole.tolist() == [12, 2, 9]  # six settings, three thirds
    assert scaled.tolist() == [4, 2, 3]  # two runs, whatever is kept of them


# ---- comparisons --------------------------------------------------------------------------------


def test_a_method_that_is_like_dip_differs_in_nothing_and_one_above_by_what_it_is_above() -> None:
    def numbers(entry: Entry) -> dict[str, Any]:
        up = 3.0 if entry.method == "ProGrad" else 0.0
        place = {"greek": 5.0, "cyrillic": 0.0}[entry.dataset] + entry.seed
        return {"base": 60 + place, "new": 50 + place + up, "val": 60 - entry.setting}

    found = grid(grid_runs(numbers), PROFILE)
    for rule in RULES:
        gaps = page.differences(found, rule)
        assert len(gaps) == 9
        assert gaps["ProGrad"]["new"].value == pytest.approx(3)
        assert gaps["ProGrad"]["h"].sign == 1
        for half in ("base", "new", "h"):
            assert list(gaps["KgCoOp"][half].columns.values()) == [0, 0, 0]


def test_heights_between_fronts() -> None:
    line = pd.Series([60.0, 50.0, 30.0], index=[50.0, 60.0, 70.0])
    assert page.height(line, line) == 0
    assert page.height(line + 2, line) == pytest.approx(2)
    part = pd.Series([55.0, 50.0], index=[55.0, 60.0])  # on the line
    assert page.height(part, line) == page.height(line, part) == pytest.approx(0)
    single = pd.Series([53.0], index=[60.0])
    assert page.height(single, line) == 3
    away = pd.Series([99.0, 99.0], index=[71.0, 80.0])
    assert np.isnan(page.height(away, line))  # never continued beyond its ends
    assert np.isnan(page.height(line, line[:0]))


def test_fronts_average_seeds_first_and_settings_of_equal_accuracy() -> None:
    rows = [(0, 1, 50.0, 60.0), (0, 2, 52.0, 62.0), (1, 1, 51.0, 41.0), (1, 2, 51.0, 41.0)]
    settings = pd.DataFrame(rows, columns=["setting", "seed", "val", "new"])
    assert page.front(settings).to_dict() == {51.0: 51.0}


def test_what_overlaps_nowhere_is_left_out_and_the_rest_is_counted() -> None:
    def numbers(entry: Entry) -> dict[str, Any]:
        far = entry.method == "short CoOp" or (
            entry.method == "ProGrad" and entry.dataset == "greek"
        )
        up = 100.0 if far else 0.0
        return level(entry) | {"val": 60.0 - entry.setting + up}

    heights = page.matched(grid(grid_runs(numbers), PROFILE))
    assert "short CoOp" not in heights
    assert heights["ProGrad"][1] == 1 and heights["KgCoOp"][1] == 2
    assert heights["KgCoOp"][0].value == pytest.approx(0)


def test_the_page_says_shows_and_counts_what_it_found() -> None:
    rng = np.random.default_rng(0)

    def numbers(entry: Entry) -> dict[str, Any]:
        base, new, val = rng.uniform(50, 80, 3)
        drift = {"drift_words": rng.uniform(), "drift_base": rng.uniform()}
        return {"base": base, "new": new, "val": val, "id": [rng.uniform()], **drift}

    runs = grid_runs(numbers)
    found = grid(runs, PROFILE)
    both = {"Glyph World": found, "Photo World": found}
    assert page.finding(both).count("CoOp minus DIP is") == 2
    table = page.choice_table(found)
    assert len(table) == 3 * 10
    assert (table.loc["validation", "seconds"] != "").all()
    assert set(page.matched_table(found)["datasets"]) <= {1, 2}
    assert page.grid_table(PROFILE).loc["DIP", 1] == "lr 0.03, dropout 0.5"
    assert page.grid_table(PROFILE).loc["KgCoOp", 6] == "lr 0.1, 0.25 of the rescaled weight"
    named = page.numbers(found)
    assert {"coop_minus_dip_h_leave_classes_out", "coop_overlap"} <= named.keys()
    rows_by_world.panels({w: page.shown(each) for w, each in both.items()}, "points")
    plt.close("all")
    rows = predictors.trained(runs, found)
    assert "ID_1" in predictors.finding({"Glyph World": rows})
    assert len(predictors.summary_table(rows)) == len(predictors.PREDICTORS)
    assert len(predictors.numbers(rows)) == 3 * len(predictors.PREDICTORS)
    choice = selectors.choices(runs, found, PROFILE)
    assert len(selectors.choice_table(choice)) == 3 * len(selectors.NAMES)
    assert "drift_h" in selectors.numbers(choice)


# ---- predictors ---------------------------------------------------------------------------------


def predicted() -> pd.DataFrame:
    """Runs whose drift foretells new-class accuracy, and whose ID_1 follows base accuracy."""
    rng = np.random.default_rng(1)

    def numbers(entry: Entry) -> dict[str, Any]:
        base, new = rng.uniform(50, 80, 2)
        more = {"drift_words": -new, "drift_base": rng.uniform(), "id": [base], "id_read": [0.5]}
        return {"base": base, "new": new, "val": base, **more}

    return grid_runs(numbers)


def test_a_predictor_is_as_good_as_its_ranks() -> None:
    runs = predicted()
    table = predictors.trained(runs, grid(runs, PROFILE))
    assert len(table) == 48 * 2 * 2  # different runs that keep all of their update
    rhos = predictors.summary(table)
    assert rhos.loc["drift_words", "rho"].value == pytest.approx(-1)
    assert rhos.loc["drift_words", "held_out"].value == pytest.approx(1)
    assert rhos.loc["drift_words", "partial"].value == pytest.approx(-1)
    assert rhos.loc["id1_read", "rho"].value == 0  # it never changes
    assert rhos.loc["id1", "partial"].value == 0  # it is base accuracy's order
    assert abs(rhos.loc["id1", "rho"].value) < 0.4


def test_partial_correlation_is_that_of_the_ranks_residuals() -> None:
    x, y, z = np.random.default_rng(2).normal(size=(3, 40))
    y = y + 2 * z
    ranks = [stats.rankdata(each) for each in (x, y, z)]
    fits = [each - np.poly1d(np.polyfit(ranks[2], each, 1))(ranks[2]) for each in ranks[:2]]
    assert predictors.partial(x, y, z) == pytest.approx(stats.pearsonr(*fits)[0])
    assert predictors.partial(x, x, x) == 0


def test_a_sign_that_other_datasets_do_not_share_counts_against() -> None:
    of = predictors.oriented
    alike = np.array([[0.5, 0.5, 0.5], [-0.5, -0.5, -0.5]])
    assert of(alike).tolist() == [0.5, 0.5]
    assert of(np.array([[0.4, 0.4, -0.4]]))[0] < 0


# ---- selectors ----------------------------------------------------------------------------------


def test_rules_choose_among_whole_runs_and_equal_time_buys_fewer_settings() -> None:
    def numbers(entry: Entry) -> dict[str, Any]:
        good = entry.setting == 5 or (entry.setting == 1 and entry.held_out)
        new = 70.0 + entry.setting if good else 50.0
        drift = 0.0 if entry.setting == 3 else 1.0
        seconds = 1 / 3 if entry.held_out else 1.0  # with classes left out twice as long in all
        more = {"drift_words": drift, "seconds": seconds}
        return {"base": 60.0, "val": 60.0 + entry.setting, "new": new, **more}

    runs = grid_runs(numbers)
    choice = selectors.choices(runs, grid(runs, PROFILE), PROFILE)["new"]
    ends = {rule: set(choice.loc["DIP", rule]) for rule in selectors.NAMES}
    assert ends["validation"] == ends["leave classes out"] == {75}
    assert ends["drift"] == {50}
    assert ends["leave classes out, equal time"] == {50}  # of the first three the second
    assert selectors.validation_images(PROFILE)["greek"] == 4 * 28
