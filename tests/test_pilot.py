"""A pilot's half-widths are written from its numbers, once, before the runs that are judged."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
from test_claims import CLAIM

from dip_book.pilot import half_widths, main, text
from dip_book.pilots import PILOT, load_pilots

ENTRIES = {
    "key": {"value": 1.0, "low": 0.0, "high": 3.0, "world": "embedded"},
    "none": {"value": 1.0, "world": "embedded"},
    "photos/key": {"value": 1.0, "low": 0.5, "high": 1.5, "world": "photos"},
}


def numbers(folder: Path) -> Path:
    """A folder with ENTRIES and claims: c, which both worlds measured, and others."""
    (folder / "01_page.json").write_text(json.dumps(ENTRIES))
    worlds = ("embedded", "photos")
    made = [
        replace(CLAIM, worlds=worlds),
        replace(CLAIM, id="none", key="01_page/none", worlds=worlds),
        replace(CLAIM, id="count", direction="==", tolerance=0.0, worlds=worlds),
        replace(CLAIM, id="other", worlds=("photos",)),
    ]
    lines = []
    for each in made:
        lines += ["[[claim]]", *(f"{name} = {json.dumps(v)}" for name, v in vars(each).items())]
    (folder / "claims.toml").write_text("\n".join(lines))
    return folder


def run(folder: Path, profile: str = "smoke") -> int:
    return main([str(folder), "--profile", profile, "--claims", str(folder / "claims.toml")])


def test_each_claim_gets_the_half_width_of_its_number_in_the_pilots_world(tmp_path: Path) -> None:
    numbers(tmp_path)
    claims = [
        replace(CLAIM, worlds=("embedded", "photos")),
        replace(CLAIM, id="n", key="01_page/x"),
    ]
    assert half_widths(claims, "embedded", tmp_path) == {"c": 1.5}
    assert half_widths(claims, "photos", tmp_path) == {"c": 0.5}
    unbounded = {"key": {"value": 1.0, "low": -math.inf, "high": math.inf}}
    (tmp_path / "01_page.json").write_text(json.dumps(unbounded))
    assert half_widths(claims, "embedded", tmp_path) == {}


def test_the_file_says_what_the_pilot_was_and_is_read_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(numbers(tmp_path)) == 0
    written = (tmp_path / PILOT).read_text("utf-8")
    assert written.startswith("# ") and written.count("[embedded]") == 1
    claims = [replace(CLAIM, worlds=("embedded", "photos"))]
    (pilot,) = load_pilots(tmp_path / PILOT, claims).values()
    assert pilot.half_width == {"c": 1.5} and pilot.datasets == 2
    assert "profile smoke" in pilot.what and "seed" in pilot.what
    said = capsys.readouterr()
    assert "c: 1.5 exceeds the margin 1" in said.out
    assert "none: no interval" in said.err


def test_another_worlds_pilot_stays(tmp_path: Path) -> None:
    earlier = {"what": 'said "so"', "datasets": 7, "half_width": {"c": 0.123456}}
    (numbers(tmp_path) / PILOT).write_text(text({"photos": earlier}))
    assert run(tmp_path) == 0
    pilots = load_pilots(tmp_path / PILOT, [replace(CLAIM, worlds=("embedded", "photos"))])
    assert pilots["photos"].what == 'said "so"'
    assert pilots["photos"].half_width == {"c": 0.1235}
    assert pilots["embedded"].half_width == {"c": 1.5}


def test_a_folder_without_numbers_of_the_world_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(numbers(tmp_path), "paper") == 1
    assert str(tmp_path) in capsys.readouterr().err
    assert not (tmp_path / PILOT).exists()
