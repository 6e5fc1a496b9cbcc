"""The run store loses no finished run and lets no half-written one in."""

import errno
import json
import signal
import socket
import subprocess
import sys
import time
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from dip_lib.files import write_atomic
from dip_lib.methods import CoOp
from dip_lib.store import Store
from dip_lib.store.export import export
from dip_lib.store.store import LAYOUT
from dip_lib.training.parts import Data, LowRank, Schedule, Tower
from dip_lib.training.run import RECIPE, Run


def dip(seed: int = 1, dataset: str = "greek", lr: float = 0.03) -> Run:
    return Run(
        data=Data(dataset=dataset),
        tower=Tower(backbone="glyph-resnet"),
        method=CoOp(),
        low_rank=LowRank(),
        schedule=Schedule(lr=lr),
        seed=seed,
    )


def record(run: Run, new: float = 58.123456789) -> dict[str, Any]:
    return {
        "key": run.key(),
        "recipe": RECIPE,
        "code": CoOp.identity(),
        "label": run.label,
        "run": run.to_dict(),
        "classes": [12, 12],
        "checkpoints": [{"epoch": 0, "base": 61.2, "new": new, "loss": None, "id": [0.57, 1.0]}],
        "status": "finished",
        "versions": {"torch": "2.15.0"},
        "seconds": 1.7123456,
    }


def test_what_is_put_is_got_and_nothing_else_is_left(tmp_path: Path) -> None:
    store, run = Store(tmp_path / "live"), dip()
    assert store.get(run) is None and store.records() == []
    learned = {"prompt": torch.randn(4, 128), "other.0": torch.randn(2, 3).T}
    store.put(record(run), learned)
    assert store.get(run) == record(run)
    assert Store(tmp_path / "live").records() == [record(run)]
    names = {path.name for path in (tmp_path / "live").iterdir()}
    assert names == {f"{run.key()}.json", f"{run.key()}.safetensors", LAYOUT}
    saved = load_file(tmp_path / "live" / f"{run.key()}.safetensors")
    kept = Store(tmp_path / "live").tensors(run)
    assert kept is not None
    assert saved.keys() == kept.keys() == learned.keys()
    for name, tensor in learned.items():
        assert torch.equal(saved[name], tensor)
        assert torch.equal(kept[name], tensor)


def test_what_a_run_has_learned_is_asked_of_a_live_run_alone(tmp_path: Path) -> None:
    store, run = Store(tmp_path / "live"), dip()
    prompt = {"prompt": torch.randn(4, 128)}
    assert store.tensors(run) is None
    store.put(record(run), prompt)
    assert store.tensors(replace(run, seed=2)) is None
    path = tmp_path / "live" / f"{run.key()}.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.warns(UserWarning, match=path.name):
        assert store.tensors(run) is None
    path.write_bytes(whole)
    (tmp_path / "live" / f"{run.key()}.json").unlink()  # tensors of a run that never finished
    assert store.tensors(run) is None
    export([record(run)], tmp_path / "export.json")
    path.unlink()
    committed = Store(tmp_path / "live", [tmp_path / "export.json"])
    assert committed.get(run) is not None
    assert committed.tensors(run) is None  # a committed record has no tensors


def test_changing_one_setting_misses_only_what_it_touches(tmp_path: Path) -> None:
    store = Store(tmp_path)
    runs = [dip(seed=s) for s in (1, 2, 3)]
    for run in runs:
        store.put(record(run))
    assert store.missing(runs) == []
    changed = [runs[0], dip(seed=2, lr=0.1), runs[2], dip(seed=2, lr=0.1)]
    assert store.missing(changed) == [changed[1]]


def test_numbers_that_are_not_finite_are_stored_as_null(tmp_path: Path) -> None:
    store, run = Store(tmp_path), dip()
    store.put(record(run, new=float("nan")))
    assert store.records()[0]["checkpoints"][0]["new"] is None
    json.loads(next(tmp_path.glob("*.json")).read_text(), parse_constant=pytest.fail)


