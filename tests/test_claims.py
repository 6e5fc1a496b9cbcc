"""Verdicts follow the rules that were fixed before measuring."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dip_book.claims import PRIMARY, WORLDS, Claim, load_claims, verdict
from dip_book.estimates import average, jackknife
from dip_book.interval import Interval

CLAIMS = Path(__file__).parents[1] / "book" / "claims.toml"
CLAIM = Claim(
    id="c",
    text="text",
    source="paper",
    statistic="a number",
    key="01_page/key",
    notebook="01_page",
    worlds=("embedded",),
    direction=">=",
    threshold=1.0,
    tolerance=0.25,
    margin=1.0,
    estimand="new datasets",
    why="because",
)


@pytest.mark.parametrize(
    ("direction", "low", "high", "expected"),
    [
        (">=", 0.75, 2.0, "reproduced"),
        (">=", 0.7, 2.0, "inconclusive"),
        (">=", 0.1, 0.75, "inconclusive"),
        (">=", 0.1, 0.7, "not reproduced"),
        (">", 0.8, 2.0, "reproduced"),
        (">", 0.75, 2.0, "inconclusive"),
        (">", 0.1, 0.75, "not reproduced"),
        ("<=", 0.1, 1.25, "reproduced"),
        ("<=", 0.1, 1.3, "inconclusive"),
        ("<=", 1.3, 2.0, "not reproduced"),
        ("<", 0.1, 1.2, "reproduced"),
        ("<", 0.1, 1.25, "inconclusive"),
        ("<", 1.25, 2.0, "not reproduced"),
        ("==", 0.75, 1.25, "reproduced"),
        ("==", 0.7, 1.25, "inconclusive"),  # wider than the tolerance: can not pass
        ("==", 1.3, 2.0, "not reproduced"),
        ("==", 0.1, 0.7, "not reproduced"),
        (">=", -math.inf, math.inf, "inconclusive"),
        (">=", math.nan, math.nan, "inconclusive"),
    ],
)
def test_the_whole_interval_decides(direction: str, low: float, high: float, expected: str) -> None:
    claim = replace(CLAIM, direction=direction, margin=0.01)
    assert verdict(claim, Interval(1.0, low, high)) == expected


def test_a_tie_does_not_confirm_a_strict_claim() -> None:
    claim = replace(CLAIM, direction=">", threshold=0.0, tolerance=0.0)
    assert verdict(claim, Interval(0.0, 0.0, 0.0)) == "not reproduced"


def units(shift: float, spread: float = 0.1, count: int = 8) -> Interval:
    """Student's interval of units around a value."""
    return jackknife(shift + spread * np.linspace(-1, 1, count), average)


STRICT = replace(CLAIM, direction=">", threshold=0.0, tolerance=0.0, margin=1.0)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (units(0.0), "equivalent"),
        (units(0.0, 5.0), "inconclusive"),
        (units(0.05), "equivalent"),  # undecided in sign, and shown to be small
        (units(0.5), "reproduced"),  # the sign is the claim, however small the difference
        (units(-0.5), "not reproduced"),
        (units(0.9, 1.0), "reproduced"),
        (Interval(0.0, -0.5, 0.5), "equivalent"),  # without units the whole interval is inside
        (Interval(0.0, -0.5, 1.5), "inconclusive"),
    ],
)
def test_a_difference_within_the_margin_is_equivalent(found: Interval, expected: str) -> None:
    assert verdict(STRICT, found) == expected


def test_only_a_claim_of_a_difference_can_be_equivalent() -> None:
    for direction in (">=", "<=", "=="):
        within = replace(CLAIM, direction=direction, threshold=0.0, tolerance=0.01)
        assert verdict(within, units(0.0)) == "inconclusive"


def test_a_primary_claim_needs_its_corrected_p_value_too() -> None:
    for found, expected in ((units(3.0), "reproduced"), (units(-3.0), "not reproduced")):
        assert verdict(STRICT, found, holm=0.049) == verdict(STRICT, found) == expected
        assert verdict(STRICT, found, holm=0.051) == "inconclusive"
    assert verdict(STRICT, units(0.5), holm=0.051) == "equivalent"


def test_the_bound_is_the_loosened_threshold() -> None:
    bounds = {d: replace(CLAIM, direction=d).bound for d in (">", ">=", "<", "<=", "==")}
    assert bounds == {">": 0.75, ">=": 0.75, "<": 1.25, "<=": 1.25, "==": 1.0}


def test_no_interval_is_not_measured_and_an_undefined_value_is_inconclusive() -> None:
    assert verdict(CLAIM, None) == "not measured"
    assert verdict(CLAIM, Interval(math.nan, 2.0, 3.0)) == "inconclusive"


@pytest.mark.parametrize(
    ("changes", "token"),
    [
        ({"direction": "=>"}, "=>"),
        ({"worlds": ("papers",)}, "papers"),
        ({"worlds": ()}, "worlds"),
        ({"worlds": "photos"}, "photos"),
        ({"worlds": ("photos", "photos")}, "once"),
        ({"worlds": ("any", "photos"), "margin": 0.0}, "any"),
        ({"tolerance": -0.1}, "-0.1"),
        ({"tolerance": math.nan}, "nan"),
        ({"worlds": ("paper",)}, "cost"),
        ({"margin": 0.0}, "margin"),
        ({"margin": -1.0}, "-1.0"),
        ({"margin": math.nan}, "nan"),
        ({"margin": math.inf}, "inf"),
        ({"worlds": ("any",)}, "margin"),
        ({"worlds": ("any",), "margin": 0.0}, "estimand"),
        ({"worlds": ("any",), "margin": 0.0, "estimand": "", "primary": "so"}, "primary"),
        ({"estimand": ""}, "estimand"),
        ({"estimand": "new dataset"}, "new datasets"),
        ({"primary": "so", "part_of": "d"}, "part_of"),
        ({"primary": "so", "estimand": "these datasets"}, "new datasets"),
    ],
)
def test_a_claim_that_makes_no_sense_is_refused(changes: dict[str, Any], token: str) -> None:
    with pytest.raises(ValueError, match=token):
        replace(CLAIM, **changes)


