"""The tidy frame of runs: a row a checkpoint, a column a setting, and labels."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from made_records import POINTS, made, records, stop

from dip_book.frame import as_read, compact, frame
from dip_lib.methods import METHODS
from dip_study import study
from dip_study.profiles import load_profile


def test_a_row_for_each_checkpoint_and_the_last_one_marked() -> None:
    runs = frame(records())
    assert len(runs) == 4 * POINTS
    assert runs.loc[runs["last"], "epoch"].tolist() == [POINTS - 1] * 4
    assert runs.groupby("key")["last"].sum().tolist() == [1] * 4
    assert runs["machine"].unique().tolist() == ["Test CPU, 2 cores, cpu"]
    first = made("greek", seed=1)
    row = frame([first]).iloc[0]
    for part in ("tower", "schedule"):
        for name, value in first["run"][part].items():
            assert row[name] == value
    named = {"method": row["method"], "dataset": row["dataset"], "seed": row["seed"]}
    assert named == {"method": "coop", "dataset": "greek", "seed": 1}
    point = first["checkpoints"][0]
    assert (row["id1"], row["id2"]) == tuple(point["id"])
    assert row["singular"] == point["singular"]
    assert "id" not in row


def test_what_a_checkpoint_lacks_is_not_a_number() -> None:
    few = made("latin")
    few["checkpoints"] = [{"epoch": 0, "base": 50.0, "new": None}]
    runs = frame([made(), few]).query("dataset == 'latin'")
    assert runs[["new", "id1", "rank_effective", "rank_numerical"]].isna().all(axis=None)
    assert runs["last"].tolist() == [True]


def test_no_runs_are_an_empty_frame_with_its_columns() -> None:
    empty = frame([])
    assert empty.empty and {"key", "label", "seconds", "last"} <= set(empty)


def test_every_run_has_a_label_of_its_own() -> None:
    assert frame([made()])["label"].iloc[0] == "CoOp"
    assert frame([made("greek", "dip")])["label"].iloc[0] == "DIP"
    assert frame([made(method="kgcoop", rank=1)])["label"].iloc[0] == "KgCoOp + DIP"
    plain = [kind.label for kind in METHODS.values()]
    held = [kind for kind in METHODS.values() if kind.sites]
    dense = [kind.low_rank_label or f"{kind.label} + DIP" for kind in held]
    assert len({*plain, *dense}) == len(plain) + len(dense)


def test_stored_runs_have_their_labels_and_every_number_of_their_records() -> None:
    profile = load_profile("embedded-full")
    runs = [*study.coop(profile)[:2], *study.dip(profile)[:2]]
    found = study.collect(runs, profile)
    table = frame(found)
    assert table.loc[table["last"], "label"].tolist() == ["CoOp", "CoOp", "DIP", "DIP"]
    assert table["new"].tolist() == [c["new"] for r in found for c in r["checkpoints"]]
    dense = table[(table["label"] == "DIP") & (table["epoch"] > 0)]
    plain = table[(table["label"] == "CoOp") & (table["epoch"] > 0)]
    assert dense["rank_effective"].max() < plain["rank_effective"].max()


def test_a_compact_frame_has_what_differs_and_no_nested_column() -> None:
    runs = frame(records()).assign(counts=[[1, 2]] * (4 * POINTS))
    table = compact(runs).reset_index()
    assert {"dataset", "seed", "epoch", "base", "new", "id1", "id2"} <= set(table)
    assert not {"label", "lr", "rank", "counts", "singular", "key", "last"} & set(table)
    both = compact(pd.concat([runs, frame(records("kgcoop"))]))
    assert both.index.name == "label" and set(both.index) == {"CoOp", "KgCoOp"}
    deep = made()
    for point in deep["checkpoints"]:
        point["id"] = np.linspace(point["epoch"], 1, 5).tolist()
    assert [name for name in compact(frame([deep])) if name.startswith("id")] == ["id1", "id2"]


def test_as_read_densities_take_the_place_of_the_prompts() -> None:
    held, older = made(seed=1), made(seed=2)
    for point in held["checkpoints"]:
        point["id_read"] = [point["id"][0] / 2, 1.0]
    runs = frame([held])
    read = as_read(runs)
    assert read is not None
    assert read["id1"].tolist() == (runs["id1"] / 2).tolist() and (read["id2"] == 1).all()
    assert read["new"].tolist() == runs["new"].tolist()
    assert as_read(frame([older])) is None
    assert as_read(frame([held, older])) is None  # what some runs lack is said of none
    assert as_read(frame([held, stop(older)])) is not None
    wide = made()
    for point in wide["checkpoints"]:
        point["id_read"] = [point["epoch"] / 10, 0.8, 0.9 + point["epoch"] / 1000, 1.0]
    assert "id3_read" not in compact(frame([wide]))


def test_a_stopped_run_is_told_by_its_status() -> None:
    runs = frame([stop(made(seed=1)), made(seed=2)])
    assert runs.loc[runs["status"] == "finished", "seed"].unique().tolist() == [2]
    assert pytest.approx(runs.drop_duplicates("key")["seconds"].sum()) == 3.0
