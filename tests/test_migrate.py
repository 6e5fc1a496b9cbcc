"""Runs of the earlier layout come over: real ones of every kind, and none is lost on the way."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import warnings
from collections.abc import Callable
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch
from safetensors.torch import save_file

from dip_lib.methods import METHODS, CoOp
from dip_lib.methods.vpt import VPT
from dip_lib.store import Store
from dip_lib.store.export import every_record
from dip_lib.store.migrate import ASIDE, migrate_export, migrate_live, migrated, run_of_spec
from dip_lib.training.parts import LowRank, Schedule
from dip_lib.training.run import RECIPE, Run

EXPORTS = sorted((Path(__file__).parent / "earlier_layout").glob("*.json"))
"""Lines of the exports that were committed in the earlier layout, a few of each kind of run."""
OLD = {record["key"]: record for path in EXPORTS for record in every_record(path)}


def same_setting(run: Run, old: dict[str, Any]) -> bool:
    """Whether each setting of a run has the value that the flat spec had under its name."""
    renamed = {"fingerprint": "data", "target_fingerprint": "target_data"}
    rank = {"rank": run.rank, "dropout": run.low_rank.dropout if run.low_rank else 0.0}
    method = {name: getattr(run.method, name) for name in run.method.settings()}
    schedule = vars(run.schedule) if run.schedule else {}
    new = {**vars(run.data), **vars(run.tower), **method, **schedule, **rank, "seed": run.seed}
    new = {renamed.get(name, name): value for name, value in new.items()}
    differ = {name for name, value in new.items() if name in old and old[name] != value}
    # zero-shot and ensemble draw nothing, whatever their specs held
    return differ <= (set() if run.method.has_seed else {"shots", "views"})


def test_the_real_runs_are_of_every_method_and_kind() -> None:
    runs = [run_of_spec(record["spec"]) for record in OLD.values()]
    later = {"condensation", "control", "subspace", "surgery", "tower-update"}
    assert {run.method.name for run in runs} == METHODS.keys() - later
    condensed = [run.method for run in runs if isinstance(run.method, VPT) and run.method.keep]
    assert {bool(method.tuned) for method in condensed} == {True, False}
    assert any(run.data.target for run in runs)
    assert any(run.data.protocol == "all-classes" and not run.data.target for run in runs)
    assert any(run.data.style != "default" for run in runs)
    assert any(run.tower.precision == "bf16" for run in runs)
    assert LowRank(rank=None, dropout=0.5, site="prompt") in {run.low_rank for run in runs}


@pytest.mark.parametrize("key", OLD)
def test_a_run_comes_over_with_its_settings_and_its_checkpoints(key: str) -> None:
    old = OLD[key]
    new = migrated(old)
    run = Run.from_dict(new["run"])
    assert run == run_of_spec(old["spec"])
    assert same_setting(run, old["spec"])
    assert (new["key"], new["recipe"], new["code"]) == (
        *(run.key(), RECIPE),
        type(run.method).identity(),
    )
    named = {"key", "recipe", "code", "label", "run"}
    assert new.keys() - named == old.keys() - {"key", "recipe", "spec"}
    for name in new.keys() - named - {"checkpoints"}:
        assert new[name] == old[name]
    for here, there in zip(new["checkpoints"], old["checkpoints"], strict=True):
        # a probe's named the epochs of the runs beside it
        assert here == there | ({} if run.schedule else {"epoch": 0})


def test_distinct_runs_have_distinct_keys() -> None:
    assert len({migrated(record)["key"] for record in OLD.values()}) == len(OLD)


def test_dip_was_a_method_and_is_coop_with_a_low_rank_update() -> None:
    run = run_of_spec({"dataset": "greek", "method": "dip", "seed": 1, "rank": 1, "dropout": 0.5})
    assert (run.method, run.low_rank, run.schedule) == (CoOp(), LowRank(), Schedule())
    whole = {"rank": 0, "dropout": 0.5, "site": "prompt"}
    run = run_of_spec({"dataset": "greek", "method": "coop", "seed": 1, **whole})
    assert run.low_rank == LowRank(rank=None, dropout=0.5, site="prompt")
    with pytest.raises(KeyError):
        run_of_spec({"dataset": "greek", "method": "gone", "seed": 1})


# ---- exports ------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", EXPORTS, ids=lambda path: path.stem)
def test_an_export_is_named_until_it_is_brought_over_once(source: Path, tmp_path: Path) -> None:
    path = Path(shutil.copy(source, tmp_path))
    old = every_record(path)
    with pytest.warns(UserWarning, match="dip store migrate"):
        assert Store(tmp_path / "live", [path]).records() == []
    assert migrate_export(path) == len(old)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        store = Store(tmp_path / "live", [path])
    found = {record["key"]: record["checkpoints"] for record in store.records()}
    new = [migrated(record) for record in old]
    assert found == {record["key"]: record["checkpoints"] for record in new}
    text = path.read_bytes()
    assert migrate_export(path) == 0
    assert path.read_bytes() == text


def test_an_export_that_cannot_be_brought_over_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "base_to_new.json"
    source = next(path for path in EXPORTS if path.stem == "base_to_new")
    path.write_text(source.read_text().replace('"method": "coop"', '"method": "gone"'))
    text = path.read_bytes()
    with pytest.raises(KeyError, match="gone"):
        migrate_export(path)
    assert path.read_bytes() == text


# ---- live stores --------------------------------------------------------------------------------

FEW = [*OLD.values()][:3]


def is_trained(record: dict[str, Any]) -> bool:
    return record["spec"]["method"] in ("coop", "dip")


@pytest.fixture
def live(tmp_path: Path) -> Path:
    """A live store as it was: three runs, tensors beside those that are trained."""
    folder = tmp_path / "store"
    folder.mkdir()
    for record in FEW:
        (folder / f"{record['key']}.json").write_text(json.dumps(record, indent=1))
        if is_trained(record):
            tensors = {"prompt": torch.full((4, 8), float(len(record["key"])))}
            save_file(tensors, folder / f"{record['key']}.safetensors")
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def assert_brought_over(folder: Path, before: dict[str, bytes]) -> None:
    """Every run is read, with its tensors, and every old file is kept."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        store = Store(folder)
    for record in FEW:
        run = run_of_spec(record["spec"])
        assert store.get(run) == migrated(record)
        tensors = folder / f"{run.key()}.safetensors"
        assert tensors.is_file() == is_trained(record)
        if tensors.is_file():
            assert tensors.read_bytes() == before[f"{record['key']}.safetensors"]
    assert contents(folder / ASIDE) == before
    assert len(store.records()) == len(FEW)


