"""Power cuts, full and read-only disks, clocks that jump: no finished run is lost or half-read."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch
from test_store import dip, record

from dip_lib.store import Store
from dip_lib.store.store import HEAD, load_head
from dip_study.store_care import unread

ROOT = Path(__file__).resolve().parents[1]
LEARNED = {"prompt": torch.arange(8.0).view(2, 4)}


def test_a_record_cut_at_any_byte_is_whole_or_missing(tmp_path: Path) -> None:
    run, other = dip(1), dip(2)
    store = Store(tmp_path)
    for each in (run, other):
        store.put(record(each), LEARNED)
    path = tmp_path / f"{run.key()}.json"
    whole = path.read_bytes()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for length in range(len(whole)):
            path.write_bytes(whole[:length])
            got = store.get(run)
            assert got is None or (got == record(run) and length == len(whole) - 1)  # the newline
            assert store.missing([run, other]) == ([run] if got is None else [])
            path.with_name(f"{path.name}.damaged").unlink(missing_ok=True)
    store.put(record(run), LEARNED)
    assert path.read_bytes() == whole


def test_what_was_learned_cut_at_any_byte_is_whole_or_missing(tmp_path: Path) -> None:
    run, store = dip(), Store(tmp_path)
    store.put(record(run), LEARNED)
    path = tmp_path / f"{run.key()}.safetensors"
    whole = path.read_bytes()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for length in range(len(whole)):
            path.write_bytes(whole[:length])
            assert store.tensors(run) is None
            assert store.get(run) == record(run)


def test_the_head_of_a_record_cut_at_any_byte_is_the_whole_ones_or_none(tmp_path: Path) -> None:
    path, made = tmp_path / "run.json", record(dip())
    for order in (made, {"status": made["status"], **made}):  # after its checkpoints, before them
        text = f"{json.dumps(order, indent=1)}\n".encode()
        for length in range(len(text) + 1):
            path.write_bytes(text[:length])
            got = load_head(path)
            if length < len(text) - 1:  # the newline
                assert got is None
            else:
                assert isinstance(got, dict)
                assert {name: got[name] for name in HEAD} == {name: made[name] for name in HEAD}


@pytest.mark.parametrize("stamp", [0, 2**32])  # 1970 and 2106
def test_a_clock_that_jumps_makes_nothing_stale(tmp_path: Path, stamp: int) -> None:
    store, run = Store(tmp_path), dip()
    store.put(record(run), LEARNED)
    for path in tmp_path.iterdir():
        os.utime(path, (stamp, stamp))
    again = Store(tmp_path)
    assert again.missing([run]) == [] and again.records() == [record(run)]
    young = tmp_path / "young.safetensors"
    young.write_bytes(b"x")
    # a clock that has been set back: what was written "later" is left alone
    assert unread(tmp_path, now=young.stat().st_mtime - 10**6)["no record"] == []


# ---- disks --------------------------------------------------------------------------------------

FULL = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_store import dip, record
from dip_lib.store import Store
from dip_lib.store.store import HEAD, load_head
live, kept = Path(sys.argv[2]), []
try:
    for seed in range(10_000):
        Store(live).put(record(dip(seed)))
        kept.append(seed)
except OSError as error:
    print(error.errno, error)
assert kept and Store(live).missing([dip(seed) for seed in kept]) == []
assert not [path for path in live.iterdir() if path.suffix == ".tmp"]
(live / f"{dip(kept[0]).key()}.json").unlink()  # some space is freed
(live / f"{dip(kept[1]).key()}.json").unlink()
Store(live).put(record(dip(10_001)))
print(len(kept), len(Store(live).records()))
"""
READ_ONLY = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_store import dip, record
from dip_lib.store import Store
from dip_lib.store.store import HEAD, load_head
from dip_study.measure import measure
store = Store(Path(sys.argv[2]))
assert store.missing([dip()]) == [] and len(store.records()) == 1
try:
    measure([dip(2)], store)
except OSError as error:
    print(error.errno, error)
"""


def in_namespace(mount: str, script: str, *arguments: Path) -> str:
    """What a script prints that sees a mount of its own."""
    space = ["unshare", "--user", "--map-root-user", "--mount"]
    if not shutil.which("unshare") or subprocess.run([*space, "true"]).returncode:
        pytest.skip("no user namespace can be made here: no such disk was tried")
    command = [*space, "sh", "-c", f'{mount} && exec "$@"', "sh", sys.executable, "-c", script]
    words = [*command, str(ROOT / "tests"), *map(str, arguments)]
    where = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(words, env=where, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_a_full_disk_keeps_what_was_finished_and_goes_on_when_there_is_space(
    tmp_path: Path,
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = f"mount -t tmpfs -o size=100k tmpfs {disk}"
    first, last = in_namespace(mount, FULL, disk / "store").splitlines()
    assert first.startswith(str(errno.ENOSPC)) and "Free some space" in first
    kept, there = map(int, last.split())
    assert kept >= 5 and there == kept - 1


def test_a_read_only_store_is_read_and_refused_before_any_work(tmp_path: Path) -> None:
    live = tmp_path / "store"
    Store(live).put(record(dip()))
    mount = f"mount --bind {live} {live} && mount -o remount,bind,ro {live}"
    said = in_namespace(mount, READ_ONLY, live)
    assert said.startswith(str(errno.EROFS)) and str(live) in said
