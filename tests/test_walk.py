"""CONTRIBUTING's walk of a prompt, from a cell to its record, is the one that a run takes."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from dip_book.frame import frame
from dip_study import study
from dip_study.profiles import load_profile

ROOT = Path(__file__).resolve().parents[1]
STEP = re.compile(r"^\| `([\w/]+\.py)` \| `([\w.]+)` \|", re.MULTILINE)


def printed() -> list[tuple[str, str]]:
    """The walk's steps in CONTRIBUTING: (file, function)."""
    return STEP.findall((ROOT / "CONTRIBUTING.md").read_text("utf-8"))


@pytest.mark.usefixtures("shared_features")
def test_a_run_takes_the_printed_walk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DIP_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DIP_WORKERS", "1")
    steps = printed()
    first_calls: dict[tuple[str, str], None] = {}

    def note(called: FrameType, event: str, _: Any) -> None:
        file = Path(called.f_code.co_filename)
        if event == "call" and file.is_relative_to(ROOT):
            step = str(file.relative_to(ROOT)), called.f_code.co_qualname
            if step in steps:
                first_calls.setdefault(step)

    smoke = replace(load_profile("smoke"), datasets=("greek",), seeds=(1,), checkpoints=1)
    study.collect(study.coop(smoke), smoke, results="fresh")  # encodes the images
    sys.setprofile(note)
    try:
        records = study.collect(study.dip(smoke), smoke, results="fresh")
        rows = frame(records)
    finally:
        sys.setprofile(None)
    assert list(first_calls) == steps
    assert rows["label"].tolist() == ["DIP"]
