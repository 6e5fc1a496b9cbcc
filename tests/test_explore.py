"""The page of sliders shows what the committed runs say, and only settings that were measured."""

from __future__ import annotations

from pathlib import Path

import pytest

from dip_book import tables
from dip_book.frame import frame
from dip_book.summary import PUBLISHED as WORLDS
from dip_book.summary import committed, sweeps
from dip_lib.data import harmonic_mean
from dip_lib.training.parts import LowRank
from dip_study import study
from dip_study.profiles import load_profile

ROOT = Path(__file__).resolve().parents[1]
PUBLISHED = WORLDS[0]


def test_each_dot_is_the_average_of_its_runs() -> None:
    profile, store = load_profile(PUBLISHED), committed(ROOT / "results" / PUBLISHED)
    rows = {(s["rank"], s["dropout"], s["epochs"]): s for s in sweeps(store, profile)}
    found = {key: row["families"] for key, row in rows.items()}
    assert {rank for rank, *_ in found} == {0, *study.RANKS}
    assert {p for rank, p, epochs in found if rank == 1 and epochs == 40} == set(study.DROPOUT)
    assert all(set(families) == set(profile.datasets) for families in found.values())
    for runs, key in ((study.coop, (0, 0.0, 40)), (study.dip, (1, 0.5, 40))):
        expected = tables.averages(frame(map(store.get, runs(profile))))
        for i, half in enumerate(("base", "new")):
            mean = sum(values[i] for values in found[key].values()) / len(found[key])
            assert mean == pytest.approx(expected[half].value, abs=0.001)
            assert mean == pytest.approx(rows[key]["average"][i])
    assert all(
        row["average"][2] == pytest.approx(harmonic_mean(*row["average"][:2]))
        for row in rows.values()
    )


def test_a_setting_that_a_family_lacks_is_left_out() -> None:
    profile, whole = load_profile(PUBLISHED), committed(ROOT / "results" / PUBLISHED)
    before = sweeps(whole, profile)
    for run in study.dip(profile, LowRank(rank=4, dropout=0.0)):
        if run.data.dataset == "greek":
            del whole.committed[run.key()]
    after = sweeps(whole, profile)
    (lost,) = [s for s in before if s not in after]
    assert (lost["rank"], lost["dropout"]) == (4, 0.0)
