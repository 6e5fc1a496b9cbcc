"""The book's pages on extending it, applied to one copy of the library and run as printed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from glyph_pictures import write_pictures

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted((ROOT / "book").glob("extend*.md"))
TEXT = "\n".join(page.read_text("utf-8") for page in PAGES)
RUN = ("method-runs", "dataset-split", "dataset-runs", "backbone-runs")
RUN += ("claim-number", "claim-verdict")
FAMILY = ("small alpha", "small beta", "small gamma", "small delta")


def block(name: str) -> str:
    """The code block of the pages with this name."""
    found = re.findall(rf"```{{code-block}} \w+\n:name: {name}\n(.*?)\n```", TEXT, re.DOTALL)
    assert len(found) == 1, f"the pages have {len(found)} blocks {name}"
    return f"{found[0]}\n"


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the library with everything that the pages add, as git applies it."""
    folder = tmp_path_factory.mktemp("extended")
    skipped = shutil.ignore_patterns("__pycache__", "results", "_*", "notebooks")
    skipped_code = shutil.ignore_patterns("__pycache__", "results")
    for name in ("dip_lib", "dip_study", "dip_book", "glyph_world"):
        shutil.copytree(ROOT / name, folder / name, ignore=skipped_code)
    shutil.copytree(ROOT / "book", folder / "book", ignore=skipped)
    (folder / "dip_lib/methods/tether.py").write_text(block("method-file"))
    (folder / "dip_lib/towers").mkdir()
    (folder / "dip_lib/towers/small-vit.json").write_text(block("backbone-file"))
    for name in ("method-line", "dataset-entry", "claim-entry", "backbone-line"):
        (folder / f"{name}.diff").write_text(block(name))
        patch = ["git", "apply", "--unsafe-paths", "--directory", str(folder), f"{name}.diff"]
        done = subprocess.run(patch, cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, f"{name}: {done.stderr}"
    return folder


@pytest.fixture(scope="module")
def printed(library: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[list[str]]]:
    """What each block prints, as lines of words; one fresh process runs them in turn."""
    home = tmp_path_factory.mktemp("home")
    write_pictures(home / "data/letters/images", "greek", FAMILY)
    one = ('load_profile("smoke")', "only_greek(load_profile('smoke'))")  # of two families
    code = "from dataclasses import replace\n"
    code += "only_greek = lambda profile: replace(profile, datasets=('greek',), seeds=(1,))\n"
    for name in RUN:
        code += f"print('>>>', {name!r})\n{block(name).replace(*one)}"
    own = {"PYTHONPATH": library, "DIP_HOME": home, "DATA": home / "data"}
    own |= {"DIP_WORKERS": "1", "DIP_RESULTS": ROOT / "results"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=library,
        env={**os.environ, **{name: str(value) for name, value in own.items()}},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, list[list[str]]] = {}
    for words in map(str.split, done.stdout.splitlines()):
        if words[0] == ">>>":
            found[words[1]] = rows = []
        else:
            rows.append(words)
    return found


def test_every_block_that_is_named_is_applied_or_run() -> None:
    applied = {"method-file", "method-line", "dataset-entry", "claim-entry"}
    applied |= {"backbone-file", "backbone-line"}
    assert set(re.findall(r"^:name: (\S+)$", TEXT, re.MULTILINE)) == applied | {*RUN}


def test_a_method_runs_plain_and_as_a_dip(printed: dict[str, list[list[str]]]) -> None:
    rows = printed["method-runs"]
    assert [row[:3] for row in rows] == [
        ["greek", "coop", "0"],
        ["greek", "tether", "0"],
        ["greek", "tether", "1"],
    ]
    assert len({tuple(row[3:]) for row in rows}) == 3  # three trainings, not one


def test_a_folder_of_pictures_is_a_dataset_of_every_study(
    printed: dict[str, list[list[str]]],
) -> None:
    (split,) = printed["dataset-split"]
    assert " ".join(split) == "4 {'train': 24, 'val': 8, 'test': 16}"
    assert "counts = [24, 8, 16]" in block("dataset-entry")  # as printed: no warning later
    gate, *rows = printed["dataset-runs"]
    assert " ".join(gate).endswith(
        "on letters: no published zero-shot accuracy, so it was not checked"
    )
    assert [row[:2] for row in rows] == [["letters", "coop"], ["letters", "dip"]]
    assert all(0 <= float(value) <= 100 for row in rows for value in row[2:])


def test_a_configuration_of_open_clip_is_a_backbone(printed: dict[str, list[list[str]]]) -> None:
    rows = printed["backbone-runs"]
    assert [row[:3] for row in rows] == [
        ["small-vit", "coop", str(4 * 64)],
        ["small-vit", "dip", str(4 + 64)],
    ]
    assert all(0 <= float(value) <= 100 for row in rows for value in row[3:])


def test_a_claim_gets_its_verdict_from_the_number_that_its_page_writes(
    printed: dict[str, list[list[str]]],
) -> None:
    (words,) = printed["claim-verdict"]
    low, high = (float(word.strip("(),")) for word in words[-2:])
    expected = "reproduced" if low > 0 else "not reproduced" if high <= 0 else "inconclusive"
    assert " ".join(words[:-2]) == expected and low < high
