"""``dip fit`` as in a container: 64 MB of shared memory, Docker's default."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

SCRIPT = """
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
        [*space, f'{limit} && exec "$@"', "sh", sys.executable, "-c", SCRIPT, *fit],
        env={**os.environ, "DIP_HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    assert "zero-shot" in run.stdout
    assert "loader processes" not in run.stderr  # none failed
    assert (tmp_path / "prompt").stat().st_size < 10_000
