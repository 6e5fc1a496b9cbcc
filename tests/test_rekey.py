"""``dip store``: runs outlive an edit of their method's looks, and never one of its results."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from dip_lib.store import Store
from dip_lib.store.export import every_record, export
from dip_lib.store.store import LAYOUT
from dip_lib.training.parts import LowRank
from dip_lib.training.record import Record
from dip_lib.training.run import Run
from dip_study import study
from dip_study.cli import main
from dip_study.profiles import load_profile
from dip_study.rekey import Outdated, differences, outdated, rekey, sample
from dip_study.runs import coop, is_present, seeds

ROOT = Path(__file__).resolve().parents[1]
SMOKE = replace(
    load_profile("smoke"), towers=("glyph-resnet",), datasets=("greek",), seeds=(1,), epochs=1
)
LOOKS = {"distance": "away"}
RESULTS = {"* distance": "* distance * 1e4"}
COMMANDS = """
import contextlib, io, json, sys
from dip_study.cli import main
for command in sys.argv[1:]:
    with contextlib.redirect_stdout(io.StringIO()) as said:
        code = main(["store", *command.split(), "--json"])
    print(json.dumps([code, said.getvalue()]))
"""


@dataclass(frozen=True)
class Place:
    """A machine with live runs and committed ones, and what it would import."""

    home: Path
    results: Path
    package: Path

    def edit(self, changes: Mapping[str, str]) -> None:
        """Change the text of KgCoOp's file."""
        path = self.package / "dip_lib" / "methods" / "kgcoop.py"
        text = path.read_text()
        for old, new in changes.items():
            assert old in text
            text = text.replace(old, new)
        path.write_text(text)

    def dip(self, *commands: str) -> list[tuple[int, Any]]:
        """What each ``dip store ... --json`` exits with and says, one after another in a process
        that imports the place's package."""
        where = {
            "PYTHONPATH": self.package,
            "DIP_HOME": self.home,
            "DIP_RESULTS": self.results,
            "DIP_WORKERS": 1,
        }
        done = subprocess.run(
            [sys.executable, "-c", COMMANDS, *commands],
            cwd=self.home,
            env={**os.environ, **{name: str(value) for name, value in where.items()}},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        said = [json.loads(line) for line in done.stdout.splitlines()]
        return [(code, json.loads(text)) for code, text in said]

    def files(self) -> dict[str, bytes]:
        """Every stored run and export."""
        paths = [*(self.home / "store").iterdir(), *self.results.rglob("*.json")]
        return {path.name: path.read_bytes() for path in paths}


def runs() -> list[Run]:
    return [*seeds(SMOKE, "kgcoop"), *seeds(SMOKE, "kgcoop", study.DIP), *coop(SMOKE)]


@pytest.fixture(scope="module")
def measured(features: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with three live runs, two of them KgCoOp's."""
    home = tmp_path_factory.mktemp("measured")
    (home / "features").symlink_to(features)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DIP_HOME", str(home))
        patch.setenv("DIP_WORKERS", "1")
        study.collect(runs(), SMOKE, results="fresh")
    return home


@pytest.fixture
def place(measured: Path, tmp_path: Path) -> Place:
    home, package = tmp_path / "home", tmp_path / "package"
    shutil.copytree(measured, home, symlinks=True)
    package.mkdir()
    shutil.copytree(ROOT / "dip_lib", package / "dip_lib")
    for name in ("dip_study", "glyph_world", "photo_world"):
        (package / name).symlink_to(ROOT / name)
    records = Store(home / "store").records()
    keys = [each["key"] for each in records]
    export(records, tmp_path / "results" / "smoke" / "hosts.json", ends=keys)
    return Place(home, tmp_path / "results", package)


def test_an_edit_of_looks_keeps_every_run_with_what_it_learned(place: Place) -> None:
    before = place.files()
    place.edit(LOOKS)
    first, done, last = place.dip("status", "rekey kgcoop --sample 2", "status")
    code, states = first
    assert code == 0
    assert [(each["current"], each["outdated"]) for each in states] == [(1, 2), (1, 2)]
    assert states[0]["outdated_methods"] == {"kgcoop": 2}
    assert done == (
        0,
        {"method": "kgcoop", "outdated": 4, "sample": 2, "rekeyed": 4, "differ": {}},
    )
    code, states = last
    assert [(each["current"], each.get("outdated", 0)) for each in states] == [(3, 0), (3, 0)]
    (other,) = (run.key() for run in coop(SMOKE))
    after = place.files()
    kept = {LAYOUT, "hosts.json", f"{other}.json", f"{other}.safetensors"}
    assert after.keys() & before.keys() == kept
    tensors = [{n: d for n, d in each.items() if n.endswith("s")} for each in (before, after)]
    assert sorted(tensors[0].values()) == sorted(tensors[1].values())
    assert place.dip("rekey kgcoop") == [
        (0, {"method": "kgcoop", "outdated": 0, "sample": 0, "rekeyed": 0, "differ": {}})
    ]
    assert place.files() == after


def test_an_edit_that_changes_results_changes_nothing_and_is_told_by_run_and_number(
    place: Place,
) -> None:
    before = place.files()
    place.edit(RESULTS)
    ((code, found),) = place.dip("rekey kgcoop")
    assert (code, found["rekeyed"], found["sample"]) == (1, 0, 2)
    assert set(found["differ"]) <= {run.key() for run in runs()}
    assert any("loss" in line for each in found["differ"].values() for line in each)
    assert place.files() == before


# ---- its parts ----------------------------------------------------------------------------------


def with_last(record: Record, **values: Any) -> Record:
    *earlier, last = record["checkpoints"]
    return record | {"checkpoints": [*earlier, last | values]}


def test_accuracies_may_be_half_a_point_apart_and_other_numbers_a_thousandth(
    measured: Path,
) -> None:
    (record,) = (Store(measured / "store").get(run) for run in coop(SMOKE))
    assert record is not None
    last = record["checkpoints"][-1]
    assert differences(record, record) == []
    assert differences(record | {"checkpoints": [last]}, record) == []  # an export of ends
    assert differences(record, with_last(record, base=last["base"] + 0.49)) == []
    assert differences(record, with_last(record, loss=last["loss"] * 1.0009)) == []
    still = with_last(record, drift_base=1.2e-7)  # 1 minus a cosine that is 1 but for rounding
    assert differences(still, with_last(record, drift_base=3e-7)) == []
    values = [value + 1e-9 for value in last["singular"]]
    assert differences(record, with_last(record, singular=values)) == []
    for name, value in (
        ("base", last["base"] + 0.6),
        ("new", None),
        ("loss", last["loss"] * 1.002),
        ("id", [1.01 * each for each in last["id"]]),
        ("singular", last["singular"][:-1]),
    ):
        (said,) = differences(record, with_last(record, **{name: value}))
        assert name in said and str(value) in said
    stopped = record | {"status": "stopped: non-finite loss in epoch 0"}
    assert len(differences(record, stopped)) == 1
    assert differences(record, record | {"checkpoints": []})


def test_validation_may_be_one_image_apart(measured: Path) -> None:
    (record,) = (Store(measured / "store").get(run) for run in coop(SMOKE))
    assert record is not None
    image = 100 / (record["classes"][0] * 4)
    assert image > 0.5
    val = record["checkpoints"][-1]["val"]
    assert differences(record, with_last(record, val=val - image)) == []
    assert differences(record, with_last(record, val=val - 2 * image))


def test_a_sample_is_spread_over_towers_ranks_and_schedules() -> None:
    profile = load_profile("embedded")
    every = [
        run
        for tower in profile.towers
        for epochs in (10, 40)
        for low_rank in (None, LowRank())
        for run in seeds(profile, "kgcoop", low_rank, backbone=tower, epochs=epochs, fingerprint="")
    ]
    assert len(profile.towers) == 2

    def kinds(count: int) -> set[Any]:
        return {(run.tower, run.low_rank, run.schedule) for run in sample(every, count)}

    assert len(kinds(8)) == len(kinds(20)) == 8
    assert {tower for tower, _, _ in kinds(2)} == {run.tower for run in every}
    assert {low_rank for _, low_rank, _ in kinds(4)} == {None, LowRank()}
    assert {run.data.dataset for run in sample(every, 8)} == {min(profile.datasets)}
    for count in (1, 4, 20, 10**6):
        chosen = sample(every, count)
        assert len(set(chosen)) == len(chosen) == min(count, len(every))


def stored_under_old_code(home: Path) -> list[Outdated]:
    """The live runs of KgCoOp as other code has made them, on disk and as they are found."""
    live = home / "store"
    for path in sorted(live.glob("*.json")):
        record = json.loads(path.read_text())
        if record["run"]["method"]["name"] == "kgcoop":
            old = record | {"code": "0" * 12, "key": f"{record['key'][:8]}{'0' * 8}"}
            tensors = path.with_suffix(".safetensors")
            tensors.rename(live / f"{old['key']}.safetensors")
            path.unlink()
            (live / f"{old['key']}.json").write_text(json.dumps(old))
    return outdated("kgcoop", live, [])


def test_interrupted_it_can_be_called_again(
    measured: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    shutil.copytree(measured, home, symlinks=True, dirs_exist_ok=True)
    before = {path.name: path.read_bytes() for path in (home / "store").iterdir()}
    found = stored_under_old_code(home)
    assert len(found) == 2
    removed: list[Path] = []
    unlink = Path.unlink

    def interrupted(path: Path, missing_ok: bool = False) -> None:
        if path.suffix == ".json":
            raise KeyboardInterrupt
        removed.append(path)
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", interrupted)
    with pytest.raises(KeyboardInterrupt):
        rekey(found)
    monkeypatch.undo()
    rekey(outdated("kgcoop", home / "store", []))
    after = {path.name: path.read_bytes() for path in (home / "store").iterdir()}
    assert after.keys() == before.keys()
    assert {n: d for n, d in after.items() if n.endswith("s")} == {
        n: d for n, d in before.items() if n.endswith("s")
    }


def test_runs_whose_images_or_weights_are_gone_are_not_present(measured: Path) -> None:
    run, *_ = runs()
    assert is_present(run)
    for part in (
        {"tower": replace(run.tower, weights="0" * 12)},
        {"data": replace(run.data, fingerprint="0" * 12)},
        {"data": replace(run.data, target="latin", target_fingerprint="0" * 12)},
        {"data": replace(run.data, dataset="gone")},
    ):
        assert not is_present(replace(run, **part))


# ---- the commands -------------------------------------------------------------------------------


@pytest.fixture
def _own_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIP_RESULTS", str(tmp_path / "results"))


@pytest.mark.usefixtures("_own_results")
def test_migrate_brings_this_machines_runs_and_the_committed_ones_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (source, *_) = sorted((ROOT / "tests" / "earlier_layout").glob("*.json"))
    old, live = every_record(source), tmp_path / "home" / "store"
    live.mkdir(parents=True)
    (tmp_path / "results" / "smoke").mkdir(parents=True)
    path = Path(shutil.copy(source, tmp_path / "results" / "smoke"))
    (live / f"{old[0]['key']}.json").write_text(json.dumps(old[0]))

    def said(*arguments: str) -> Any:
        assert main(["store", *arguments, "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    assert [each["earlier layout"] for each in said("status")] == [1, len(old)]
    assert said("migrate") == {str(live): 1, str(path): len(old)}
    assert [each.get("current") for each in said("status")] == [1, len(old)]
    assert said("migrate") == {str(live): 0, str(path): 0}
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    copy = shutil.copy(source, folder)
    assert said("migrate", str(folder)) == {copy: len(old)}


@pytest.mark.usefixtures("_own_results")
@pytest.mark.parametrize(
    ("arguments", "token"),
    [
        (["migrate", "nowhere"], "nowhere"),
        (["rekey", "kgcop"], "'kgcoop'"),
        (["rekey", "kgcoop", "--sample", "0"], "--sample 0"),
    ],
)
def test_what_is_not_there_is_named(arguments: list[str], token: str) -> None:
    with pytest.raises(SystemExit, match=token):
        main(["store", *arguments])


@pytest.mark.usefixtures("_own_results")
def test_runs_of_different_earlier_code_are_judged_apart(
    measured: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("DIP_WORKERS", "1")
    shutil.copytree(measured, tmp_path / "home", symlinks=True)
    same, other = stored_under_old_code(tmp_path / "home")
    edited = with_last(other.record, loss=12.0) | {"code": "1" * 12}
    (other.place / f"{other.record['key']}.json").write_text(json.dumps(edited))
    assert main(["store", "rekey", "kgcoop"]) == 1
    said = capsys.readouterr().out
    assert str(other.run) in said and "loss: 12.0" in said and str(same.run) not in said
    assert [each.record["code"] for each in outdated("kgcoop", same.place, [])] == ["1" * 12]
    assert Store(same.place).get(same.run) is not None
