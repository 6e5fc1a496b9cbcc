"""DIP on the visual prompts of a task: its runs, how rates are chosen, what is shown."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from made_tasks import EPOCHS, SEEDS, grid, one, records

from dip_book.frame import frame
from dip_book.pages import task_gains, task_low_rank, visual_tasks
from dip_book.pages.visual_tasks import TaskRuns
from dip_lib.errors import NotMeasuredError
from dip_lib.store import Store
from dip_lib.training.parts import LowRank
from dip_lib.training.record import Record
from dip_lib.training.run import Run
from dip_study import study
from dip_study.profiles import Profile, load_profile
from dip_study.visual_grid import Grid, LowRankPrompts, Rate
from dip_study.visual_low_rank import low_rank_tuning_runs, visual_low_rank
from dip_study.visual_rates import best, low_rank_accuracies
from dip_study.visual_tasks import tuning_runs

PROFILE = load_profile("visual-tasks")
LOW = PROFILE.visual["tasks"]["low_rank"]
DIP = visual_tasks.LOW_RANK["dip"]
VARIANTS = 2 * len(LOW["ranks"]) * len(LOW["dropout"])


def with_rates(rates: dict[str, float]) -> Profile:
    low = {**LOW, "datasets": ["how-many"], "lr": {"how-many": rates}}
    tasks = {**PROFILE.visual["tasks"], "low_rank": low}
    return replace(PROFILE, visual={**PROFILE.visual, "tasks": tasks})


def test_variants_are_every_rank_dropout_and_p0_and_rates_that_were_chosen_are_theirs() -> None:
    (own,) = Grid.each(PROFILE)
    assert own.low_rank is not None
    variants = own.low_rank.variants()
    assert len(set(variants.values())) == len(variants) == VARIANTS
    assert variants[DIP] == LowRank(rank=1, dropout=0.5)
    assert not variants[f"{DIP}, no P0"].p0
    assert max(own.low_rank.ranks) == own.low_rank.of  # which loses nothing
    assert set(own.low_rank.datasets) <= set(own.datasets)  # where the full matrix is measured
    for rates in own.low_rank.lr.values():
        assert rates.keys() == variants.keys() and {*rates.values()} <= {*own.rates}


def test_every_variant_is_tuned_on_the_images_that_choose_and_shown_at_its_rate() -> None:
    runs = visual_low_rank(with_rates({}))
    assert {run.data.dataset for run in runs} == {"how-many-800"}
    assert {run.seed for run in runs} == {1}
    assert len(runs) == VARIANTS * len(PROFILE.visual["tasks"]["rates"])
    (own,) = Grid.each(PROFILE)
    full = tuning_runs(PROFILE, own, "how-many")["deep 16"]
    tried = low_rank_tuning_runs(PROFILE, own, "how-many")[DIP]
    for rate, run in tried.items():  # differs from the full matrix in nothing but the update
        assert replace(run, low_rank=None) == full[rate]
    chosen = visual_low_rank(with_rates({"rank 1, dropout 0.5": 0.01}))
    shown = [run for run in chosen if run.data.dataset == "how-many"]
    assert [run.seed for run in shown] == [*PROFILE.seeds]
    assert {(run.low_rank, run.schedule.lr) for run in shown if run.schedule} == {
        (LowRank(rank=1, dropout=0.5), 0.01)
    }
    assert low_rank_tuning_runs(PROFILE, own, "natural-greek") == {}


def test_plans_count_every_variant_and_other_profiles_have_none() -> None:
    planned = [r for r in visual_low_rank(PROFILE, fingerprint="") if "-800" not in r.data.dataset]
    assert len(planned) == VARIANTS * len(PROFILE.seeds) * len(LOW["datasets"])
    assert visual_low_rank(load_profile("visual-photos")) == []
    assert "visual_low_rank" in study.studies_of(PROFILE)
    for wrong in ({"rank": [1]}, {"of": 16}):
        with pytest.raises(ValueError, match="visual-tasks"):
            tasks = {**PROFILE.visual["tasks"], "low_rank": wrong}
            Grid.each(replace(PROFILE, visual={**PROFILE.visual, "tasks": tasks}))


class Tried(Store):
    """A store of runs of which those without P0 are best at a large rate, the others at a small."""

    def missing(self, runs: Iterable[Run], failed: bool = False) -> list[Run]:
        return []

    def get(self, run: Run) -> Record:
        assert run.schedule is not None and run.low_rank is not None
        apart = abs(run.schedule.lr - (0.003 if run.low_rank.p0 else 0.03))
        return {"status": "finished", "checkpoints": [{"base": 50 - apart}]}


def test_a_variant_has_the_rate_that_is_best_in_its_own_runs(tmp_path: Path) -> None:
    (own,) = Grid.each(PROFILE)
    for task, reached in low_rank_accuracies(PROFILE, Tried(tmp_path), own):
        rates = best(reached)
        assert task in LOW["datasets"] and len(rates) == VARIANTS
        for variant, rate in rates.items():
            assert rate == Rate(0.03 if "no P0" in variant else 0.003)
    with pytest.raises(NotMeasuredError, match="visual_low_rank"):
        next(low_rank_accuracies(PROFILE, Store(tmp_path), own))


# ---- what the page shows ------------------------------------------------------------------------


@pytest.fixture
def measured() -> TaskRuns:
    """Ten prompts gain 10 points on how-many; of rank r without P0 they lose 6 / r of these."""
    whole = grid()
    table = LowRankPrompts(("how-many",), of=10, ranks=(1, 4), dropout=(0.0, 0.5), lr={})
    found = []
    for update in table.variants().values():
        assert update.rank
        at = {"rank": update.rank, "dropout": update.dropout, "vectors": 10, "epochs": EPOCHS}
        for seed in SEEDS:
            record = one("how-many", seed, 50 - (0 if update.p0 else 6 / update.rank), **at)
            record["run"]["low_rank"]["p0"] = update.p0
            found.append(record | {"trainable": 2048 + 100 * update.rank})
    runs = TaskRuns.of(frame([*records(), *found]), whole.profile).runs
    return replace(whole, runs=runs, grid=replace(whole.grid, low_rank=table))


def test_gains_of_low_rank_stand_over_the_head_beside_the_full_matrix(measured: TaskRuns) -> None:
    (panel,) = task_low_rank.gain_by_rank([measured]).values()
    values = {look: curve["value"].to_dict() for look, curve in panel.items()}
    assert values == {
        "DIP": {1: 10, 4: 10},
        "zero-shot": {1: 10, 4: 10},
        "other": {1: 4, 4: 8.5},
        "SPT": {1: 4, 4: 8.5},
        "VPT": {1: 10, 4: 10},
    }
    assert set(values) == set(task_low_rank.LABELS)


def test_a_row_a_variant_says_what_it_trains_and_loses(measured: TaskRuns) -> None:
    rows = task_low_rank.table([measured])
    assert len(rows) == 8
    alone = rows.loc[("how-many", "rank 4, dropout 0, no P0")]
    assert alone.to_dict() == {"trainable": 400, "minus full": -1.5, "least": -1.5, "most": -1.5}
    said = task_low_rank.finding([measured])
    assert "On how-many DIP makes 10 prompts" in said and "100 numbers" in said
    assert said.count("+0.0 [+0.0, +0.0] points") == 2


def test_tasks_without_runs_of_low_rank_show_none_and_lose_no_others(measured: TaskRuns) -> None:
    for grids in ([grid()], [], [replace(measured, grid=replace(measured.grid, low_rank=None))]):
        assert task_low_rank.gain_by_rank(grids) == {}
        assert task_low_rank.table(grids).empty
        assert "not measured yet" in task_low_rank.finding(grids)
    gains, before = (task_gains.gain_curves([each]) for each in (measured, grid()))
    for task, lines in before.items():
        for look, curve in lines.items():
            assert curve.equals(gains[task][look])
