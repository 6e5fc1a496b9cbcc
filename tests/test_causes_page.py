"""The page on causes: what chooses a setting, and surgery's averages, on made runs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from made_records import PROFILE, made

from dip_book.frame import frame
from dip_book.pages import causes, surgery, ten_questions, wordless
from dip_book.pages.causes_world import World
from dip_book.statistics import Interval
from dip_lib.errors import NotMeasuredError
from dip_lib.methods.surgery import DRAWS, FACTORS
from dip_lib.training.run import Run
from dip_study import causes as study

DATASETS = ("arrows", "boxes", "greek")
SEEDS = (1, 2)
FEW = replace(PROFILE, datasets=DATASETS, seeds=SEEDS, grid_seeds=dict.fromkeys(DATASETS, SEEDS))
DESIGNS = study.designs(FEW, fingerprint="")


def record_of(run: Run, **end: Any) -> dict[str, Any]:
    """A made record of a run, with what its last checkpoint has changed."""
    record = made(run.data.dataset, "coop", run.seed)
    record |= {"key": run.key(), "label": run.label, "run": run.to_dict(), "trainable": 100}
    more = {"id_read": [0.3, 0.5], "update_norm": 2.0, "drift_words": 0.1}
    record["checkpoints"] = [point | more for point in record["checkpoints"]]
    record["checkpoints"][-1] |= end
    return record


def groups(**of_designs: Any) -> dict[str, pd.DataFrame]:
    """Every design's last checkpoints; ``of_designs`` gives what a design's have changed."""
    every = [
        record_of(run, **of_designs.get(name, {})) for name, runs in DESIGNS.items() for run in runs
    ]
    return causes.by_design(frame(every), DESIGNS)


def test_every_design_has_its_own_runs() -> None:
    found = groups()
    assert found.keys() == DESIGNS.keys()
    assert all(len(each) == len(DATASETS) * len(SEEDS) for each in found.values())
    assert all(each["last"].all() for each in found.values())


def test_settings_are_chosen_by_validation_and_training_alone() -> None:
    ends: dict[str, Any] = {
        "DIP": {"val": 60.0},
        "loss x 0.5": {"val": 70.0},
        "loss x 0.25": {"val": 61.0},
        "loss x 0.125": {"val": 50.0},
        "text-tower update, rate x 10": {"val": 90.0},
    }
    chosen = causes.choices(groups(**ends))
    assert chosen[causes.SCALED] == "loss x 0.25"
    assert chosen[causes.TOWER] == "text-tower update, rate x 10"
    for name in (
        "loss x 0.5",
        "text-tower update, rate x 1",
        "DIP",
    ):  # test accuracies choose nothing
        other = {n: {**ends.get(n, {}), **({"new": 99.0, "base": 99.0} if n == name else {})}
                 for n in DESIGNS}  # fmt: skip
        assert causes.choices(groups(**other)) == chosen


def test_rows_are_the_parts_and_holding_the_density_is_paired_with_what_it_holds() -> None:
    ends = {"DIP": {"new": 70.0}, "CoOp": {"new": 60.0}, "rank n": {"new": 70.0}}
    ends |= {"rank n, density held at its start": {"new": 69.0}}
    shown = causes.rows(groups(**ends))
    assert [*shown] == ["CoOp", *(name for part in causes.PARTS.values() for name in part)]
    gaps = causes.against_coop(shown)
    assert gaps["DIP"].value == pytest.approx(10) and "CoOp" not in gaps
    assert set(causes.breaks()) <= set(gaps)
    held = causes.held_density(shown)
    assert held["rank n, density held at its start"]["new"].value == pytest.approx(-1)
    table = causes.table(shown)
    assert table.index.tolist() == [*shown] and (table["trainable"] == 100).all()
    found = causes.numbers(shown, operated(2.0))
    assert all(isinstance(each, Interval) for each in found.values())


def test_seeds_without_the_density_as_read_are_left_out_and_told_where_none_has_it() -> None:
    old = frame([made()])
    with pytest.raises(NotMeasuredError, match="1 of 1"):
        causes.with_density(old)
    newer = old.assign(id1_read=0.3, seed=7)
    assert causes.with_density(newer).equals(newer)
    mixed = pd.concat([old.assign(id1_read=float("nan")), newer])
    assert set(causes.with_density(mixed)["seed"]) == {7}
    partly = pd.concat([mixed, newer.assign(key="other", id1_read=float("nan"))])
    with pytest.raises(NotMeasuredError):
        causes.with_density(partly)


# ---- surgery ------------------------------------------------------------------------------------


def operated(norm: float, rank: int = 0) -> pd.DataFrame:
    """Runs whose accuracy on new classes is 60 less 4 times the norm of the update."""
    records = []
    for run in study.surgery(FEW, fingerprint="")["DIP" if rank else "CoOp"]:
        ways = {f"x {factor:g}": 60 - 4 * factor * norm for factor in FACTORS}
        ways |= {"sharper": 50.0, "flat": 55.0, "rank 1": 45.0}
        ways |= {f"random {i + 1}": 40.0 + i for i in range(DRAWS)}
        ways |= {f"random width {i + 1}": 41.0 for i in range(DRAWS)}
        rows = {
            way: {"base": 70.0, "new": new, "val": 130 - new, "id1": 0.4, "id1_read": 0.3}
            | {"drift_words": 0.1, "update_norm": norm * float(way[2:] if way[0] == "x" else 1)}
            for way, new in ways.items()
        }
        records.append(record_of(run, surgery=rows, new=60 - 4 * norm, base=70.0))
    ends = frame(records)
    return ends[ends["last"]]


def test_operations_are_compared_with_the_update_as_trained() -> None:
    found = surgery.changes(operated(2.0))
    assert {name: each.value for name, each in found.items()} == pytest.approx(
        {"sharper": -2, "flat": 3, "rank 1": -7, "random width directions": -11,
         "random directions": -11}
    )  # fmt: skip
    assert surgery.table(operated(2.0)).loc["as trained", "new"] == pytest.approx(52)


def test_a_rank_one_update_has_no_row_of_other_spectra() -> None:
    rows = surgery.figure_rows({"CoOp": operated(2.0), "DIP": operated(3.0, rank=1)})
    assert [name for name in rows if name.startswith("DIP")] == [
        "DIP, random width directions", "DIP, random directions"
    ]  # fmt: skip
    assert surgery.breaks(rows) == ["DIP, random width directions"]


def test_at_a_norm_accuracy_is_interpolated_and_nothing_lies_beyond_the_factors() -> None:
    theirs, ours = operated(2.0), operated(3.0, rank=1)
    rows = surgery.at_norm(theirs, surgery.norms(ours))
    assert rows["factor"].tolist() == pytest.approx([1.5] * 6)
    assert rows["new"].tolist() == pytest.approx([60 - 4 * 3.0] * 6)
    gap = surgery.matched(ours, theirs)
    assert gap["new"].value == pytest.approx(0) and gap["base"].value == pytest.approx(0)
    assert surgery.share_matched(ours, theirs) == 1
    far = {key: 100.0 for key in surgery.norms(ours)}
    assert surgery.at_norm(theirs, far).empty


def test_what_lies_on_coops_own_trade_off_is_not_beyond_it() -> None:
    # along it validation accuracy rises from 70 to 78 as new accuracy falls from 60 to 52
    ends = {
        "CoOp": {"val": 78.0, "new": 52.0},
        "DIP": {"val": 75.0, "new": 55.0},
        "rank 2": {"val": 75.0, "new": 56.5},
        "rank n": {"val": 90.0, "new": 90.0},
    }
    found = causes.beyond_trade_off(causes.rows(groups(**ends)), operated(2.0))
    assert found["DIP"].value == pytest.approx(0)
    assert found["rank 2"].value == pytest.approx(1.5)
    assert "rank n" not in found  # nothing is extrapolated


# ---- few images from random vectors -------------------------------------------------------------


def few_images(gain: float = 3.0) -> dict[str, pd.DataFrame]:
    """CoOp at 40 % and DIP above it, zero-shot at 50 %."""
    levels = {"CoOp": 40.0, "DIP": 40.0 + gain, "zero-shot": 50.0}
    runs = study.few_shot(FEW, fingerprint="")
    every = [record_of(run, base=levels[name]) for name, each in runs.items() for run in each]
    return causes.by_design(frame(every), runs)


def test_random_vectors_are_compared_at_each_number_of_images() -> None:
    table = wordless.table(few_images())
    assert table.index.tolist() == [*study.SHOTS]
    assert (table["DIP"] - table["CoOp"]).tolist() == pytest.approx([3.0] * len(table))
    assert (table["zero-shot"] == 50).all()
    said = wordless.sentence(few_images())
    assert "-10.0" in said and "+3.0" in said


# ---- sentences ----------------------------------------------------------------------------------


def test_a_sentence_says_no_more_than_its_interval() -> None:
    said = [
        ten_questions.clearly(Interval(0.5, low, 1.0), "better", "worse") for low in (0.1, -0.1)
    ]
    assert said[0] == "better" and "no difference" in said[1]
    assert ten_questions.clearly(Interval(-1, -2, -0.5), "better", "worse") == "worse"


def test_every_answer_is_a_sentence_with_numbers() -> None:
    shown = causes.rows(groups(DIP={"new": 61.0}))
    runs = [record_of(run) for name in ("CoOp", "DIP") for run in DESIGNS[name]]
    world = World(
        shown,
        {"CoOp": operated(2.0), "DIP": operated(3.0, rank=1)},
        frame(runs),
        pd.concat([*groups().values()]),
        groups(),
        few_images(),
    )
    answers = (
        *(ten_questions.everywhere, ten_questions.base_accuracy, ten_questions.beyond_time),
        *(ten_questions.after_training, ten_questions.where_from, ten_questions.at_matched_norm),
        *(ten_questions.at_fixed_norm, ten_questions.sensitivity, ten_questions.on_each_dataset),
        ten_questions.against_others,
    )
    for each in answers:
        said = ten_questions.answer({"Glyph World": world}, each)
        assert any(c.isdigit() for c in said) and "nan [" not in said and said.endswith(".")
    assert "Finding" in ten_questions.finding({"Glyph World": world})
    numbers = ten_questions.numbers(world)
    assert all(np.isfinite(each.value) for each in numbers.values())
