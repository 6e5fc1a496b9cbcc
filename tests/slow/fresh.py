"""A virtual environment outside the checkout, and copies of the sources for it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILT = (".*", "_build", "build", "dist", "*.egg-info", "__pycache__")


def copy_sources(target: Path) -> Path:
    """What the repository holds, without anything built: building in place would leave traces."""
    return Path(shutil.copytree(ROOT, target, ignore=shutil.ignore_patterns(*BUILT)))


@dataclass(frozen=True)
class Fresh:
    """A folder with a virtual environment ``env`` that knows nothing of this checkout."""

    folder: Path

    @property
    def variables(self) -> dict[str, str]:
        """The environment's own variables, as after its activation."""
        here = ("PYTHONPATH", "VIRTUAL_ENV", "DATA", "DIP_", "PYTEST_", "JUPYTER_", "JPY_")
        own = {name: value for name, value in os.environ.items() if not name.startswith(here)}
        path = f"{self.folder / 'env' / 'bin'}{os.pathsep}{own['PATH']}"
        return {**own, "HOME": str(self.folder), "PATH": path, "OMP_NUM_THREADS": "1"}

    def run(self, *words: str | Path, cwd: Path | None = None, **more: str) -> str:
        """Output of a program of the environment, in its folder (or ``cwd``)."""
        run = subprocess.run(
            [*map(str, words)],
            cwd=cwd or self.folder,
            env=self.variables | more,
            capture_output=True,
            text=True,
        )
        assert run.returncode == 0, run.stdout[-2000:] + run.stderr[-4000:]
        return run.stdout

    def papermill(
        self, source: Path, out: Path, *options: str, kernel: Sequence[str] = (), **more: str
    ) -> None:
        """Run a notebook in a kernel of this environment, by the papermill of the tests' own.

        ``kernel`` are options of ipykernel.
        """
        about = self.folder / "jupyter" / "kernels" / "outside" / "kernel.json"
        program = [str(self.folder / "env" / "bin" / "python"), "-m", "ipykernel_launcher"]
        start = {"argv": [*program, "-f", "{connection_file}", *kernel], "display_name": "Outside"}
        about.parent.mkdir(parents=True, exist_ok=True)
        about.write_text(json.dumps({**start, "language": "python"}))
        words = [sys.executable, "-m", "papermill", source, out, "-k", "outside", *options]
        where = {"JUPYTER_PATH": str(self.folder / "jupyter")}
        self.run(*words, "--no-progress-bar", cwd=out.parent, **where, **more)
