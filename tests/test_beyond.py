"""The judge of the method beyond the paper: its places, what opens it, and what its page says."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from made_grid import record

from dip_book.frame import frame
from dip_book.interval import Interval
from dip_book.pages import beyond, development
from dip_lib.data import harmonic_mean
from dip_study import fronts, study
from dip_study.beyond import COMPARED, OURS, closed, judge_entries, judged, seen, settings
from dip_study.fronts import MOST, Entry
from dip_study.plan import plan
from dip_study.profiles import load_profile

FULL, PHOTOS, SMOKE = (load_profile(name) for name in ("embedded-full", "photos-full", "smoke"))
JUDGE = {
    "tower": "glyph-resnet",
    "datasets": ("greek", "cyrillic"),
    "splits": (3, 3),
    "developed": (),
}
PROFILE = replace(SMOKE, judge=JUDGE)
BASE, NEW = 60.0, 50.0


def made(ahead: dict[str, float]) -> pd.DataFrame:
    """Runs in which each method is so many points above 60 and 50, give or take its place."""
    records = {}
    for entry in judge_entries(PROFILE):
        more = ahead.get(entry.method, 0.0) - entry.setting + 0.1 * entry.class_split
        numbers = {"base": BASE + more, "new": NEW + more}
        records.setdefault(entry.run.key(), record(entry, numbers))
    return frame(records.values())


def leads(ahead: dict[str, float]) -> dict[str, beyond.Lead]:
    grids = beyond.judged({PROFILE.world: made(ahead)}, [PROFILE])
    return beyond.leads(grids[PROFILE.world])


# ---- which runs ---------------------------------------------------------------------------------


@pytest.mark.parametrize("profile", [FULL, PHOTOS, SMOKE], ids=lambda p: p.name)
def test_every_method_has_as_many_settings_and_the_others_are_those_of_the_fair_comparison(
    profile: fronts.Profile,
) -> None:
    grid = settings(profile)
    assert [*grid] == [OURS, *COMPARED]
    assert {len(set(each)) for each in grid.values()} == {MOST}
    assert {name: grid[name] for name in COMPARED} == {
        name: fronts.settings(profile)[name] for name in COMPARED
    }


def test_the_judge_has_other_datasets_than_the_development_and_each_random_half_once() -> None:
    for profile in (FULL, PHOTOS):
        assert not {*profile.judge["datasets"]} & {*profile.judge["developed"]}
        places = [*judged(profile)]
        assert len(set(places)) == len(places)
        counts = Counter(place.dataset for place in places)
        assert [*counts] == profile.judge["datasets"] and [*counts.values()] == profile.judge[
            "splits"
        ]
        assert {place.class_split for place in places} == {*range(1, 11)}
        assert {place.seed for place in places} == {*profile.seeds}
    families = FULL.judge["developed"]
    assert families == sorted(FULL.datasets)[:6]
    assert {*families, *FULL.judge["datasets"]} == {*FULL.datasets}


def test_seen_are_the_other_datasets_with_the_fields_halves() -> None:
    assert [*seen(FULL)] == []
    assert {place.dataset for place in seen(PHOTOS)} == {*PHOTOS.datasets}
    assert {place.class_split for place in seen(PHOTOS)} == {0}
    assert {place.seed for place in seen(PHOTOS)} == {PHOTOS.seeds[0]}
    assert [*seen(load_profile("paper"))] == []


def test_a_place_has_its_half_and_seed_and_the_judges_tower() -> None:
    for entry in judge_entries(PROFILE, fingerprint=""):
        data = entry.run.data
        assert (data.dataset, data.class_split, data.held_out, entry.run.seed) == (
            entry.dataset,
            entry.class_split,
            entry.held_out,
            entry.seed,
        )
        assert entry.run.tower.backbone == JUDGE["tower"]


def test_nothing_runs_before_the_judge_is_opened() -> None:
    shut = replace(SMOKE, studies=())
    assert "beyond" in closed(shut) and study.STUDIES["beyond"](shut) == []
    with pytest.raises(ValueError, match="beyond"):
        plan(shut, "beyond")
    assert closed(SMOKE) == "" and len(study.STUDIES["beyond"](SMOKE)) > 0
    assert (
        closed(load_profile("paper")) == "" and study.STUDIES["beyond"](load_profile("paper")) == []
    )


# ---- what the page says -------------------------------------------------------------------------


def test_leads_are_those_of_the_settings_that_leaving_classes_out_chooses() -> None:
    found = leads({OURS: 2.0, "KgCoOp": 1.0})
    expected = {name: 2.0 for name in COMPARED} | {"KgCoOp": 1.0}
    for name, lead in found.items():
        # every method is best at its first setting; scaled updates are made as the whole run is
        assert lead.new.value == pytest.approx(expected[name], abs=1e-6), name
        more = 0.1 * np.mean([1, 2, 3])
        h = [harmonic_mean(BASE + by + more, NEW + by + more) for by in (2, 2 - expected[name])]
        assert lead.gap.value == pytest.approx(h[0] - h[1], abs=1e-6)
        assert lead.places == 6
    assert beyond.is_ahead(found)
    assert beyond.weakest(found).value == found["KgCoOp"].gap.value


def test_it_is_ahead_only_where_it_is_ahead_of_all() -> None:
    found = leads({OURS: 2.0, "ProGrad": 3.0})
    assert sum(lead.gap.sign > 0 for lead in found.values()) == len(COMPARED) - 1
    assert not beyond.is_ahead(found) and beyond.weakest(found).high < 0
    undecided = found | {"DIP": replace(found["DIP"], gap=Interval(1.0, -0.5, 2.5))}
    assert beyond.weakest(undecided).low <= -0.5


def test_a_seed_that_lifts_all_datasets_is_seen_and_one_that_lifts_none_is_not() -> None:
    def table(lifted: float) -> pd.DataFrame:
        records = {}
        for place, entry in enumerate(judge_entries(PROFILE)):
            lift = lifted if (entry.method, entry.seed) == (OURS, PROFILE.seeds[0]) else 0.0
            more = lift - entry.setting + 0.01 * (place % 7)
            records.setdefault(
                entry.run.key(), record(entry, {"base": BASE + more, "new": NEW + more})
            )
        grids = beyond.judged({PROFILE.world: frame(records.values())}, [PROFILE])
        return beyond.leads(grids[PROFILE.world])

    effects = {by: table(by)["DIP"].seeds for by in (0.0, 5.0)}
    assert all(effects.values())
    assert effects[5.0].p < 0.05 < effects[0.0].p


def test_holm_only_raises_p_values() -> None:
    for lead in leads({OURS: 0.5}).values():
        assert 0 <= lead.p <= lead.holm <= 1


def test_the_finding_needs_every_world() -> None:
    ahead, behind = leads({OURS: 2.0}), leads({OURS: -2.0})
    assert "It holds" in beyond.finding({"one": ahead, "two": ahead}, {})
    assert "does not hold" in beyond.finding({"one": ahead, "two": behind}, {})
    waiting = beyond.waiting([replace(PROFILE, studies=()), FULL])
    said = beyond.finding({"one": ahead}, waiting)
    assert "Not judged here" in said and "It holds" not in said


def test_numbers_say_on_how_many_places_they_rest() -> None:
    values, places = beyond.numbers(leads({OURS: 2.0}))
    assert values.keys() == places.keys() and set(places.values()) == {6}
    least = values["smallest_lead_h"]
    assert least.these == (least.low, least.high) and not least.units


def test_everything_that_was_tried_is_listed_with_its_size() -> None:
    table = development.variants()
    about = development.tried()["about"]
    assert about["datasets"] == FULL.judge["developed"]
    assert table[["base", "new", "H"]].notna().all(axis=None)
    assert ((table["H"] > table[["base", "new"]].min(axis=1)) & (table["H"] < table["base"])).all()
    assert {about["numbers"]} < set(table["numbers"])
    assert development.numbers(table)["tried_variants"] == table["variant"].nunique()


def test_an_entry_names_its_place() -> None:
    assert Entry._fields[3:6] == fronts.Place._fields
