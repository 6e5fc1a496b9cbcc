"""The profile ``paper`` from feature packs alone: made archives, random weights, no pictures."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import photo_archives
import pytest
from test_paper_pages import DATASETS, ROOT, tiny

from dip_book.scoreboard import scoreboard

STUDIES = ["base_to_new", "precision", "few_shot", "cross_dataset", "domain_shift"]
TOWERS = ("ViT-B-32", "RN50")


def run(place: Path, home: str, *words: str, data: str = "") -> subprocess.CompletedProcess[str]:
    """A program in a process of its own, with a home of its own, and pictures or none."""
    own = {"DIP_HOME": str(place / home), "DIP_WORKERS": "1", "PYTHONPATH": str(ROOT)}
    own |= {"DIP_RESULTS": str(place / home / "exports")}
    env = {**os.environ, **own} | ({"DATA": data} if data else {})
    if not data:
        env.pop("DATA", None)
    command = [sys.executable, *words]
    return subprocess.run(command, cwd=place, env=env, capture_output=True, text=True)


def dip(place: Path, home: str, *words: str, data: str = "") -> Any:
    """What a command of ``dip`` answers."""
    done = run(place, home, "-m", "dip_study.cli", *words, "--json", data=data)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A profile, and two homes: "theirs" had the pictures, made packs, measured and shared "out";
    "ours" fetched the packs."""
    folder = tmp_path_factory.mktemp("packs")
    (folder / "tiny.toml").write_text(tiny(), "utf-8")
    for name in photo_archives.NAMES:
        photo_archives.make(name, folder / "data")
    data, names = str(folder / "data"), [*DATASETS, *photo_archives.SHIFTS]
    for tower in TOWERS:
        own = ["--backbone", tower, "--profile", "tiny.toml", "--dataset", *names]
        dip(folder, "theirs", "features", "pack", *own, data=data)
    dip(folder, "theirs", "measure", "--profile", "tiny.toml", "--study", "base_to_new", data=data)
    shared = ["--profile", "tiny.toml", "--study", "base_to_new"]
    dip(folder, "theirs", "share", "out", *shared, data=data)
    first, *others = sorted((folder / "theirs" / "packs").glob("*.safetensors"))
    dip(folder, "ours", "features", "get", str(first))
    for path in others:  # as the command does, each in a second less
        shutil.copy(path, folder / "ours" / "packs")
    shutil.rmtree(folder / "data")
    return folder


def measured(place: Path, home: str) -> dict[str, Any]:
    """The records of a home by their runs, but for the fingerprints of their pictures."""
    found = {}
    for path in (place / home / "store").glob("*.json"):
        record = json.loads(path.read_text())
        own = record["run"]["data"] | {"fingerprint": "", "target_fingerprint": ""}
        found[json.dumps(record["run"] | {"data": own}, sort_keys=True)] = record
    return found


def test_the_packs_are_there_and_whole(place: Path) -> None:
    every = dip(place, "ours", "features", "list")
    found = [each for each in every if not each["dataset"].startswith("photo-")]  # a world's
    assert len(found) == len(TOWERS) * (len(DATASETS) + len(photo_archives.SHIFTS))
    assert {each["encoder"] for each in found} == {f"{tower} random weights" for tower in TOWERS}
    assert set(dip(place, "ours", "features", "verify").values()) == {None}


def test_text_side_studies_plan_no_picture_and_are_measured(place: Path) -> None:
    rows = dip(place, "ours", "plan", "--profile", "tiny.toml")["rows"]
    assert {row["images"] for row in rows} == {0}
    dip(place, "ours", "measure", "--profile", "tiny.toml", "--study", *STUDIES)
    from_packs, from_pictures = measured(place, "ours"), measured(place, "theirs")
    assert not (place / "ours" / "features").exists()
    assert {record["status"] for record in from_packs.values()} == {"finished"}
    assert {record["run"]["tower"]["precision"] for record in from_packs.values()} == {
        "fp32",
        "bf16",
    }
    assert from_pictures and from_pictures.keys() <= from_packs.keys()
    for name, theirs in from_pictures.items():
        mine = from_packs[name]
        assert mine["run"]["data"]["fingerprint"].endswith(("-int8", "-fp16"))
        assert (mine["classes"], mine["test_images"]) == (theirs["classes"], theirs["test_images"])
        last, expected = (each["checkpoints"][-1] for each in (mine, theirs))
        for half, count in zip(("base", "new"), theirs["test_images"], strict=True):
            if expected[half] is not None:  # a picture or two on the boundary, of random features
                assert last[half] == pytest.approx(expected[half], abs=2 * 100 / count + 1e-6)


