"""What is said of visual prompts on the tasks, on made runs whose answer is known."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from made_records import made

from dip_book.frame import frame
from dip_book.pages import visual_tasks as page
from dip_book.pages.visual_tasks import TaskRuns
from dip_lib.methods.condensation import CHOICES
from dip_study.profiles import load_profile

SEEDS, EPOCHS, TUNED = (1, 2), 4, 2
LOSES = {"sum": 1.0, "each": 1.5, "norm": 2.0, "attention": 2.5, "mean": 3.0, "random": 4.0}
LOSES |= {"least": 6.0}
"""Points that a choice of 30 % loses against all prompts, trained on."""


def one(task: str, seed: int, base: float, method: str = "vpt", **settings: Any) -> dict[str, Any]:
    values = {"depth": 4, "epochs": EPOCHS, "vectors": 10, "protocol": "all-classes"} | settings
    record = made(task, method, seed, **values)
    record["checkpoints"] = [{"base": base + seed, "new": None, "id": [0.5, 0.6]}]
    return record


@pytest.fixture(scope="module")
def tasks() -> TaskRuns:
    """Ten prompts gain 10 points on how-many and 1 on natural-greek; training on adds 2 more."""
    found = []
    for task, gain in (("how-many", 10.0), ("natural-greek", 1.0)):
        for seed in SEEDS:
            found += [
                one(task, seed, 40, vectors=0),
                one(task, seed, 40 + gain / 2, vectors=4),
                one(task, seed, 40 + gain),
                one(task, seed, 40 + gain / 4, depth=1, vectors=4),
                one(task, seed, 40 + gain - 5, vectors=3, epochs=EPOCHS + TUNED),
                one(task, seed, 90, vectors=0, epochs=2 * EPOCHS),  # twice as long: shown apart
                one(f"{task}-800", seed, 95),  # tunes
                one(task, seed, 40 + gain + 2, "condensation", keep=100.0, tuned=TUNED),
                one(task, seed, 41 + gain, "condensation", keep=30.0, ranking="layer", tuned=TUNED),
            ]
            for choice in CHOICES:
                for tuned in (0, TUNED):
                    for draw in (1, 2) if choice == "random" else (0,):
                        base = 40 + gain + tuned - LOSES[choice] + (draw == 1) - (draw == 2)
                        kept = {"keep": 30.0, "choice": choice, "tuned": tuned, "draw": draw}
                        found.append(one(task, seed, base, "condensation", **kept))
    profile = load_profile("visual-tasks")
    table = profile.visual["tasks"]
    condense = {"of": 10, "keep": [30], "headline": 30, "tuned": TUNED, "draws": 2}
    small = {"deep": [0, 4, 10], "shallow": [4], "epochs": EPOCHS, "condense": condense}
    small |= {"chosen_at": ["deep 0"]}
    changed = {**profile.visual, "tasks": {**table, **small}}
    return TaskRuns.of(frame(found), replace(profile, visual=changed))


def test_what_tunes_or_trains_longer_is_on_no_curve(tasks: TaskRuns) -> None:
    curves = page.by_number(tasks)
    assert [*curves] == ["how-many", "natural-greek"]
    deep = curves["how-many"]["VPT"]
    assert deep["value"].to_dict() == {0: 41.5, 4: 46.5, 10: 51.5}
    assert curves["how-many"]["other"]["value"].to_dict() == {4: 44.0}


def test_tasks_where_prompts_gain_judge_condensing_and_all_are_shown(tasks: TaskRuns) -> None:
    gains = page.gains(tasks)
    assert {task: each.tolist() for task, each in gains.items()} == {
        "how-many": [10, 10],
        "natural-greek": [1, 1],
    }
    assert page.judged(tasks) == ["how-many"]
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
    assert page.share_of_gain(tasks, 30) == {"how-many": pytest.approx(11 / 12)}
    assert page.share_of_gain(tasks, 30, "random") == {"how-many": pytest.approx(8 / 12)}


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
    assert page.judged(replace(tasks, runs=near)) == ["how-many", "natural-greek"]


def test_a_profile_without_tasks_is_refused(tasks: TaskRuns) -> None:
    with pytest.raises(ValueError, match="smoke"):
        TaskRuns.of(tasks.runs, load_profile("smoke"))
