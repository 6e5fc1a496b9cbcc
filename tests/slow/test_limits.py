"""``dip fit`` as in a container: 64 MB of shared memory, as Docker gives; a user without a home."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from glyph_pictures import write_pictures
from PIL import Image

from dip_lib import load_dataset

SCARCE = """
import sys
from dip_lib.data import loader
loader.usable_cores = lambda: 4  # workers, whatever the machine has
from dip_study.cli import main
sys.exit(main(sys.argv[1:]))
"""


def test_a_fit_with_photographs_ends_in_64_megabytes_of_shared_memory(tmp_path: Path) -> None:
    for label, name in enumerate(("cat", "dog", "horse", "truck")):
        for i in range(32):
            noise = np.random.default_rng(100 * label + i).integers(0, 256, (12, 16, 3))
            photograph = Image.fromarray(noise.astype(np.uint8)).resize((1600, 1200))
            path = tmp_path / "own" / name / f"{i}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            photograph.save(path)
    limit = "mount -t tmpfs -o size=64m tmpfs /dev/shm"
    space = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    if not shutil.which("unshare") or subprocess.run([*space, limit]).returncode:
        pytest.skip("no user namespace can be made here: /dev/shm was not limited")
    fit = ["fit", str(tmp_path / "own"), "--out", str(tmp_path / "prompt"), "--epochs", "2"]
    run = subprocess.run(
        [*space, f'{limit} && exec "$@"', "sh", sys.executable, "-c", SCARCE, *fit],
        env={**os.environ, "DIP_HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    assert "zero-shot" in run.stdout
    assert "loader processes" not in run.stderr  # none failed
    assert (tmp_path / "prompt").stat().st_size < 10_000


# ---- a user without a home ----------------------------------------------------------------------

NAMES = load_dataset("shapes").class_names[:2]
SCRIPT = """
import os, sys
from dip_lib import paths
paths.root = lambda: None  # as in an installed wheel
from dip_study.cli import main
folder, prompt = sys.argv[1:]
settings = ["--epochs", "2", "--views", "0", "--shots", "3", "--backbone", "glyph-vit"]
assert main(["fit", folder, "--out", prompt, *settings]) == 0
assert "matplotlib.figure" not in sys.modules  # nothing was drawn
from tqdm import tqdm
assert [*tqdm(range(3))] == [0, 1, 2]  # as every bar here
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
    assert "Traceback" not in run.stderr
    assert "3/3" not in run.stderr  # no bars in a log