@pytest.mark.parametrize("name", ["03_base_to_new", "07_transfer"])
def test_a_page_runs_from_packs_alone(name: str, place: Path) -> None:
    out, source = place / f"{name}.ipynb", ROOT / "notebooks" / f"{name}.ipynb"
    given = ["-p", "profile", "tiny.toml", "-p", "results", "missing", "--no-progress-bar"]
    done = run(place, "ours", "-m", "papermill", str(source), str(out), *given)
    assert done.returncode == 0, done.stderr[-3000:]
    outputs = [o for cell in nbformat.read(out, 4).cells for o in cell.get("outputs", [])]
    said = "\n".join(o.get("data", {}).get("text/markdown", "") for o in outputs)
    assert "photos · " in said and "Glyph World" not in said


def test_what_encodes_pictures_itself_says_that_it_needs_them(place: Path) -> None:
    own = ["measure", "--profile", "tiny.toml", "--study", "image_hosts"]
    done = run(place, "ours", "-m", "dip_study.cli", *own)
    assert done.returncode == 1
    assert "dip: no feature pack holds the pictures of" in done.stderr
    assert "variable DATA" in done.stderr and "Traceback" not in done.stderr


def test_a_shared_reproduction_fills_the_column_of_real_clip_elsewhere(place: Path) -> None:
    """On a third machine, which has neither pictures nor weights nor runs."""
    assert dip(place, "third", "store", "merge", "out")["added"]
    taken = dip(place, "third", "store", "merge", "out")
    assert taken["added"] == 0 and taken["same"] and not taken["refused"]
    dip(place, "third", "export", "--profile", "out/tiny.toml", "--study", "base_to_new")
    exported = place / "third" / "exports" / "tiny" / "base_to_new.json"
    assert exported.read_bytes() == (place / "out/results/tiny/base_to_new.json").read_bytes()
    shutil.rmtree(place / "third" / "exports")
    runs = {path.name for path in (place / "third" / "store").glob("*.json")}

    out, name = place / "third.ipynb", "03_base_to_new"
    given = ["-p", "profile", "out/tiny.toml", "-p", "results", "missing", "--no-progress-bar"]
    source = ROOT / "notebooks" / f"{name}.ipynb"
    done = run(place, "third", "-m", "papermill", str(source), str(out), *given)
    assert done.returncode == 0, done.stderr[-3000:]
    assert {path.name for path in (place / "third" / "store").glob("*.json")} == runs  # none anew
    outputs = [o for cell in nbformat.read(out, 4).cells for o in cell.get("outputs", [])]
    said = "\n".join(o.get("data", {}).get("text/markdown", "") for o in outputs)
    share = json.loads((place / "out" / "manifest.json").read_text())["share"]
    assert "*Measured by others, and taken in:* " in said and f"share {share[:8]}" in said

    (numbers,) = (place / "third" / "reruns").glob(f"{name}-*/numbers.json")
    (place / "numbers").mkdir()
    shutil.copy(numbers, place / "numbers" / f"{name}.json")
    board = scoreboard(ROOT / "book" / "claims.toml", place / "numbers")
    (claim,) = (row for row in board if row["id"] == "dip-new")
    judged = claim["judged"]["paper"]
    assert judged["value"] is not None and f"share {share[:8]}" in judged["shared"]
    assert judged["verdict"] == "cannot judge"  # three datasets
    hidden = (str(Path.home()), str(place), "Traceback")
    texts = [path.read_text() for path in (place / "out").rglob("*.json")]
    assert not [word for word in hidden for text in texts if word in text]
