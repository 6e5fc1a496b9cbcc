"""Containers and shared machines, by their real limits: little shared memory, no home, ASCII."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from glyph_pictures import write_pictures
from PIL import Image

from dip_lib import load_dataset, paths
from dip_lib.data.pictures import Pictures

NAMES = load_dataset("shapes").class_names[:2]
NEW_USER, NEW_MOUNTS = 0x1000_0000, 0x0002_0000


def in_a_namespace(work: Callable[[], bool]) -> None:
    """Do ``work`` in a process with 1 MB of /dev/shm; skipped where no namespace can be made."""
    libc, user, group = ctypes.CDLL(None, use_errno=True), os.getuid(), os.getgid()
    child = os.fork()
    if not child:
        code = 3
        try:
            if libc.unshare(NEW_USER | NEW_MOUNTS) == 0:
                Path("/proc/self/setgroups").write_text("deny")
                Path("/proc/self/uid_map").write_text(f"0 {user} 1")
                Path("/proc/self/gid_map").write_text(f"0 {group} 1")
                if libc.mount(b"tmpfs", b"/dev/shm", b"tmpfs", 0, b"size=1m") == 0:
                    code = 0 if work() else 1
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code == 3:
        pytest.skip("no user namespace can be made here: /dev/shm was not limited")
    assert code == 0


@pytest.mark.skipif(sys.platform != "linux", reason="/dev/shm is Linux's")
def test_photographs_are_read_by_workers_where_shared_memory_holds_none(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    Image.fromarray(noise).resize((1600, 1200)).save(tmp_path / "photograph.jpg")  # 5.8 MB read
    listed = {"train": [("photograph.jpg", 0)] * 16}

    def views(workers: int) -> torch.Tensor:
        dataset = Pictures("photographs", ("x",), tmp_path, listed, workers=workers)
        return torch.cat(list(dataset.batches("train", (None, 0), size=64)), 1)

    expected = views(0)

    def work() -> bool:
        free = shutil.disk_usage("/dev/shm").total
        return free <= 2**20 and torch.equal(views(2), expected)

    in_a_namespace(work)


# ---- a user without a home ----------------------------------------------------------------------

SCRIPT = """
import os, sys
from dip_lib import paths
paths.root = lambda: None  # as in an installed wheel
from dip_study.cli import main
folder, prompt = sys.argv[1:]
settings = ["--epochs", "2", "--views", "0", "--shots", "3", "--backbone", "glyph-vit"]
assert main(["fit", folder, "--out", prompt, *settings]) == 0
assert "matplotlib.figure" not in sys.modules  # nothing was drawn
held = os.fsencode(folder) + b"/test"
assert main(["predict", prompt, os.fsdecode(held), "--classes", "lozenge,black square"]) == 0
print(os.getuid(), os.path.expanduser("~"), paths.home(), len(os.sched_getaffinity(0)))
print(sorted(p.name for p in (paths.home() / "features").iterdir())[0])
"""


def test_an_unknown_user_without_a_home_at_an_ascii_terminal_fits_and_predicts(
    tmp_path: Path,
) -> None:
    """One process for all: no HOME, no such user, ASCII, odd file names, one core."""
    own = write_pictures(tmp_path / "own", "shapes", NAMES, count=6)
    for i, path in enumerate(sorted(own.rglob("*.png"))):
        split = "train" if i % 2 else "test"
        name = os.fsdecode(os.fsencode(f"{i}") + (b"caf\xe9.png", "日本.png".encode())[i % 4 < 2])
        folder = tmp_path / "split" / split / path.parent.name
        folder.mkdir(parents=True, exist_ok=True)
        path.rename(folder / name)
    namespace = ["unshare", "--user", "--map-user=54321", "--map-group=54321"]
    if not shutil.which("unshare") or subprocess.run([*namespace, "true"]).returncode:
        pytest.skip("no user namespace can be made here: nobody without a home was tried")
    core = ["taskset", "-c", str(min(os.sched_getaffinity(0)))] if shutil.which("taskset") else []
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    variables = {**kept, "PYTHONIOENCODING": "ascii", "TMPDIR": str(tmp_path), "LC_ALL": "C"}
    run = subprocess.run(
        [*namespace, *core, sys.executable, "-c", SCRIPT, tmp_path / "split", tmp_path / "prompt"],
        env=variables | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    *said, about, kept_features = run.stdout.splitlines()
    user, home, where, cores = about.split()
    assert (user, home, int(cores)) == ("54321", "~", 1 if core else int(cores))
    assert where == str(tmp_path / "dip-lib-54321")
    assert kept_features.endswith(".safetensors")
    pictures = [line for line in said if ".png" in line]
    assert len(pictures) == 6
    assert any("caf\\udce9.png" in line for line in pictures)
    assert any("\\u65e5\\u672c.png" in line for line in pictures)
    assert "Traceback" not in run.stderr and "encoding" not in run.stderr  # no bars in a log


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
