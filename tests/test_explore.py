"""The page of sliders shows what the committed runs say, and only settings that were measured."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from dip_book import tables
from dip_book.frame import frame
from dip_study import study
from dip_study.profiles import load_profile

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "book" / "_ext"))  # as Sphinx does

from companion.explore import fallback, settings  # noqa: E402
from companion.status import PUBLISHED, committed  # noqa: E402


def test_each_dot_is_the_average_of_its_runs() -> None:
    profile, store = load_profile(PUBLISHED), committed(ROOT / "results" / PUBLISHED)
    found = {
        (s["rank"], s["dropout"], s["epochs"]): s["families"] for s in settings(store, profile)
    }
    assert {rank for rank, *_ in found} == {0, *study.RANKS}
    assert {p for rank, p, epochs in found if rank == 1 and epochs == 40} == set(study.DROPOUT)
    assert all(set(families) == set(profile.datasets) for families in found.values())
    for runs, key in ((study.coop, (0, 0.0, 40)), (study.dip, (1, 0.5, 40))):
        expected = tables.averages(frame(map(store.get, runs(profile))))
        for i, half in enumerate(("base", "new")):
            mean = sum(values[i] for values in found[key].values()) / len(found[key])
            assert mean == pytest.approx(expected[half].value, abs=0.001)


def test_a_setting_that_a_family_lacks_is_left_out() -> None:
    profile, whole = load_profile(PUBLISHED), committed(ROOT / "results" / PUBLISHED)
    before = settings(whole, profile)
    for run in study.dip(profile, rank=4, dropout=0.0):
        if run.dataset == "greek":
            del whole.committed[run.key()]
    after = settings(whole, profile)
    (lost,) = [s for s in before if s not in after]
    assert (lost["rank"], lost["dropout"]) == (4, 0.0)
    assert fallback(after).count("<tr>") == len(after) + 1  # and the head