def test_a_record_under_a_wrong_key_is_refused(tmp_path: Path) -> None:
    wrong = record(dip()) | {"key": "0" * 16}
    with pytest.raises(ValueError, match="0000000000000000"):
        Store(tmp_path).put(wrong)
    with pytest.raises(ValueError, match="'run'"):
        Store(tmp_path).put({"key": "0" * 16})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: "",
        lambda text: text.replace('"seed": 1', '"seed": 2'),
        lambda text: "[1, 2]",
        lambda text: "\x00" * 100,
        lambda text: text.replace('"status"', '"state"'),
    ],
)
def test_a_damaged_file_is_named_set_aside_and_missing(tmp_path: Path, damage: Any) -> None:
    store, run = Store(tmp_path), dip()
    store.put(record(run))
    path = tmp_path / f"{run.key()}.json"
    path.write_text(damage(path.read_text()))
    with pytest.warns(UserWarning, match=run.key()):
        assert store.missing([run]) == [run]
    assert {p.name for p in tmp_path.iterdir()} == {f"{path.name}.damaged", LAYOUT}
    store.put(record(run))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert store.get(run) == record(run)


@pytest.mark.parametrize(
    "change",
    [
        {"recipe": RECIPE - 1},
        {"code": "0" * 12},
        {"run": dip().to_dict() | {"method": {"name": "coop", "gone": 1}}},
        {"run": dip().to_dict() | {"method": {"name": "not-here"}}},
    ],
)
def test_runs_of_another_recipe_method_or_library_are_left_in_peace(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    store = Store(tmp_path)
    store.put(record(dip(seed=2)))
    old = record(dip()) | {"key": "a" * 16} | change
    (tmp_path / f"{old['key']}.json").write_text(json.dumps(old))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert store.missing([dip(), dip(seed=2)]) == [dip()]
        assert store.records() == [record(dip(seed=2))]
        assert store.outdated() == [old]
        export([old], tmp_path / "export" / "old.json")
        assert Store(tmp_path, [tmp_path / "export" / "old.json"]).missing([dip()]) == [dip()]
    assert len(list(tmp_path.glob("*.json"))) == 2


# ---- exports -----------------------------------------------------------------------------------


def test_an_export_gives_the_records_again_rounded_under_the_same_keys(tmp_path: Path) -> None:
    runs = [dip(dataset=d, seed=s) for d in ("greek", "latin") for s in (1, 2)]
    path = tmp_path / "export.json"
    export([record(run) for run in runs], path)
    store = Store(tmp_path / "live", [path])
    assert store.missing(runs) == []
    got = store.get(runs[3])
    assert got is not None
    assert got["checkpoints"][0]["new"] == 58.123 and got["seconds"] == 1.7123
    assert got == record(runs[3], new=58.123) | {"seconds": 1.7123}
    assert Run.from_dict(got["run"]) == runs[3]  # 1 / 200 and the like are not rounded
    again = tmp_path / "again.json"
    export(reversed(store.records()), again)
    assert again.read_bytes() == path.read_bytes()


def test_an_export_has_a_line_a_run_and_says_once_what_all_share(tmp_path: Path) -> None:
    runs = [dip(seed=s) for s in (1, 2, 3)]
    export([record(run, new=50.0 + run.seed) for run in runs], tmp_path / "export.json")
    lines = (tmp_path / "export.json").read_text().splitlines()
    assert [line for line in lines if '"key"' in line] == lines[2:5]
    assert sum("2.15.0" in line for line in lines) == sum("weight_decay" in x for x in lines) == 1
    json.loads("\n".join(lines))


def test_an_export_of_ends_keeps_the_last_checkpoint_alone_and_leaves_the_records(
    tmp_path: Path,
) -> None:
    kept = record(dip())
    start = kept["checkpoints"][0] | {"epoch": 0, "new": 1.0}
    kept["checkpoints"] = [start, *kept["checkpoints"]]
    whole = record(dip(seed=2)) | {"checkpoints": kept["checkpoints"]}
    export([kept, whole], tmp_path / "ends.json", ends=[kept["key"]])
    got = Store(tmp_path / "live", [tmp_path / "ends.json"]).get(dip())
    assert got is not None
    assert [point["epoch"] for point in got["checkpoints"]] == [kept["checkpoints"][-1]["epoch"]]
    assert len(kept["checkpoints"]) == 2
    other = Store(tmp_path / "live", [tmp_path / "ends.json"]).get(dip(seed=2))
    assert other is not None and len(other["checkpoints"]) == 2


def test_no_runs_make_an_empty_export(tmp_path: Path) -> None:
    export([], tmp_path / "export.json")
    assert Store(tmp_path / "live", [tmp_path / "export.json"]).records() == []


def test_layers_lie_beneath_the_live_store_and_are_never_written(tmp_path: Path) -> None:
    run, only = dip(), dip(seed=9)
    export([record(run, new=1.0), record(only)], tmp_path / "first.json")
    export([record(run, new=2.0)], tmp_path / "second.json")
    before = (tmp_path / "first.json").read_bytes()
    layers = [tmp_path / "first.json", tmp_path / "second.json", tmp_path / "absent.json"]
    store = Store(tmp_path / "live", layers)
    assert store.records() == sorted(
        [record(run, new=1.0) | {"seconds": 1.7123}, record(only, 58.123) | {"seconds": 1.7123}],
        key=lambda each: each["key"],
    )
    store.put(record(run, new=3.0))
    got = store.get(run)
    assert got is not None and got["checkpoints"][0]["new"] == 3
    assert len(store.records()) == 2
    assert (tmp_path / "first.json").read_bytes() == before


def test_damage_in_an_export_is_named_and_the_rest_is_read(tmp_path: Path) -> None:
    path, runs = tmp_path / "export.json", [dip(seed=s) for s in (1, 2)]
    export([record(run) for run in runs], path)
    text = path.read_text()
    path.write_text(text.replace(runs[0].key(), "0" * 16))
    with pytest.warns(UserWarning, match="0000000000000000"):
        assert Store(tmp_path / "live", [path]).missing(runs) == [runs[0]]
    path.write_text(text[:-20])
    with pytest.warns(UserWarning, match="export.json"):
        assert Store(tmp_path / "live", [path]).missing(runs) == runs
    assert path.exists()


# ---- faults ------------------------------------------------------------------------------------


FULL = """
import resource, sys
from pathlib import Path
from dip_lib.files import write_atomic
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))  # the system refuses the rest of the file
try:
    write_atomic(Path(sys.argv[1]), b"new" * 1000)
except OSError as error:
    print(error.errno, error)
"""


def test_a_file_that_does_not_fit_is_said_and_leaves_no_half_file(tmp_path: Path) -> None:
    path = tmp_path / "home" / "run.json"
    write_atomic(path, b"old")
    said = subprocess.run(
        [sys.executable, "-c", FULL, str(path)], capture_output=True, text=True, check=True
    ).stdout
    assert said.startswith(str(errno.EFBIG))
    assert f"cannot write {path}: File too large. Free some space" in said and "DIP_HOME" in said
    assert [p.name for p in path.parent.iterdir()] == ["run.json"]
    assert path.read_bytes() == b"old"


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("")
    with pytest.raises(OSError, match="DIP_HOME"):
        Store(tmp_path / "home" / "live").put(record(dip()))


FORBIDDEN = """
import os, sys
from pathlib import Path
from dip_lib.files import write_atomic
if os.geteuid() == 0:
    os.setuid(65534)  # root may write anywhere
try:
    write_atomic(Path(sys.argv[1]) / "run.json", b"new")
except PermissionError as error:
    print(error)
"""


def test_no_permission_is_said(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    said = subprocess.run(
        [sys.executable, "-c", FORBIDDEN, str(tmp_path)], capture_output=True, text=True, check=True
    ).stdout
    tmp_path.chmod(0o755)
    assert f"cannot write {tmp_path}/run.json: Permission denied. " in said
    assert list(tmp_path.iterdir()) == []


KILLED = """
import os, sys, time
from pathlib import Path
from dip_lib.files import write_atomic
os.fsync = lambda fd: (print("half", flush=True), time.sleep(60))
write_atomic(Path(sys.argv[1]) / "run.json", b"{")
"""


def test_what_a_killed_process_left_is_swept_and_what_others_write_is_not(tmp_path: Path) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None and child.stdout.readline() == "half\n"
    Store(tmp_path)
    assert len(list(tmp_path.iterdir())) == 1  # its writer still runs
    child.send_signal(signal.SIGKILL)
    child.wait()
    elsewhere = tmp_path / f".run.json~not-{socket.gethostname()}~{child.pid}~00.tmp"
    mine = tmp_path / ".notes.tmp"
    for path in (elsewhere, mine):
        path.write_text("")
    store = Store(tmp_path)
    assert set(tmp_path.iterdir()) == {elsewhere, mine}
    assert store.records() == []


WRITER = """
import sys
from pathlib import Path
from dip_lib.files import write_atomic
for i in range(100):
    write_atomic(Path(sys.argv[1]), bytes([65 + i % 26]) * 100_000)
"""


def test_a_file_is_always_whole_while_it_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomic(path, b"A" * 100_000)
    child = subprocess.Popen([sys.executable, "-c", WRITER, str(path)])
    while child.poll() is None:
        data = path.read_bytes()
        assert len(data) == 100_000 and len(set(data)) == 1
        time.sleep(0.001)
    assert child.returncode == 0
    assert list(tmp_path.iterdir()) == [path]
