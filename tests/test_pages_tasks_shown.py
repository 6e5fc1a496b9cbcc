"""What page 14 shows of grids of which all, some or no tasks are measured."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

import pandas as pd
import pytest
from made_tasks import EPOCHS, SEEDS, grid, one, profile, records
from test_notebook import DEFAULTS

from dip_book.frame import frame
from dip_book.notebook import Page, begin
from dip_book.pages import (
    condensing_slider,
    prompted_maps,
    task_condensing,
    task_gains,
    task_grids,
    visual_tasks,
)
from dip_book.pages.visual_tasks import TaskRuns
from dip_lib.store import Store
from dip_lib.training.run import Run
from dip_study import study
from dip_study.profiles import Profile, load_profile

DECLARED = [*load_profile("visual-tasks").visual["tasks"]["datasets"]]
NONE = TaskRuns.of(frame([]), profile())


@pytest.fixture(scope="module")
def whole() -> list[TaskRuns]:
    return [grid()]


def test_gains_stand_over_the_head_and_what_is_not_measured_or_not_shown_has_no_panel(
    whole: list[TaskRuns],
) -> None:
    panels = task_gains.gain_curves(whole)
    assert [*panels] == ["natural-greek", "how-many"]  # in the order of declaration
    lines = panels["how-many"]
    assert lines["VPT"]["value"].to_dict() == {0: 0.0, 4: 5.0, 10: 10.0}
    assert lines["other"]["value"].to_dict() == {4: 2.5}
    assert set(task_gains.gain_table(whole).index) == set(panels)


def test_twice_the_epochs_are_compared_within_the_first_seed() -> None:
    more = [
        one("how-many", 1, base, vectors=n, epochs=2 * EPOCHS) for n, base in ((4, 92), (10, 91.5))
    ]
    tasks = TaskRuns.of(frame([*records(), *more]), profile())
    table = task_gains.doubled([tasks])
    assert table.columns.tolist() == [f"{EPOCHS} epochs", f"{2 * EPOCHS} epochs"]
    assert table.loc[("how-many", "deep 10")].tolist() == [51, 92.5]
    said = task_gains.doubled_finding([tasks])
    assert "On how-many" in said and "change the order" in said
    assert "+10.0 points above the head, then +2.0" in said
    assert "leave the order" in task_gains.doubled_finding([grid()])


def test_chosen_rates_at_an_end_of_those_tried_are_named(whole: list[TaskRuns]) -> None:
    (tasks,) = whole
    rates = {"how-many": {"deep 0": 0.01, "few": 0.1}, "natural-greek": {"deep 0": 0.001}}
    tuned = replace(tasks.grid, lr=rates, rates=(0.001, 0.01, 0.1))
    said = task_gains.rates_finding([replace(tasks, grid=tuned)])
    assert said.startswith("Of 3 chosen learning rates 2 ")
    assert "(deep 0: natural-greek 0.001; few: how-many 0.1)" in said
    inside = replace(tuned, rates=(0.0001, 0.001, 0.01, 0.1, 1.0))
    assert "0 are the least or the largest" in task_gains.rates_finding(
        [replace(tasks, grid=inside)]
    )
    untuned = replace(tasks, grid=replace(tuned, rates=()))
    assert "Of 0 " in task_gains.rates_finding([untuned])


def test_the_finding_names_the_tasks_that_judge(whole: list[TaskRuns]) -> None:
    said = task_condensing.finding(whole)
    assert "10 prompts in each block" in said
    assert "on 1 of 2 measured tasks (how-many +10.0)" in said
    assert "30 %, trained on, keep 91.7 % [91.7, 91.7] of all points gained" in said
    assert "-1.0 [-1.0, -1.0] against all prompts" in said
    assert "+3.0 [+3.0, +3.0] against as many at random" in said
    plain = task_condensing.finding([grid(condensed=False)])
    assert "how-many +10.0" in plain and "not measured yet" in plain
    also = [one("where-from", s, base, vectors=n) for s in SEEDS for n, base in ((0, 40), (10, 45))]
    partly = task_condensing.finding([TaskRuns.of(frame([*records(), *also]), profile())])
    assert "on 2 of 3 measured tasks" in partly and "On how-many the most important" in partly
    assert partly.endswith("range of its seeds.")
    screened = replace(whole[0], grid=replace(whole[0].grid, screened=("how-many",)))
    apart = task_condensing.finding([screened])
    assert "on 0 of 1 measured tasks (none) and on 1 of 1 chosen because" in apart
    assert "validation (how-many +10.0)" in apart
    alone = task_condensing.finding([grid("natural-greek")])
    assert "on 0 of 1 measured tasks (none)" in alone and "none judges" in alone


def test_a_sentence_says_which_declared_tasks_are_not_measured(whole: list[TaskRuns]) -> None:
    said = task_grids.not_measured(whole)
    assert said.count(".") == 1 and "visual-tasks" in said
    named = set(re.findall(r"[a-z-]+", said))
    assert named & set(DECLARED) == set(DECLARED) - {"how-many", "natural-greek"}
    half = task_grids.not_measured([grid(condensed=False)])
    assert half.index("not condensed yet") < half.index("how-many (`")
    assert "All 2 declared" in task_grids.not_measured([_only(whole[0])])


def test_what_a_page_only_reads_is_measured_by_another_command(whole: list[TaskRuns]) -> None:
    assert task_grids.measured_by(whole).endswith("visual_low_rank --profile visual-tasks")
    plain = replace(whole[0], grid=replace(whole[0].grid, low_rank=None))
    assert task_grids.measured_by([plain]).endswith("visual_condensed --profile visual-tasks")
    untuned = replace(whole[0], grid=replace(whole[0].grid, rates=()))
    unmeasured = replace(whole[0], runs=whole[0].runs[:0])
    assert task_grids.measured_by([untuned, unmeasured]) == task_grids.measured_by([]) == ""


def _only(tasks: TaskRuns) -> TaskRuns:
    """The grid as if no other tasks had been declared."""
    return replace(tasks, grid=replace(tasks.grid, datasets=tasks.measured))


def test_shares_of_the_gain_are_of_the_tasks_that_judge(whole: list[TaskRuns]) -> None:
    tuned, fixed = task_condensing.kept_curves(whole).values()
    assert fixed["VPT"]["value"].to_dict() == pytest.approx({30: 90, 100: 100})
    assert tuned["VPT"]["value"].to_dict() == pytest.approx({30: 1100 / 12, 100: 100})
    assert tuned["zero-shot"]["value"].to_dict() == pytest.approx({30: 800 / 12})
    assert fixed["CoOp"]["value"].to_dict() == pytest.approx({30: 40})
    assert "within" in tuned and "within" not in fixed  # not trained on: no such run
    assert [*tuned][-1] == "VPT"  # has every share, and is drawn last
    assert task_condensing.kept_curves([grid(condensed=False)]) == {}
    assert set(tuned) <= set(task_condensing.LEGEND)


def test_differences_are_of_the_tasks_that_judge_and_the_table_of_all(
    whole: list[TaskRuns],
) -> None:
    rows = task_condensing.both_states(whole)
    values = {name: interval.value for name, interval in rows.items()}
    assert values["trained on: minus all prompts"] == -1
    assert values["trained on: minus as many at random"] == 3
    assert values["trained on: minus few from the start"] == 6
    assert values["as they are: minus the least important"] == 5
    assert next(iter(rows)) == "trained on: minus all prompts"
    assert "as they are: minus few from the start" not in rows
    table = task_condensing.task_table(whole)
    assert set(table.index) == {"how-many", "natural-greek"}
    assert table.loc["natural-greek", "minus all prompts"] == -1
    blocks = task_condensing.prompts_by_block(whole)
    assert blocks.loc["how-many"].tolist() == ["10 5", pytest.approx(26 / 40)]


def test_tasks_of_one_drawing_are_counted_as_one_too(whole: list[TaskRuns]) -> None:
    runs = whole[0].runs
    greek = (runs["dataset"] == "natural-greek") & (runs["vectors"] > 0)
    few = runs["vectors"] == 3
    judging = runs.assign(base=runs["base"] + 2.0 * greek + 4.0 * (greek & few))
    third = runs[runs["dataset"] == "how-many"].assign(dataset="where-from")
    every = replace(whole[0], runs=pd.concat([judging, third]))
    assert every.judging == ["how-many", "natural-greek", "where-from"]
    few_from_the_start = task_condensing.differences([every], "trained on")["few from the start"]
    assert few_from_the_start.value == pytest.approx((6 + 2 + 6) / 3)
    alike = replace(every, grid=replace(every.grid, alike=("how-many", "natural-greek")))
    said = task_condensing.alike_finding([alike])
    assert said.startswith("how-many, natural-greek draw alike.") and ": -1.0 [" in said
    assert "+5.0 [" in said and "few from the start" in said  # of 4 and 6
    assert "No two tasks" in task_condensing.alike_finding(whole)


def test_attention_is_averaged_over_blocks_and_tasks(whole: list[TaskRuns]) -> None:
    mass, rank = (panel["VPT"]["value"] for panel in prompted_maps.attention(whole).values())
    assert mass.to_dict() == pytest.approx({0: 0, 4: 0.06, 10: 0.15})
    assert rank.to_dict() == pytest.approx({0: 4, 4: 6, 10: 7})
    said = prompted_maps.answer(whole)
    assert "10 prompts take 15%" in said and "from 4.0 to 7.0" in said
    assert "slows down: +0.500 a prompt up to 4, +0.167 from 4 on" in said
    assert prompted_maps.labels(whole) == {"VPT": "glyph-vit"}


@pytest.mark.parametrize("grids", [[], [NONE]], ids=["no profile", "no task"])
def test_without_a_measured_task_nothing_is_invented(grids: list[TaskRuns]) -> None:
    assert "is measured yet" in task_condensing.finding(grids)
    assert "not measured yet" in prompted_maps.answer(grids)
    assert "No task" in task_gains.doubled_finding(grids)
    for panels in (task_gains.gain_curves, task_condensing.kept_curves, prompted_maps.attention):
        assert panels(grids) == {}
    assert task_condensing.both_states(grids) == {}
    assert "No two tasks" in task_condensing.alike_finding(grids)
    tables = (
        *(task_gains.gain_table, task_gains.doubled),
        *(task_condensing.task_table, task_condensing.prompts_by_block, task_grids.every_run),
    )
    assert all(table(grids).empty for table in tables)
    assert all(visual_tasks.measured(tasks) == {} for tasks in grids)


def test_some_tasks_without_condensed_runs_leave_the_others(whole: list[TaskRuns]) -> None:
    runs = whole[0].runs
    gone = (runs["dataset"] == "natural-greek") & (runs["label"] == "VPT condensed")
    some = replace(whole[0], runs=runs[~gone])
    assert some.measured == ["natural-greek", "how-many"] and some.condensed == ["how-many"]
    assert task_condensing.both_states([some]) == task_condensing.both_states(whole)
    assert [*task_condensing.task_table([some]).index] == ["how-many"]


def test_numbers_rest_on_the_tasks_that_judge_and_are_marked_by_their_own_grid(
    whole: list[TaskRuns],
) -> None:
    page = begin("14_visual_prompts", {**DEFAULTS, "profile": "embedded-full"})
    page = replace(page, profile=replace(page.profile, datasets=("greek",)))  # as families have it
    task_grids.write_numbers(page, whole)
    found = page.entries["tasks_condensed_minus_random"]
    assert (found["value"], found["n"], found["world"]) == (3, 1, "embedded")
    assert "undecided" not in found  # six tasks are declared; that one judges is said by n
    assert page.entries["tasks_measured"]["value"] == 2
    assert page.entries["tasks_judging"]["value"] == 1
    gains = {name: each for name, each in page.entries.items() if name.startswith("tasks_gain_")}
    assert {each["n"] for each in gains.values()} == {1} and len(gains) == 2
    page.entries.clear()
    photos = replace(whole[0], profile=replace(profile(), world="Photo World"))
    task_grids.write_numbers(page, [photos])
    assert page.entries == {}
    task_grids.write_numbers(page, [NONE])
    assert [*page.entries] == ["tasks_measured", "tasks_judging"]


class Some(Store):
    """A store of the runs of one task, but for its condensed ones."""

    def missing(self, runs: Iterable[Run], failed: bool = False) -> list[Run]:
        return [r for r in runs if r.data.dataset != "how-many" or r.method.name == "condensation"]


@dataclass
class Asked:
    """A page that notes which runs it is asked for."""

    further: tuple[Profile, ...]
    results: str = "stored"
    profile: Profile = field(default_factory=profile)
    asked: dict[str, list[Run]] = field(default_factory=dict)

    def stored(self, runs: Iterable[Run], profile: Profile) -> pd.DataFrame:
        self.asked["stored"] = [*runs]
        return frame([])

    def collect(self, runs: Iterable[Run]) -> pd.DataFrame:
        self.asked["collected"] = [*runs]
        return frame([])


RATES = dict.fromkeys(("deep 0", "deep 16", "shallow 16", "few"), 0.01)


def chosen(name: str) -> Profile:
    """A profile with rates for the two tasks of visual-quick."""
    own = load_profile(name)
    lr = {"lr": {"how-many": RATES, "natural-greek": RATES}}
    return replace(own, visual={**own.visual, "tasks": {**own.visual["tasks"], **lr}})


def test_of_a_grid_that_tunes_what_is_stored_whole_is_read_and_nothing_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study, "open_store", lambda *_: Some(tmp_path))
    for results in ("stored", "fresh"):
        page = Asked((chosen("visual-tasks"),), results)
        (tasks,) = task_grids.of_page(cast(Page, page))
        runs = page.asked.pop("stored")
        assert page.asked == {} and tasks.measured == []
        assert {run.data.dataset for run in runs} == {"how-many"}
        assert {run.method.name for run in runs} == {"vpt"}  # shown, none that tunes


def test_a_grid_that_tunes_nothing_is_measured_with_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = Asked((chosen("visual-quick"),), "fresh")
    task_grids.of_page(cast(Page, page))
    runs = page.asked["collected"]
    assert {run.data.dataset for run in runs} == {"how-many", "natural-greek"}
    assert {run.method.name for run in runs} == {"vpt", "condensation"}
    assert {run.seed for run in runs} == {1}
    monkeypatch.setattr(study, "open_store", lambda *_: Some(tmp_path))
    page.results = "stored"
    task_grids.of_page(cast(Page, page))
    assert {run.data.dataset for run in page.asked["stored"]} == {"how-many"}


def test_the_slider_keeps_fewer_prompts_at_every_position(whole: list[TaskRuns]) -> None:
    assert condensing_slider.positions(whole) == ["100 %", "30 %"]
    (panel,) = condensing_slider.panels(whole)
    assert panel.title == "how-many, not trained on"  # the other task does not judge
    assert panel.heights[0] == [[0.51, 0.52]] * 3  # all prompts, whatever is to stay
    assert panel.heights[1] == [[0.5, 0.51], [0.47, 0.48], [0.45, 0.46]]  # as LOSES has it
    assert "all prompts 51.5 %; all prompts, trained on, 53.5 %" in panel.said[0]
    assert "random 47.5 %" in panel.said[1] and "the head alone 41.5 %" in panel.said[1]
    assert condensing_slider.panels([grid(condensed=False)]) == []


def test_the_slider_leaves_a_seed_out_in_which_a_run_stopped(whole: list[TaskRuns]) -> None:
    runs = whole[0].runs.copy()
    lost = (runs.choice == "random") & (runs.draw == 1) & (runs.tuned == 0) & (runs.seed == 1)
    runs.loc[lost, ["status", "base"]] = ["stopped: non-finite loss in epoch 0", float("nan")]
    assert lost.sum() == 2  # one of each task
    (panel,) = condensing_slider.panels([replace(whole[0], runs=runs)])
    assert [len(seeds) for seeds in panel.heights[1]] == [2, 1, 2]
