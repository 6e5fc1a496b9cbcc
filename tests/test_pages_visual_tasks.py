"""What is said of visual prompts on the tasks, on made runs whose answer is known."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from made_tasks import LOSES, grid

from dip_book.pages import visual_tasks as page
from dip_book.pages.visual_tasks import TaskRuns
from dip_study.profiles import load_profile


@pytest.fixture(scope="module")
def tasks() -> TaskRuns:
    return grid()


def test_tasks_where_prompts_gain_judge_condensing_and_all_are_shown(tasks: TaskRuns) -> None:
    gains = page.gains(tasks)
    assert {task: each.tolist() for task, each in gains.items()} == {
        "how-many": [10, 10],
        "natural-greek": [1, 1],
    }
    assert tasks.judging == ["how-many"]
    table = page.gain_table(tasks)
    assert table.loc["natural-greek", "judges condensing"] == "no"
    assert table.loc["how-many", ["head alone", "VPT", "gain"]].tolist() == [41.5, 51.5, 10]


def test_each_control_is_compared_at_the_same_share_and_length(tasks: TaskRuns) -> None:
    tuned, fixed = (page.against(tasks, 30, each) for each in (True, False))
    for choice, loss in LOSES.items():
        if choice != "sum":
            for found in (tuned, fixed):
                assert found[choice]["how-many"].tolist() == [loss - 1] * 2, choice
    assert tuned["all"]["how-many"].tolist() == [-1, -1]
    assert fixed["all"]["how-many"].tolist() == [-1, -1]
    assert tuned["few"]["how-many"].tolist() == [6, 6]
    assert "few" not in fixed and "layer" not in fixed  # not trained on: no such run
    assert tuned["layer"]["how-many"].tolist() == [0, 0]
    assert tuned["head"]["how-many"].tolist() == [11, 11]


def test_the_share_of_the_gain_is_that_of_all_prompts_trained_on(tasks: TaskRuns) -> None:
    def kept(*settings: Any, **named: Any) -> dict[str, float]:
        found = page.kept_points(tasks, *settings, **named)
        assert all(each.gained == 10 + 2 * named.get("tuned", True) for each in found.values())
        shares = page.share_of_gain(found) if found else {}
        return {task: each.mean() for task, each in shares.items()}

    assert kept(30) == {"how-many": pytest.approx(11 / 12)}
    assert kept(30, "random") == {"how-many": pytest.approx(8 / 12)}
    assert kept(30, tuned=False) == {"how-many": pytest.approx(9 / 10)}
    assert kept(30, ranking="layer") == {"how-many": pytest.approx(11 / 12)}
    assert kept(100) == kept(100, tuned=False) == {"how-many": pytest.approx(1)}
    assert kept(10) == kept(10, "random") == {}


def test_the_share_of_all_gains_is_not_that_of_the_smallest() -> None:
    """What stays of 40 and of 2 points, 30 and -2: 28 of 42, where the own shares average -.125."""
    kept = {
        "large": page.Kept(np.array([29.0, 31.0]), 40.0),
        "small": page.Kept(np.array([-2.0, -2.0]), 2.0),
    }
    shares = page.share_of_gain(kept)
    assert np.mean([each.mean() for each in shares.values()]) == pytest.approx(28 / 42)
    assert np.ptp(shares["large"]) == pytest.approx(2 / 21)
    same = {
        task: page.Kept(np.full(2, each.gained / 2), each.gained) for task, each in kept.items()
    }
    assert all(each == pytest.approx([0.5, 0.5]) for each in page.share_of_gain(same).values())


def test_claims_read_the_tasks_that_judge_alone(tasks: TaskRuns) -> None:
    assert {
        name: {t: v.tolist() for t, v in each.items()}
        for name, each in page.measured(tasks).items()
    } == {
        "tasks_condensed_minus_all": {"how-many": [-1, -1]},
        "tasks_condensed_minus_random": {"how-many": [3, 3]},
        "tasks_condensed_minus_few": {"how-many": [6, 6]},
    }


def test_seeds_are_averaged_before_the_rule(tasks: TaskRuns) -> None:
    near = tasks.runs.copy()
    chosen = (near["dataset"] == "natural-greek") & (near["vectors"] == 10) & (near["seed"] == 2)
    near.loc[chosen & (near["label"] == "VPT"), "base"] += 2.1
    assert np.mean(page.gains(replace(tasks, runs=near))["natural-greek"]) > page.GAIN
    assert replace(tasks, runs=near).judging == ["how-many", "natural-greek"]


def test_a_profile_without_tasks_is_refused(tasks: TaskRuns) -> None:
    with pytest.raises(ValueError, match="smoke"):
        TaskRuns.of(tasks.runs, load_profile("smoke"))