def test_a_live_store_of_the_earlier_layout_is_named_each_time_until_it_comes_over(
    live: Path,
) -> None:
    run, before = run_of_spec(FEW[0]["spec"]), contents(live)
    new = replace(run, seed=7)
    for _ in range(2):
        with pytest.warns(UserWarning, match="dip store migrate"):
            store = Store(live)
        assert store.missing([run]) == [run]
        store.put(migrated(FEW[0]) | {"run": new.to_dict(), "key": new.key()})
    assert migrate_live(live) == len(FEW)
    assert contents(live / ASIDE) == before
    assert Store(live).missing([run, new]) == []


def test_a_live_store_comes_over_with_its_tensors_and_twice_changes_nothing(live: Path) -> None:
    before = contents(live)
    assert migrate_live(live) == len(FEW)
    assert_brought_over(live, before)
    after = contents(live)
    assert migrate_live(live) == 0
    assert contents(live) == after
    assert migrate_live(live.parent / "absent") == 0
    assert not (live.parent / "absent").exists()


def die_before_rename(folder: Path, number: int) -> None:
    """Bring a store over in a process that dies before its n-th file gets its name."""
    names = iter(range(number))
    rename: Callable[..., None] = os.replace

    def counted(*paths: Any) -> None:
        if next(names, None) is None:
            os._exit(9)
        rename(*paths)

    with patch.object(os, "replace", counted):
        migrate_live(folder)
    os._exit(0)


def test_killed_anywhere_it_can_be_called_again_and_nothing_is_lost(live: Path) -> None:
    before, context = contents(live), multiprocessing.get_context("fork")
    whole = live.with_name("whole")
    live.rename(whole)
    codes = []
    while 0 not in codes:
        shutil.rmtree(live, ignore_errors=True)
        shutil.copytree(whole, live)
        process = context.Process(target=die_before_rename, args=(live, len(codes)))
        process.start()
        process.join()
        codes.append(process.exitcode)
        assert before.items() <= (contents(live) | contents_aside(live)).items()
        migrate_live(live)
        assert_brought_over(live, before)
    # records and tensors are written and set aside one by one, and at last the layout
    assert len(codes) == 2 * len(before) + 2


def contents_aside(folder: Path) -> dict[str, bytes]:
    return contents(folder / ASIDE) if (folder / ASIDE).is_dir() else {}


def test_a_file_that_cannot_be_brought_over_is_named_and_stays_and_the_others_come(
    live: Path,
) -> None:
    (live / "cut.json").write_text('{"spec": {')
    unknown = FEW[0] | {"spec": FEW[0]["spec"] | {"method": "gone"}}
    (live / "gone.json").write_text(json.dumps(unknown))
    with pytest.raises(ValueError, match=r"(?s)cut\.json.*gone\.json"):
        migrate_live(live)
    assert {path.name for path in live.glob("*.json")} >= {"cut.json", "gone.json"}
    with pytest.warns(UserWarning, match="dip store migrate"):
        store = Store(live)
    with pytest.warns(UserWarning, match="cut.json"):
        assert len(store.records()) == len(FEW)


def test_runs_of_another_recipe_are_kept_and_never_read(live: Path) -> None:
    old = FEW[0] | {"recipe": RECIPE - 1, "key": "f" * 16}
    (live / f"{old['key']}.json").write_text(json.dumps(old))
    assert migrate_live(live) == len(FEW)
    assert json.loads((live / ASIDE / f"{old['key']}.json").read_text()) == old
    assert len(Store(live).records()) == len(FEW)


def test_every_kind_of_live_run_comes_over(tmp_path: Path) -> None:
    for record in OLD.values():
        (tmp_path / f"{record['key']}.json").write_text(json.dumps(record))
    assert migrate_live(tmp_path) == len(OLD)
    store = Store(tmp_path)
    assert store.missing([run_of_spec(record["spec"]) for record in OLD.values()]) == []
    stems = chain((path.stem for path in (tmp_path / ASIDE).iterdir()), OLD)
    assert set(stems) == set(OLD)
