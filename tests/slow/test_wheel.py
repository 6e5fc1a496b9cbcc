"""The wheel alone, in a fresh environment outside the checkout, as a user or Colab has it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NOT_SOURCE = shutil.ignore_patterns(".*", "_build", "build", "dist", "*.egg-info", "__pycache__")


@pytest.fixture(scope="module")
def outside() -> Iterator[Path]:
    """A folder with a virtual environment in which the wheel is installed; removed afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        # from a copy: building in place would leave build/ behind and pick up an old one
        shutil.copytree(ROOT, place / "source", ignore=NOT_SOURCE)
        build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder]
        subprocess.run([*build, str(place / "source")], check=True, stdout=subprocess.DEVNULL)
        shutil.rmtree(place / "source")
        subprocess.run([sys.executable, "-m", "venv", str(place / "env")], check=True)
        pip = [str(place / "env" / "bin" / "python"), "-m", "pip", "install", "--quiet"]
        subprocess.run([*pip, "-r", str(ROOT / "requirements.lock")], check=True)
        (wheel,) = place.glob("*.whl")
        subprocess.run([*pip, "--no-deps", str(wheel)], check=True)
        yield place


def python(outside: Path, *words: str) -> str:
    """Output of the fresh environment's python, which knows nothing of the checkout."""
    hidden = ("PYTHONPATH", "DIP_HOME", "DIP_RESULTS")
    own = {name: value for name, value in os.environ.items() if name not in hidden}
    run = subprocess.run(
        [str(outside / "env" / "bin" / "python"), *words],
        cwd=outside,
        env={**own, "HOME": str(outside), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_the_library_loads_its_weights(outside: Path) -> None:
    code = "import dip_lib; dip_lib.load_backbone('glyph-vit'); print(dip_lib.__file__)"
    assert str(outside / "env") in python(outside, "-c", code)


def test_the_first_notebook_runs(outside: Path) -> None:
    shutil.copy(ROOT / "notebooks" / "01_glyph_world.ipynb", outside)
    given = ["-p", "profile", "smoke", "-p", "results", "fresh", "--no-progress-bar"]
    python(outside, "-m", "papermill", "01_glyph_world.ipynb", "out.ipynb", *given)
    numbers = outside / ".cache" / "dip-lib" / "numbers" / "01_glyph_world.json"
    assert numbers.is_file()
