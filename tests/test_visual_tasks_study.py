"""Which runs the tasks for visual prompts need, what chooses their rates, and what they cost."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dip_lib.errors import NotMeasuredError
from dip_lib.methods.condensation import CHOICES
from dip_lib.store import Store
from dip_lib.training.record import Record
from dip_lib.training.run import Run
from dip_study import study
from dip_study.plan import plan
from dip_study.plan_visual import visual_minutes
from dip_study.profiles import Profile, load_profile
from dip_study.visual_condensed import visual_condensed
from dip_study.visual_grid import Grid, Rate
from dip_study.visual_rates import accuracies, best
from dip_study.visual_tasks import visual_tasks
from glyph_world.tasks import TASKS

PROFILE = load_profile("visual-tasks")
EPOCHS = PROFILE.visual["tasks"]["epochs"]
LONG = EPOCHS + PROFILE.visual["tasks"]["condense"]["tuned"]
RATES = {"deep 0": 0.01, "deep 16": 0.003, "shallow 16": 0.03, "few": 0.001}


def with_table(**changes: Any) -> Profile:
    return replace(
        PROFILE, visual={**PROFILE.visual, "tasks": {**PROFILE.visual["tasks"], **changes}}
    )


CHOSEN = with_table(lr={"how-many": RATES})


def test_a_profile_without_tasks_has_no_such_runs() -> None:
    assert visual_tasks(load_profile("smoke")) == []
    assert "visual_tasks" not in study.studies_of(load_profile("embedded-full"))
    assert "visual_tasks" in study.studies_of(PROFILE)


def test_the_profile_asks_for_every_declared_task() -> None:
    grid = Grid.of(PROFILE)
    assert grid is not None
    assert [*grid.datasets] == [*TASKS]
    assert set(grid.lr) <= set(TASKS)
    assert {*grid.screened, *grid.alike} <= set(grid.datasets)
    assert all({*rates.values()} <= {*grid.rates} for rates in grid.lr.values())


def test_a_task_without_rates_is_only_tuned_and_never_reads_a_test_image() -> None:
    runs = visual_tasks(with_table(lr={}))
    assert {run.data.dataset for run in runs} == {f"{task}-800" for task in TASKS}
    assert len(runs) == len(TASKS) * 4 * len(PROFILE.visual["tasks"]["rates"])
    assert {run.seed for run in runs} == {1}


def test_what_is_shown_trains_on_all_images_at_the_rate_of_its_number() -> None:
    runs = [run for run in visual_tasks(CHOSEN) if run.data.dataset == "how-many"]
    rates: dict[tuple[int, int], set[float]] = {}
    for run in runs:
        rates.setdefault((run.method.vectors, run.method.depth), set()).add(run.schedule.lr)
    deep, shallow = 4, 1
    assert rates == {
        (0, deep): {0.01},
        (4, deep): {0.003},
        (16, deep): {0.003},
        (64, deep): {0.003},
        (16, shallow): {0.03},
        (19, deep): {0.001},  # few: 30 % of 64
    }
    assert {(run.data.shots, run.data.views, run.data.protocol) for run in runs} == {
        (125, 0, "all-classes")
    }
    lengths = {run.schedule.epochs for run in runs}
    assert lengths == {EPOCHS, LONG, 2 * EPOCHS}
    assert {run.method.vectors for run in runs if run.schedule.epochs == LONG} == {19}
    assert {run.seed for run in runs if run.schedule.epochs == 2 * EPOCHS} == {1}
    assert len(runs) == 5 * (3 + 1) + 3


def test_the_full_grid_chooses_a_rate_for_every_number() -> None:
    grid = Grid.of(PROFILE, full=True)
    assert grid is not None
    assert grid.tuned() == grid.prompts()
    assert (max(grid.deep), max(grid.shallow)) == (200, 200)
    few = with_table(datasets=["how-many"], lr={"how-many": {"deep 1": 0.01}})
    shown = [r for r in visual_tasks(few, full=True) if r.data.dataset == "how-many"]
    assert {run.method.vectors for run in shown} == {1}


def test_condensed_runs_have_every_control_and_share_their_source() -> None:
    runs, settings = visual_condensed(CHOSEN), PROFILE.visual["tasks"]["condense"]
    assert visual_condensed(with_table(lr={})) == []
    shown = visual_tasks(CHOSEN)
    assert {run.source() for run in runs} == {
        run
        for run in shown
        if (run.data.dataset, run.method.vectors, run.schedule.epochs) == ("how-many", 64, EPOCHS)
    }
    one = [run.method for run in runs if run.seed == 1]
    assert len(one) == len(set(one))
    assert settings["draws"] >= 10
    for keep in settings["keep"]:
        fixed = [each for each in one if each.keep == keep and not each.tuned]
        assert {each.choice for each in fixed} == {*CHOICES}
        draws = [each.draw for each in fixed if each.choice == "random"]
        assert draws == [*range(1, settings["draws"] + 1)]
    tuned = [each for each in one if each.tuned]
    assert {each.tuned for each in tuned} == {settings["tuned"]}
    headline = {each.choice for each in tuned if each.keep == settings["headline"]}
    assert headline == {*CHOICES}
    assert [each.keep for each in tuned].count(100) == 1  # all, trained on as long
    assert {(e.keep, e.ranking) for e in tuned if e.choice == "sum"} >= {
        (float(keep), ranking) for keep in settings["keep"] for ranking in ("global", "layer")
    }


class Stored(Store):
    """A store of runs of which only the learning rate decides the accuracy."""

    def __init__(self, folder: Path, accuracies: dict[float, float | None]) -> None:
        super().__init__(folder)
        self.accuracies = accuracies

    def missing(self, runs: Iterable[Run], failed: bool = False) -> list[Run]:
        return [run for run in runs if rate_of(run) not in self.accuracies]

    def get(self, run: Run) -> Record:
        base = self.accuracies[rate_of(run)]
        status = "finished" if base is not None else "stopped: non-finite loss"
        return {"status": status, "checkpoints": [{"base": base} if base is not None else {}]}


def rate_of(run: Run) -> float:
    assert run.schedule is not None
    return run.schedule.lr


def test_the_best_rate_on_the_images_that_choose_is_chosen(tmp_path: Path) -> None:
    one = with_table(datasets=["how-many"], rates=[0.001, 0.003, 0.01, 0.03])
    (grid,) = Grid.each(one)
    for found, wanted in (
        ({0.001: 30.0, 0.003: 50.0, 0.01: 40.0, 0.03: None}, 0.003),
        ({0.001: 50.0, 0.003: 50.0, 0.01: 50.0, 0.03: 40.0}, 0.001),  # equal: the smaller
    ):
        ((task, reached),) = accuracies(one, Stored(tmp_path, found), grid)
        assert task == "how-many"
        assert best(reached) == dict.fromkeys(RATES, Rate(wanted))
    with pytest.raises(NotMeasuredError, match="visual-tasks"):
        next(accuracies(one, Stored(tmp_path, {0.001: 1.0}), grid))


@pytest.mark.parametrize(
    ("changes", "named"),
    [({"chosen_at": ["deep 17"]}, "deep 17"), ({"depths": [1]}, "depths")],
)
def test_a_table_that_cannot_be_is_refused(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        visual_tasks(with_table(**changes))


def test_the_plan_counts_what_was_measured_with_as_many_prompts() -> None:
    rows = {n: {"images_per_second": {"ours": rate}} for n, rate in (("4", 100.0), ("64", 50.0))}
    benchmark = {"towers": {"glyph-vit": {"prompts": rows}}}
    each = [r for r in visual_tasks(CHOSEN) if r.method.depth == 4 and r.schedule.epochs == EPOCHS]
    runs = {run.method.vectors: run for run in each}

    def minutes(vectors: int, tested: int = 0) -> float:
        found = visual_minutes(runs[vectors], 6000, tested, benchmark)
        assert found is not None
        return found

    assert minutes(4) == pytest.approx(1)
    assert minutes(64) == pytest.approx(2)
    assert 1 < minutes(16) < 2
    assert minutes(4, 1800) == pytest.approx(1 + 1800 / 3 / 6000)  # evaluated, forward alone
    head = minutes(0)
    assert head == pytest.approx(1 / 3 / EPOCHS, rel=0.02)  # each image once, forward alone
    fixed = next(run for run in visual_condensed(CHOSEN) if not run.method.tuned)
    assert visual_minutes(fixed, 0, 3000, benchmark) == pytest.approx(1000 / 50 / 60)
    assert visual_minutes(runs[4], 6000, 0, {}) is None
    costs = plan(replace(CHOSEN, datasets=("greek",)), "visual_tasks")
    steps = 1000 // 64 * EPOCHS
    assert (
        costs.loc["glyph-vit", "fp32", "how-many", "default"]["steps"]
        == (5 * (3 + 2) + 3 * LONG / EPOCHS) * steps
    )


def test_the_quick_grid_takes_the_rates_that_the_whole_one_has_chosen_and_tunes_nothing() -> None:
    quick = load_profile("visual-quick")
    given = {"how-many": RATES, "natural-greek": RATES}
    table = quick.visual["tasks"]
    chosen = replace(quick, visual={**quick.visual, "tasks": {**table, "lr": given}})
    runs = [*visual_tasks(chosen), *visual_condensed(chosen)]
    assert {run.data.dataset for run in runs} == {"how-many", "natural-greek"}
    assert {run.seed for run in runs} == {1}
    assert table["lr"] == PROFILE.visual["tasks"]["lr"]
    assert visual_tasks(quick, fingerprint="") != []  # what has no rate yet is counted
    for name in ("visual-quick", "visual-smoke"):
        assert study.studies_of(load_profile(name)) == list(load_profile(name).only)
    small = load_profile("visual-smoke")
    assert 0 < len(visual_tasks(small)) + len(visual_condensed(small)) < 30


def test_a_page_names_profiles_that_have_tasks(tmp_path: Path) -> None:
    shown = {"embedded-full": ("visual-tasks", "visual-photos"), "embedded": ("visual-quick",)}
    for name, expected in (shown | {"smoke": ("visual-smoke",), "photos": ()}).items():
        assert load_profile(name).tasks_of == expected
    with_tasks = repr(load_profile("embedded-full"))
    assert "visual-photos" not in with_tasks  # no setting: pages stay as they were made
    own = tmp_path / "own.toml"
    for named, token in (("smoke", "smoke"), ("visual-task", "visual-tasks")):
        own.write_text(f'like = "smoke"\ntasks_of = ["{named}"]\n')
        with pytest.raises(ValueError, match=token):
            load_profile(str(own))
    own.write_text('like = "smoke"\ntasks_of = ["tasks.toml"]\n')
    (tmp_path / "tasks.toml").write_text('like = "visual-smoke"\n')
    (found,) = load_profile(str(own)).tasks_of
    assert load_profile(found).name == "tasks"  # beside the file that names it
    own.write_text('like = "smoke"\ntasks_of = "visual-smoke"\n')
    with pytest.raises(ValueError, match="tasks_of"):
        load_profile(str(own))
