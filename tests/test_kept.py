"""What a page keeps is read while what made it is the same, and made anew otherwise."""

from __future__ import annotations

import json
import types
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from dip_book import kept
from dip_book.pages import invisible_kept, invisible_runs
from dip_lib.errors import NotMeasuredError
from dip_study.profiles import load_profile


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home and results of their own."""
    monkeypatch.setenv("DIP_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DIP_RESULTS", str(tmp_path / "results"))
    return tmp_path


@pytest.mark.parametrize("results", ["missing", "fresh"])
def test_computed_once_while_what_makes_it_is_the_same(folders: Path, results: str) -> None:
    calls = []

    def compute() -> kept.Record:
        calls.append(1)
        return {"call": len(calls)}

    assert [kept.kept("a", "x", results, compute)["call"] for _ in range(2)] == [1, 1]
    assert kept.kept("a", "y", results, compute) == {"call": 2}
    assert kept.kept("a", "y", "stored", compute) == {"call": 2}


def test_stored_reads_what_is_committed_and_computes_nothing(folders: Path) -> None:
    def nothing() -> kept.Record:
        raise AssertionError("computed")

    with pytest.raises(NotMeasuredError):
        kept.kept("a", "x", "stored", nothing)
    kept.kept("a", "x", "missing", lambda: {"value": 1.5})
    kept.export(["a", "never computed"], folders / "results")
    (folders / "home" / "kept" / "a.json").unlink()
    for results in ("stored", "missing"):
        assert kept.kept("a", "x", results, nothing) == {"value": 1.5}
    with pytest.raises(NotMeasuredError):
        kept.kept("a", "y", "stored", nothing)
    assert kept.kept("a", "x", "fresh", lambda: {"value": 2.5}) == {"value": 2.5}


def test_the_identity_is_of_code_and_not_of_comments(tmp_path: Path) -> None:
    def identity(text: str, *of: str) -> str:
        module = types.ModuleType("made")
        module.__file__ = str(tmp_path / "made.py")
        (tmp_path / "made.py").write_text(text)
        return kept.identity([module], *of)

    plain = identity("x = 1\n", "key")
    assert identity('"""What it is."""\n\nx = 1  # one\n', "key") == plain
    assert len({plain, identity("x = 2\n", "key"), identity("x = 1\n", "other")}) == 3


@pytest.mark.usefixtures("shared_features")
def test_page_17_reads_back_what_it_computed(folders: Path) -> None:
    profile = replace(load_profile("smoke"), datasets=("greek",))
    found = invisible_kept.measured(profile, "cpu", "missing")
    again = invisible_kept.measured(profile, "cpu", "stored")
    for name in ("trainings", "searches", "slid"):
        pd.testing.assert_frame_equal(
            getattr(found, name).reset_index(drop=True), getattr(again, name)
        )
    longer = replace(profile, epochs=profile.epochs + 1)
    with pytest.raises(NotMeasuredError):
        invisible_kept.measured(longer, "cpu", "stored")


def test_the_committed_results_are_of_the_present_code() -> None:
    """So that ``make test`` reads them, and trains nothing."""
    profiles = [load_profile(name) for name in ("embedded-full", "photos-full")]
    for profile in profiles:
        found = invisible_kept.measured(profile, "cpu", "stored")
        assert found.slid["dataset"].unique().tolist() == [invisible_runs.chosen(profile)[0]]
    seen = invisible_kept.towers({p.world: p for p in profiles}, "cpu", "stored")
    assert len(seen) == 6
    json.dumps({tower: list(each) for tower, each in seen.items()}, allow_nan=False)
