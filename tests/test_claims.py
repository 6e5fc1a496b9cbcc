"""Verdicts follow the rules that were fixed before measuring."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dip_book.claims import Claim, load_claims, scoreboard, verdict
from dip_book.statistics import Interval

CLAIMS = Path(__file__).parents[1] / "book" / "claims.toml"
CLAIM = Claim(
    id="c",
    text="text",
    source="paper",
    statistic="a number",
    key="01_page/key",
    notebook="01_page",
    world="embedded",
    direction=">=",
    threshold=1.0,
    tolerance=0.25,
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
    claim = replace(CLAIM, direction=direction)
    assert verdict(claim, Interval(1.0, low, high)) == expected


def test_a_tie_does_not_confirm_a_strict_claim() -> None:
    claim = replace(CLAIM, direction=">", threshold=0.0, tolerance=0.0)
    assert verdict(claim, Interval(0.0, 0.0, 0.0)) == "not reproduced"


def test_no_interval_is_not_measured_and_an_undefined_value_is_inconclusive() -> None:
    assert verdict(CLAIM, None) == "not measured"
    assert verdict(CLAIM, Interval(math.nan, 2.0, 3.0)) == "inconclusive"


@pytest.mark.parametrize(
    ("changes", "token"),
    [
        ({"direction": "=>"}, "=>"),
        ({"world": "papers"}, "papers"),
        ({"tolerance": -0.1}, "-0.1"),
        ({"tolerance": math.nan}, "nan"),
        ({"world": "paper"}, "cost"),
    ],
)
def test_a_claim_that_makes_no_sense_is_refused(changes: dict[str, Any], token: str) -> None:
    with pytest.raises(ValueError, match=token):
        replace(CLAIM, **changes)


def board(folder: Path, numbers: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """The row of one claim, read from real files."""
    fields = {k: v for k, v in vars(replace(CLAIM, **changes)).items()}
    lines = [f"{name} = {json.dumps(value)}" for name, value in fields.items()]
    (folder / "claims.toml").write_text("[[claim]]\n" + "\n".join(lines))
    (folder / "01_page.json").write_text(json.dumps(numbers))
    (row,) = scoreboard(folder / "claims.toml", folder)
    return row


def test_a_row_has_value_interval_and_verdict(tmp_path: Path) -> None:
    row = board(tmp_path, {"key": {"value": 1.5, "low": 1.0, "high": 2.0, "text": "1.5"}})
    assert row["value"] == 1.5 and row["interval"] == (1.0, 2.0)
    assert (row["id"], row["claim"], row["source"]) == ("c", "text", "paper")
    assert (row["world"], row["notebook"]) == ("embedded", "01_page")
    assert row["verdict"] == "reproduced"
    assert row["detail"] == "asked: >= 1 with tolerance 0.25"


def test_an_inconclusive_row_says_what_could_have_been_detected(tmp_path: Path) -> None:
    number = {"value": 1.0, "low": 0.0, "high": 2.0, "detectable": 1.2345}
    row = board(tmp_path, {"key": number})
    assert row["verdict"] == "inconclusive"
    assert row["detail"].endswith("smallest effect this study can detect: 1.2")


def test_a_number_without_an_interval_passes_only_as_an_exact_count(tmp_path: Path) -> None:
    row = board(tmp_path, {"key": {"value": 7.0}})
    assert (row["verdict"], row["interval"]) == ("inconclusive", None)
    assert row["detail"].endswith("no interval was measured")
    count = {"direction": "==", "threshold": 516, "tolerance": 0}
    assert board(tmp_path, {"key": {"value": 516}}, **count)["verdict"] == "reproduced"
    assert board(tmp_path, {"key": {"value": 517}}, **count)["verdict"] == "not reproduced"


def test_what_is_absent_is_not_measured_and_says_how_to(tmp_path: Path) -> None:
    for numbers in ({}, {"other": {"value": 1.0}}, {"key": {"value": None}}):
        row = board(tmp_path, numbers)
        assert (row["verdict"], row["value"], row["interval"]) == ("not measured", None, None)
        assert row["detail"].endswith("to measure: run 01_page")
    row = board(tmp_path, {}, key="09_absent/key", world="paper", command="make it", cost="a day")
    assert row["detail"].endswith("to measure: make it (a day)")


def test_a_number_that_decides_nothing_gives_no_verdict_and_says_why(tmp_path: Path) -> None:
    enough = {"value": 2.0, "low": 1.9, "high": 2.1}
    few = enough | {"undecided": "profile smoke, 2 datasets"}
    assert board(tmp_path, {"key": enough})["verdict"] == "reproduced"
    row = board(tmp_path, {"key": few})
    assert (row["verdict"], row["value"], row["interval"]) == ("not measured", None, None)
    assert row["detail"].endswith("profile smoke, 2 datasets")


def test_a_number_counts_only_in_its_own_world(tmp_path: Path) -> None:
    glyphs = {"key": {"value": 1.5, "low": 1.0, "high": 2.0}}
    photos = {"key": {"value": 1.5, "low": 1.0, "high": 2.0, "world": "paper"}}
    paper = {"world": "paper", "command": "make it", "cost": "a day"}
    assert board(tmp_path, glyphs, **paper)["verdict"] == "not measured"
    assert board(tmp_path, photos, **paper)["verdict"] == "reproduced"
    assert board(tmp_path, photos)["verdict"] == "not measured"
    assert board(tmp_path, photos, world="any")["verdict"] == "reproduced"


def test_the_committed_claims_are_complete() -> None:
    claims = load_claims(CLAIMS)
    assert {"id1-new", "id2-new", "half-k-parameters", "dip-new", "dip-h"} <= {c.id for c in claims}
    for claim in claims:
        assert claim.key.startswith(f"{claim.notebook}/") and claim.key.count("/") == 1
        assert all((claim.text, claim.source, claim.statistic, claim.why))


def test_with_nothing_measured_every_claim_is_not_measured(tmp_path: Path) -> None:
    rows = scoreboard(CLAIMS, tmp_path)
    assert {row["verdict"] for row in rows} == {"not measured"}
    assert len(rows) == len(load_claims(CLAIMS))


def test_two_claims_with_one_id_and_misspelt_fields_are_refused(tmp_path: Path) -> None:
    text = CLAIMS.read_text("utf-8")
    (tmp_path / "twice.toml").write_text(text + text)
    with pytest.raises(ValueError, match="duplicate"):
        load_claims(tmp_path / "twice.toml")
    (tmp_path / "misspelt.toml").write_text(text.replace("threshold", "treshold"))
    with pytest.raises(TypeError, match="treshold"):
        load_claims(tmp_path / "misspelt.toml")
