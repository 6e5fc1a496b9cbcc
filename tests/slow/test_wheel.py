"""The wheel alone, in a fresh environment outside the checkout, as a user has it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from fresh import ROOT, Fresh, copy_sources


@pytest.fixture(scope="module")
def outside(plain: Fresh, tmp_path_factory: pytest.TempPathFactory) -> Fresh:
    """The plain install with the wheel in it."""
    dist = tmp_path_factory.mktemp("dist")
    source = copy_sources(dist / "source")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(dist)]
    subprocess.run([*build, str(source)], check=True, stdout=subprocess.DEVNULL)
    (wheel,) = dist.glob("*.whl")
    plain.run("pip", "install", "--quiet", "--no-deps", "--force-reinstall", wheel)
    return plain


def test_the_library_loads_its_weights(outside: Fresh) -> None:
    code = "import dip_lib; dip_lib.load_backbone('glyph-vit'); print(dip_lib.__file__)"
    assert str(outside.folder / "env") in outside.run("python", "-c", code)


def test_the_first_notebook_runs(outside: Fresh, tmp_path: Path) -> None:
    notebook = ROOT / "notebooks" / "01_glyph_world.ipynb"
    given = ["-p", "profile", "smoke", "-p", "results", "fresh"]
    outside.papermill(notebook, tmp_path / "out.ipynb", *given, DIP_HOME=str(tmp_path / "home"))
    assert (tmp_path / "home/reruns/01_glyph_world-smoke/numbers.json").is_file()
