"""Pages under the profile ``paper``, made tiny: made archives, random weights, real notebooks."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import photo_archives
import pytest

from dip_study.profiles import FOLDER

ROOT = Path(__file__).resolve().parents[2]
DATASETS = ["imagenet", "eurosat", "dtd"]


def tiny() -> str:
    """The profile ``paper`` with three datasets, two epochs, one shot and random weights."""
    text = (FOLDER / "paper.toml").read_text("utf-8")
    of_tasks = r"^\[visual\.tasks.*?(?=^\[(?!visual\.tasks))"  # which no page of these shows
    text, found = re.subn(of_tasks, "", text, flags=re.MULTILINE | re.DOTALL)
    assert found
    changes = {
        r"^towers = .*": 'towers = ["ViT-B-32", "RN50"]',
        r"^weights = .*": 'weights = ""',
        r"^datasets = .*": f"datasets = {json.dumps(DATASETS)}",
        r"^seeds = \[.*": "seeds = [1, 2]",
        r"^shots = .*": "shots = 1",
        r"^(epochs|views) = \d+": r"\1 = 2",
        r"^checkpoints = 10": "checkpoints = 2",
        r"^prompts = .*": "prompts = [0, 2, 4]",
        r"^compared = .*": "compared = [2, 4]",
        r"^keep = .*": "keep = [30]",
        r"^depth = .*": "depth = 2",
    }
    for pattern, value in changes.items():
        text, found = re.subn(pattern, value, text, flags=re.MULTILINE)
        assert found
    return text


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the archives and the profile; what one page measures, the next finds."""
    folder = tmp_path_factory.mktemp("paper")
    (folder / "tiny.toml").write_text(tiny(), "utf-8")
    for name in photo_archives.NAMES:
        photo_archives.make(name, folder / "data")
    return folder


@pytest.mark.parametrize(
    "name", ["02_information_density", "03_base_to_new", "07_transfer", "14_visual_prompts"]
)
def test_a_page_runs_on_photos_and_says_so(name: str, place: Path) -> None:
    where = {"DATA": place / "data", "DIP_HOME": place / "home", "DIP_WORKERS": "1"}
    out, source = place / f"{name}.ipynb", ROOT / "notebooks" / f"{name}.ipynb"
    given = ["-p", "profile", "tiny.toml", "-p", "results", "fresh", "--no-progress-bar"]
    given += ["-p", "datasets", "dtd"] * name.startswith("14")  # the tower sees every image anew
    done = subprocess.run(
        [sys.executable, "-m", "papermill", str(source), str(out), *given],
        cwd=place,
        env={**os.environ, **{key: str(value) for key, value in where.items()}},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    outputs = [o for cell in nbformat.read(out, 4).cells for o in cell.get("outputs", [])]
    said = "\n".join(o.get("data", {}).get("text/markdown", "") for o in outputs)
    assert "photos · " in said and "-p profile tiny.toml" in said and "Glyph World" not in said
    drawn = "\n".join(o.get("data", {}).get("image/svg+xml", "") for o in outputs)
    if name.startswith(("02", "03")):  # on the others datasets are points of an average
        assert all(f"<!-- {dataset} -->" in drawn for dataset in DATASETS)
    (written,) = (place / "home" / "reruns").glob(f"{name}-tiny-*")  # named with the profile's file
    numbers = json.loads((written / "numbers.json").read_text("utf-8"))
    assert {each["world"] for each in numbers.values()} == {"paper"}
