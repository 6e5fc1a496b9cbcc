"""Stored runs are looked after: damage is found, two machines' runs are in one store, and all."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from test_store import dip
from test_store import record as made

from dip_lib.store import Store
from dip_lib.training.record import FAILED, failed
from dip_lib.training.run import Run
from dip_study import store_commands
from dip_study.cli import main
from dip_study.store_care import CONFLICTS, UNDER_WAY, check, merge, unread
from dip_study.store_index import looked_up

LEARNED = {"prompt": torch.ones(4, 8)}


def record(run: Run, new: float = 58.123456789) -> dict[str, Any]:
    return made(run, new) | {"test_images": [400, 400]}


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def kept(folder: Path, *records: dict[str, Any]) -> Path:
    """A live store with these records."""
    store = Store(folder)
    for each in records:
        store.put(each, {} if each["status"].startswith(FAILED) else LEARNED)
    return folder


def outdated(seed: int) -> dict[str, Any]:
    return record(dip(seed)) | {"code": "0" * 12, "key": f"{seed:016}"}


def write(folder: Path, old: dict[str, Any]) -> None:
    (folder / f"{old['key']}.json").write_text(json.dumps(old))


def test_a_check_names_what_is_damaged_and_changes_nothing(tmp_path: Path) -> None:
    live = kept(tmp_path, *(record(dip(seed)) for seed in range(1, 6)))
    write(live, outdated(9))
    assert check(live) == ({"current": 5, "outdated": 1}, {})
    cut, tensors, renamed = (live / dip(seed).key() for seed in (1, 2, 3))
    whole = cut.with_suffix(".json").read_text()
    cut.with_suffix(".json").write_text(whole[:100])
    tensors.with_suffix(".safetensors").write_bytes(b"cut")
    renamed.with_suffix(".json").rename(live / f"{'0' * 16}.json")
    before = files(live)
    states, wrong = check(live)
    assert states == {"current": 4, "outdated": 1, "damaged": 1}
    found = {
        cut.with_suffix(".json"),
        tensors.with_suffix(".safetensors"),
        live / f"{'0' * 16}.json",
    }
    assert {Path(path) for path in wrong} == found
    assert files(live) == before


def test_a_merge_keeps_both_stores_runs_and_reports_where_they_differ(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    kept(here, record(dip(1)), record(dip(2), new=50.0), failed(dip(3), "out of memory"))
    kept(there, record(dip(2), new=60.0), record(dip(3)), record(dip(4)), failed(dip(1), "no"))
    close = record(dip(5)) | {"seconds": 9.0}
    kept(here, record(dip(5)))
    kept(there, close)
    write(there, outdated(7))
    (there / "cut.json").write_text("{")
    mine, theirs = files(here), files(there)
    done = merge(there, here)
    assert (done.added, done.same) == (3, 2)  # 3, 4 and the outdated one; 1 and 5
    assert list(done.conflicts) == [dip(2).key()] and "50.0, now 60.0" in str(done.conflicts)
    assert list(done.refused) == [str(there / "cut.json")]
    store = Store(here)
    for seed, new in ((1, 58.123456789), (2, 50.0), (3, 58.123456789), (4, 58.123456789)):
        got = store.get(dip(seed))
        assert got is not None and got["checkpoints"][0]["new"] == new
        tensors = store.tensors(dip(seed))
        assert tensors is not None and torch.equal(tensors["prompt"], LEARNED["prompt"])
    (conflict,) = (here / CONFLICTS).glob("*.json")
    assert json.loads(conflict.read_text())["checkpoints"][0]["new"] == 60
    assert conflict.with_suffix(".safetensors").is_file()
    assert len(store.records()) == 5 and len(store.outdated()) == 1  # never as today's
    assert files(there) == theirs
    changed = f"{dip(3).key()}.json"
    assert {name: files(here)[name] for name in mine if name != changed} == {
        name: content for name, content in mine.items() if name != changed
    }
    after = files(here)
    again = merge(there, here)
    assert (again.added, again.same) == (0, 5) and files(here) == after


def test_a_record_that_names_another_file_is_not_taken(tmp_path: Path) -> None:
    here, there = tmp_path / "home" / "here", tmp_path / "there"
    kept(here, record(dip(1)))
    there.mkdir()
    before = files(tmp_path)
    for name, key in (("a", "../outside"), ("b", dip(1).key()), ("c", f"{tmp_path}/d")):
        (there / f"{name}.json").write_text(json.dumps(outdated(9) | {"key": key}))
    done = merge(there, here)
    assert len(done.refused) == 3 and not (done.added or done.conflicts)
    assert {n: c for n, c in files(tmp_path).items() if not n.startswith("there/")} == before


def test_what_nobody_reads_is_removed_when_asked_and_nothing_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    live = kept(tmp_path / "home" / "store", record(dip(1)), record(dip(2)))
    write(live, outdated(9))
    alone, young = live / "alone.safetensors", live / "young.safetensors"
    for path in (alone, young, live / "a.json.damaged"):
        path.write_bytes(b"x")
    os.utime(alone, (long_ago := time.time() - 2 * UNDER_WAY, long_ago))
    before = files(live)
    assert main(["store", "gc"]) == 0 and files(live) == before
    assert unread(live) == {"set aside": [live / "a.json.damaged"], "no record": [alone]}
    assert main(["store", "gc", "--yes", "--json"]) == 0
    assert before.keys() - files(live).keys() == {"a.json.damaged", "alone.safetensors"}
    assert main(["store", "gc", "--outdated", "--yes"]) == 0
    assert len(Store(live).records()) == 2 and Store(live).outdated() == []


def test_the_commands_end_with_one_where_something_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    live = kept(tmp_path / "home" / "store", record(dip(1), new=50.0))
    other = kept(tmp_path / "other" / "store", record(dip(1), new=60.0)).parent
    assert main(["store", "check"]) == 0
    assert main(["store", "merge", str(other)]) == 1
    assert dip(1).key() in capsys.readouterr().out
    for wrong in (live, tmp_path / "nowhere"):
        with pytest.raises(SystemExit, match="another machine's"):
            main(["store", "merge", str(wrong)])
    next(live.glob("*.json")).write_text("{")
    assert main(["store", "check"]) == 1


# ---- the index ----------------------------------------------------------------------------------


def test_an_index_looks_only_into_what_has_changed_and_is_never_believed_of_other_code(
    tmp_path: Path,
) -> None:
    paths, looked = [tmp_path / name for name in "abc"], list[str]()
    for path in paths:
        path.write_text(path.name)

    def look(path: Path) -> str:
        looked.append(path.name)
        return path.read_text()

    def found(code: str = "1") -> tuple[list[str], str]:
        looked.clear()
        told = looked_up(paths, look, tmp_path / "index", code)
        return list(told.values()), "".join(looked)

    assert found() == (["a", "b", "c"], "abc")
    assert found() == (["a", "b", "c"], "")
    before = paths[1].stat()
    new = tmp_path / "new"
    new.write_text("B")  # of the same size and, on a clock that was set back, the same time
    os.utime(new, ns=(before.st_atime_ns, before.st_mtime_ns))
    new.replace(paths[1])
    assert found() == (["a", "B", "c"], "b")
    assert found("2") == (["a", "B", "c"], "abc")
    (tmp_path / "index").write_text("{")
    assert found("2") == (["a", "B", "c"], "abc")
    paths[0].unlink()
    assert found("2") == (["B", "c"], "")


def test_the_status_is_the_same_with_an_index_and_without(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIP_RESULTS", str(tmp_path / "none"))
    live = kept(tmp_path / "home" / "store", record(dip(1)), failed(dip(2), "out of memory"))
    write(live, outdated(9))
    (live / "cut.json").write_text("{")

    def status() -> str:
        assert main(["store", "status"]) == 0
        return capsys.readouterr().out

    first = status()
    for word in ("1 current", "1 failed", "1 outdated", "1 damaged", "coop 1"):
        assert word in first
    with monkeypatch.context() as patch:
        patch.setattr(store_commands, "load_head", pytest.fail)
        assert status() == first
    (tmp_path / "home" / "store-index.json").unlink()
    assert status() == first
