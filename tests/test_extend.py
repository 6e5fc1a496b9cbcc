"""The book's page on adding a method, applied to a copy of the library and run."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "book" / "extend.md").read_text("utf-8")


def block(name: str) -> str:
    """The code block of the page with this name."""
    found = re.search(rf"```{{code-block}} \w+\n:name: {name}\n(.*?)\n```", PAGE, re.DOTALL)
    assert found, f"the page has no block {name}"
    return f"{found[1]}\n"


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the library with the page's method."""
    folder = tmp_path_factory.mktemp("extended")
    for name in ("dip_lib", "dip_study", "glyph_world"):
        shutil.copytree(
            ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "results")
        )
    (folder / "dip_lib/methods/tether.py").write_text(block("method-file"))
    (folder / "line.diff").write_text(block("method-line"))
    patch = ["git", "apply", "--unsafe-paths", "--directory", str(folder), "line.diff"]
    subprocess.run(patch, cwd=folder, check=True)
    return folder


def run(library: Path, code: str, home: Path) -> str:
    """What a fresh process prints, with the extended library."""
    where = {**os.environ, "PYTHONPATH": str(library), "DIP_HOME": str(home), "DIP_WORKERS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=library, env=where, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_the_page_adds_a_method_that_runs_plain_and_as_a_dip(library: Path, tmp_path: Path) -> None:
    small = block("method-runs").replace(
        'load_profile("smoke")',
        '__import__("dataclasses").replace(load_profile("smoke"), datasets=("greek",), seeds=(1,))',
    )
    printed = run(library, small, tmp_path)
    rows = [line.split() for line in printed.splitlines()]
    assert [row[:3] for row in rows] == [
        ["greek", "coop", "0"],
        ["greek", "tether", "0"],
        ["greek", "tether", "1"],
    ]
    assert len({tuple(row[3:]) for row in rows}) == 3  # three trainings, not one