def test_the_committed_claims_are_complete() -> None:
    claims = load_claims(CLAIMS)
    assert {"id1-new", "id2-new", "half-k-parameters", "dip-new", "dip-h"} <= {c.id for c in claims}
    for claim in claims:
        assert claim.key.startswith(f"{claim.notebook}/") and claim.key.count("/") == 1
        assert all((claim.text, claim.source, claim.statistic, claim.why))


def test_primary_claims_are_few_have_reasons_and_are_claims_of_a_difference_or_a_bound() -> None:
    claims = load_claims(CLAIMS)
    for world in WORLDS:
        primary = [claim for claim in claims if claim.primary and world in claim.worlds]
        assert 1 <= len(primary) <= PRIMARY
        assert all(len(claim.primary) > 40 and not claim.part_of for claim in primary)


def test_a_claim_that_a_small_world_judges_says_what_had_been_seen_of_it() -> None:
    for claim in load_claims(CLAIMS):
        small = {"embedded", "photos"} & set(claim.worlds)
        assert bool(claim.seen) == bool(small), claim.id


def test_a_claim_on_prompts_of_the_text_is_judged_in_every_world_and_no_other_in_photo_world() -> (
    None
):
    worlds = {claim.id: claim.worlds for claim in load_claims(CLAIMS)}
    every = {name for name, where in worlds.items() if where == ("embedded", "photos", "paper")}
    assert {"id1-new", "dip-new", "dip-h", "plug-and-play", "few-shot", "cross-dataset"} <= every
    ours = {"beyond-the-paper"}  # judged once, where real CLIP has not been
    assert {name for name, where in worlds.items() if "photos" in where} == every | ours
    visual = [claim.id for claim in load_claims(CLAIMS) if claim.notebook.startswith("14")]
    assert not {"state-of-the-art", "comparable", "rotation-h", *visual} & every
    counts = [name for name, where in worlds.items() if where == ("any",)]
    assert "half-k-parameters" in counts


def test_the_margin_is_the_smallest_difference_that_matters_in_the_claims_unit() -> None:
    for claim in load_claims(CLAIMS):
        if "in points" in claim.statistic:
            expected = 0.5 if "standard deviation" in claim.statistic else 1.0
            assert claim.margin == expected, claim.id
        elif "rho" in claim.statistic:
            assert claim.margin == 0.1, claim.id


def test_how_to_measure_a_claim_depends_on_the_world() -> None:
    claim = replace(CLAIM, worlds=("embedded", "photos", "paper"))
    assert claim.to_measure("photos") == "make book NOTEBOOK=01 PROFILE=photos"
    assert claim.to_measure("embedded") == "make book NOTEBOOK=01 PROFILE=embedded"
    paper = claim.to_measure("paper")
    assert paper.startswith("make book NOTEBOOK=01 PROFILE=paper DEVICE=cuda DATA=")
    assert paper.endswith("GPU; time not known yet)")
    given = replace(claim, command="make it", cost="a day")
    assert given.to_measure("paper") == "make it (a day)"
    assert given.to_measure("photos") == claim.to_measure("photos")
    count = replace(CLAIM, worlds=("any",), margin=0.0, estimand="")
    assert count.to_measure("any") == "make book NOTEBOOK=01"


def test_a_claim_is_the_same_claim_in_every_world() -> None:
    number = Interval(1.5, 1.0, 2.0)
    places = [("embedded",), ("photos",), ("embedded", "photos", "paper")]
    assert {verdict(replace(CLAIM, worlds=each), number) for each in places} == {"reproduced"}


def test_two_claims_with_one_id_and_misspelt_fields_are_refused(tmp_path: Path) -> None:
    text = CLAIMS.read_text("utf-8")
    (tmp_path / "twice.toml").write_text(text + text)
    with pytest.raises(ValueError, match="duplicate"):
        load_claims(tmp_path / "twice.toml")
    (tmp_path / "part.toml").write_text(text.replace('part_of = "id1-new"', 'part_of = "id2-new"'))
    with pytest.raises(ValueError, match="id2-new"):
        load_claims(tmp_path / "part.toml")
    (tmp_path / "earlier.toml").write_text(text.replace("worlds = [", "world = ["))
    with pytest.raises(TypeError, match="world"):
        load_claims(tmp_path / "earlier.toml")
    (tmp_path / "misspelt.toml").write_text(text.replace("threshold", "treshold"))
    with pytest.raises(TypeError, match="treshold"):
        load_claims(tmp_path / "misspelt.toml")


def test_a_world_has_at_most_four_primary_claims(tmp_path: Path) -> None:
    def written(count: int, worlds: tuple[str, ...] = ("embedded",)) -> Path:
        lines = []
        for i in range(count):
            fields = vars(replace(CLAIM, id=f"c{i}", worlds=worlds, primary="a reason"))
            lines += ["[[claim]]", *(f"{name} = {json.dumps(v)}" for name, v in fields.items())]
        (tmp_path / "claims.toml").write_text("\n".join(lines))
        return tmp_path / "claims.toml"

    assert len(load_claims(written(PRIMARY))) == PRIMARY
    with pytest.raises(ValueError, match="photos"):
        load_claims(written(PRIMARY + 1, ("photos",)))
