"""A shared folder made cheaply: drawn letters as a photo dataset, runs whose numbers are made."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from glyph_pictures import write_pictures

from dip_lib import load_dataset
from dip_lib.store import Store
from dip_lib.training.record import FINISHED
from dip_lib.training.run import RECIPE, Run
from dip_study.profiles import load_profile
from dip_study.study import STUDIES

LETTERS = load_dataset("greek").class_names[:4]
PROFILE = """# our own
like = "smoke"
world = "photos"
datasets = ["caltech101"]
towers = ["glyph-resnet"]
seeds = [1, 2]
shots = 2
source = "caltech101"
shifts = []
studies = []
only = ["base_to_new", "few_shot"]
"""


def pictures(data: Path) -> None:
    """Caltech101's folder and split file under ``data``, with drawn letters."""
    folder = write_pictures(
        data / "caltech-101" / "101_ObjectCategories", "greek", LETTERS, count=12
    )
    split: dict[str, list[tuple[str, int, str]]] = {"train": [], "val": [], "test": []}
    for label, name in enumerate(LETTERS):
        files = sorted((folder / name.replace(" ", "_")).iterdir())
        for i, path in enumerate(files):
            part = "train" if i < 6 else "val" if i < 8 else "test"
            split[part].append((path.relative_to(folder).as_posix(), label, name))
    (data / "caltech-101" / "split_zhou_Caltech101.json").write_text(json.dumps(split))


def record(run: Run, new: float = 58.123456789) -> dict[str, Any]:
    """A finished run with made numbers."""
    points = [{"epoch": i, "base": 61.2, "new": new + i / 9, "id": [0.57, 1.0]} for i in range(3)]
    return {
        **{"key": run.key(), "recipe": RECIPE, "code": type(run.method).identity()},
        **{"label": run.label, "run": run.to_dict(), "classes": [2, 2], "test_images": [8, 8]},
        **{"trainable": 9, "status": FINISHED, "checkpoints": points, "seconds": 1.7123456},
        "versions": {"torch": "2.9.0"},
        "machine": {"cpu": "A CPU, 8 cores", "threads": 1, "device": "A GPU"},
        "finished_at": "2026-01-02T03:04:05Z",
    }


def measure(profile: str, home: Path) -> list[Run]:
    """Keep a made record of every run of the profile."""
    loaded, store = load_profile(profile), Store(home / "store")
    runs = list(dict.fromkeys(run for name in loaded.only for run in STUDIES[name](loaded)))
    for i, run in enumerate(runs):
        store.put(record(run, 50 + i / 7))
    return runs


@contextmanager
def at(home: Path, data: Path | None = None) -> Iterator[None]:
    """This process, on a machine with that home, and pictures or none."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DIP_HOME", str(home))
        patch.setenv("DIP_RESULTS", str(home / "exports"))
        patch.setenv("DATA", str(data)) if data else patch.delenv("DATA", raising=False)
        yield


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }
