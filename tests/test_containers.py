"""Containers and shared machines, by their real limits: little shared memory, places to write."""

from __future__ import annotations

import ctypes
import os
import shutil
import sys
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dip_lib import paths
from dip_lib.data.pictures import Pictures
from dip_study import cli

NEW_USER, NEW_MOUNTS = 0x1000_0000, 0x0002_0000
READ_ONLY = 1
"""Flags of Linux's unshare(2) and mount(2)."""


def in_a_namespace(work: Callable[[], None], flags: int = 0) -> None:
    """Do ``work`` in a process with 1 MB of /dev/shm, mounted with ``flags``; skipped where no
    namespace can be made."""
    libc, user, group = ctypes.CDLL(None, use_errno=True), os.getuid(), os.getgid()
    child = os.fork()
    if not child:
        code = 3
        try:
            if libc.unshare(NEW_USER | NEW_MOUNTS) == 0:
                Path("/proc/self/setgroups").write_text("deny")
                Path("/proc/self/uid_map").write_text(f"0 {user} 1")
                Path("/proc/self/gid_map").write_text(f"0 {group} 1")
                if libc.mount(b"tmpfs", b"/dev/shm", b"tmpfs", flags, b"size=1m") == 0:
                    code = 1
                    work()
                    code = 0
        except BaseException:  # the parent fails for it; what it was stands in the captured output
            traceback.print_exc()
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code == 3:
        pytest.skip("no user namespace can be made here: /dev/shm was not limited")
    assert code == 0


@pytest.mark.skipif(sys.platform != "linux", reason="/dev/shm is Linux's")
def test_photographs_are_read_by_workers_where_shared_memory_holds_none(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    Image.fromarray(noise).resize((800, 600)).save(tmp_path / "photograph.jpg")  # 1.4 MB read
    listed = {"train": [("photograph.jpg", 0)] * 16}

    def views(workers: int) -> torch.Tensor:
        dataset = Pictures("photographs", ("x",), tmp_path, listed, workers=workers)
        return torch.cat(list(dataset.batches("train", (None, 0), size=64)), 1)

    expected = views(0)

    def with_little() -> None:
        assert shutil.disk_usage("/dev/shm").total <= 2**20
        assert torch.equal(views(2), expected)

    def with_none() -> None:  # not to be written at all: no worker can be had
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            same = torch.equal(views(2), expected)
        assert same
        assert any("loader processes" in str(one.message) for one in caught), caught

    in_a_namespace(with_little)
    in_a_namespace(with_none, READ_ONLY)


def test_the_cache_is_where_the_user_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paths, "root", lambda: None)
    monkeypatch.delenv("DIP_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert paths.home() == tmp_path / "cache" / "dip-lib"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # the specification: not valid, ignored
    assert paths.home() == tmp_path / ".cache" / "dip-lib"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert paths.home() == tmp_path / ".cache" / "dip-lib"
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HOME", str(tmp_path / "file"))  # no folder can be made in it
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert paths.home() == tmp_path / f"dip-lib-{os.getuid()}"


@pytest.mark.parametrize("terminal", [True, False])
def test_bars_are_for_terminals(monkeypatch: pytest.MonkeyPatch, terminal: bool) -> None:
    monkeypatch.setenv("TQDM_DISABLE", "")
    monkeypatch.delenv("TQDM_DISABLE")  # and what is set now is taken back
    monkeypatch.delitem(sys.modules, "tqdm")  # as before anything is imported
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal, raising=False)
    cli.prepare_streams()
    assert ("TQDM_DISABLE" in os.environ) != terminal
