"""Each world is judged by its own numbers, and one that is too imprecise is not asked."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from test_claims import CLAIM, CLAIMS

from dip_book.claims import FEWEST, load_claims
from dip_book.pilots import FEW, PILOT, Pilot, load_pilots
from dip_book.scoreboard import NOTHING, scoreboard
from dip_book.significance import holm, sign_flip, t_test

BOTH = {"worlds": ("embedded", "photos")}
PAPER = {"worlds": ("paper",), "command": "make it", "cost": "a day"}
ANY = {"worlds": ("any",), "margin": 0.0, "estimand": ""}


def board(folder: Path, numbers: dict[str, Any], pilot: str = "", **changes: Any) -> dict[str, Any]:
    """The row of one claim, read from real files."""
    fields = vars(replace(CLAIM, **changes))
    lines = [f"{name} = {json.dumps(value)}" for name, value in fields.items()]
    (folder / "claims.toml").write_text("[[claim]]\n" + "\n".join(lines))
    (folder / PILOT).write_text(pilot)
    (folder / "01_page.json").write_text(json.dumps(numbers))
    (row,) = scoreboard(folder / "claims.toml", folder)
    return row


def judged(folder: Path, numbers: dict[str, Any], pilot: str = "", **changes: Any) -> Any:
    """What the claim's only world says."""
    (only,) = board(folder, numbers, pilot, **changes)["judged"].values()
    return only


def measured(value: float, half: float = 0.25, **more: Any) -> dict[str, Any]:
    return {"value": value, "low": value - half, "high": value + half, **more}


def piloted(half: float, datasets: int = 7) -> str:
    return f'[photos]\nwhat = "a pilot"\ndatasets = {datasets}\n[photos.half_width]\nc = {half}\n'


def test_a_row_has_value_interval_and_verdict(tmp_path: Path) -> None:
    number = {"value": 1.5, "low": 1.0, "high": 2.0, "n": 11, "text": "1.5"}
    row = board(tmp_path, {"key": number})
    assert (row["id"], row["claim"], row["source"]) == ("c", "text", "paper")
    assert (row["notebook"], row["statistic"]) == ("01_page", "a number")
    assert row["asked"] == ">= 1 with tolerance 0.25"
    assert not row["disagree"]
    assert row["judged"] == {
        "embedded": {
            **NOTHING,
            **{"value": 1.5, "interval": (1.0, 2.0), "half_width": 0.5, "n": 11},
            **{"verdict": "reproduced", "detail": ""},
        }
    }


def test_an_inconclusive_world_says_what_could_have_been_detected(tmp_path: Path) -> None:
    number = {"value": 1.0, "low": 0.0, "high": 2.0, "detectable": 1.2345}
    said = judged(tmp_path, {"key": number})
    assert said["verdict"] == "inconclusive"
    assert said["detail"] == "smallest effect this study can detect: 1.2"


def test_a_number_without_an_interval_passes_only_as_an_exact_count(tmp_path: Path) -> None:
    said = judged(tmp_path, {"key": {"value": 7.0}})
    assert (said["verdict"], said["interval"], said["half_width"]) == ("inconclusive", None, None)
    assert said["detail"] == "no interval was measured"
    count = {"direction": "==", "threshold": 516, "tolerance": 0}
    for number, expected in ((516, "reproduced"), (517, "not reproduced")):
        said = judged(tmp_path, {"key": {"value": number}}, **count)
        assert (said["verdict"], said["half_width"]) == (expected, None)


def test_what_is_absent_is_not_measured_and_says_how_to(tmp_path: Path) -> None:
    for numbers in ({}, {"other": {"value": 1.0}}, {"key": {"value": None}}):
        said = judged(tmp_path, numbers)
        assert said == NOTHING | {
            "verdict": "not measured",
            "detail": "to measure: make book NOTEBOOK=01 PROFILE=embedded",
        }
    said = judged(tmp_path, {}, key="09_absent/key", **PAPER)
    assert said["detail"] == "to measure: make it (a day)"


def test_a_number_that_decides_nothing_gives_no_verdict_and_says_why(tmp_path: Path) -> None:
    enough = measured(2.0)
    few = enough | {"undecided": "profile smoke, 2 datasets"}
    assert judged(tmp_path, {"key": enough})["verdict"] == "reproduced"
    said = judged(tmp_path, {"key": few})
    assert (said["verdict"], said["value"]) == ("cannot judge", 2.0)
    assert said["detail"].endswith("profile smoke, 2 datasets")


@pytest.mark.parametrize(("n", "verdict"), [(FEWEST - 1, "cannot judge"), (FEWEST, "reproduced")])
def test_fewer_than_six_datasets_are_shown_and_not_judged(
    tmp_path: Path, n: int, verdict: str
) -> None:
    said = judged(tmp_path, {"key": measured(2.0, n=n)})
    assert (said["verdict"], said["value"], said["half_width"]) == (verdict, 2.0, 0.25)
    assert ("5 datasets" in said["detail"]) == (n < FEWEST)
    count = {"direction": "==", "threshold": 2.0, "tolerance": 0.0, **ANY}
    assert judged(tmp_path, {"key": measured(2.0, n=1)}, **count)["verdict"] == "by construction"


def of_units(units: list[float], **more: Any) -> dict[str, Any]:
    return measured(sum(units) / len(units), 0.25, n=len(units), units=units, **more)


UNITS = [1.3, 0.4, 0.9, 2.0, 0.7, 1.1]


def test_units_give_p_values_against_the_bound(tmp_path: Path) -> None:
    said = judged(tmp_path, {"key": of_units(UNITS, these=[0.5, 1.5])})
    assert said["p"] == pytest.approx(t_test(UNITS, 0.75))
    assert said["sign_flip"] == pytest.approx(sign_flip(UNITS, 0.75))
    assert said["holm"] is None and said["these"] == (0.5, 1.5)


def test_primary_claims_are_corrected_for_each_other_in_each_world(tmp_path: Path) -> None:
    strict = {"direction": ">", "threshold": 0.0, "tolerance": 0.0}
    clear, weak = [u + 1 for u in UNITS], [u - 0.55 for u in UNITS]
    numbers = {"a": of_units(clear), "b": of_units(weak), "c": of_units(weak)}
    for name in ("b", "c"):
        numbers[name] |= {"low": 0.01, "high": 1.1}
    (tmp_path / "01_page.json").write_text(json.dumps(numbers))
    lines = []
    for name in numbers:
        claim = replace(CLAIM, id=name, key=f"01_page/{name}", **strict)
        claim = replace(claim, primary="" if name == "c" else "a reason")
        fields = vars(claim).items()
        lines += ["[[claim]]", *(f"{field} = {json.dumps(value)}" for field, value in fields)]
    (tmp_path / "claims.toml").write_text("\n".join(lines))
    rows = scoreboard(tmp_path / "claims.toml", tmp_path)
    a, b, c = (row["judged"]["embedded"] for row in rows)
    corrected = holm({"a": t_test(clear), "b": t_test(weak)})
    assert (a["holm"], b["holm"], c["holm"]) == (corrected["a"], corrected["b"], None)
    assert [row["primary"] for row in rows] == ["a reason", "a reason", ""]
    assert a["verdict"] == "reproduced" and c["verdict"] == "reproduced"
    assert b["verdict"] != "reproduced"  # its p-value is not below 0.05


def test_a_claim_about_these_datasets_is_judged_by_its_ends_over_seeds(tmp_path: Path) -> None:
    number = {"key": of_units(UNITS, these=[0.0, 0.5])}
    said = judged(tmp_path, number, estimand="these datasets")
    assert (said["interval"], said["verdict"]) == ((0.0, 0.5), "not reproduced")
    said = judged(tmp_path, {"key": of_units(UNITS)}, estimand="these datasets")
    assert (said["interval"], said["verdict"]) == (None, "inconclusive")


def test_a_count_holds_by_construction_or_fails(tmp_path: Path) -> None:
    count = {"direction": "==", "threshold": 516, "tolerance": 0, **ANY}
    for value, verdict in ((516, "by construction"), (515, "not reproduced")):
        assert judged(tmp_path, {"key": {"value": value}}, **count)["verdict"] == verdict


def test_what_is_equivalent_says_to_what(tmp_path: Path) -> None:
    strict = {"direction": ">", "threshold": 0.0, "tolerance": 0.0}
    near = [u - 1.0 for u in UNITS]
    said = judged(tmp_path, {"key": of_units(near)}, **strict)
    assert said["verdict"] == "equivalent" and "less than 1 from 0" in said["detail"]


def test_a_number_counts_only_in_its_own_world(tmp_path: Path) -> None:
    glyphs, photos = {"key": measured(1.5)}, {"key": measured(1.5, world="paper")}
    assert judged(tmp_path, glyphs, **PAPER)["verdict"] == "not measured"
    assert judged(tmp_path, photos, **PAPER)["verdict"] == "reproduced"
    assert judged(tmp_path, photos)["verdict"] == "not measured"
    for numbers in (glyphs, photos):
        assert judged(tmp_path, numbers, **ANY)["verdict"] == "by construction"


def test_each_world_of_a_page_is_judged_by_the_number_under_its_name(tmp_path: Path) -> None:
    numbers = {
        "key": measured(1.5, world="embedded"),
        "photos/key": measured(0.0, world="photos"),
        "paper/key": measured(0.7, world="paper"),
    }
    row = board(tmp_path, numbers, worlds=("paper", "photos", "embedded"))
    assert {world: each["verdict"] for world, each in row["judged"].items()} == {
        "embedded": "reproduced",
        "photos": "not reproduced",
        "paper": "inconclusive",
    }
    assert list(row["judged"]) == ["embedded", "photos", "paper"]  # as the book shows them
    assert row["judged"]["photos"]["value"] == 0.0


def test_a_page_of_photo_world_alone_judges_that_world_by_its_plain_keys(tmp_path: Path) -> None:
    row = board(tmp_path, {"key": measured(1.5, world="photos")}, **BOTH)
    verdicts = {world: each["verdict"] for world, each in row["judged"].items()}
    assert verdicts == {"embedded": "not measured", "photos": "reproduced"}
    # whichever world a page shows first
    numbers = {
        "key": measured(1.5, world="photos"),
        "embedded/key": measured(0.0, world="embedded"),
    }
    row = board(tmp_path, numbers, **BOTH)
    verdicts = {world: each["verdict"] for world, each in row["judged"].items()}
    assert verdicts == {"embedded": "not reproduced", "photos": "reproduced"}


def test_a_number_under_another_worlds_name_is_nobodys(tmp_path: Path) -> None:
    row = board(tmp_path, {"photos/key": measured(1.5, world="embedded")}, **BOTH)
    assert {each["verdict"] for each in row["judged"].values()} == {"not measured"}


@pytest.mark.parametrize(
    ("glyphs", "photos", "expected"),
    [(2.0, 0.0, True), (0.0, 2.0, True), (2.0, 2.0, False), (2.0, 0.75, False), (0.75, 0.0, False)],
)
def test_worlds_disagree_when_one_reproduces_what_another_does_not(
    tmp_path: Path, glyphs: float, photos: float, expected: bool
) -> None:
    numbers = {"key": measured(glyphs), "photos/key": measured(photos, world="photos")}
    assert board(tmp_path, numbers, **BOTH)["disagree"] is expected


def test_what_a_world_cannot_judge_is_no_disagreement(tmp_path: Path) -> None:
    numbers = {"key": measured(2.0), "photos/key": measured(0.0, world="photos", n=7)}
    assert board(tmp_path, numbers, **BOTH)["disagree"]
    assert not board(tmp_path, numbers, piloted(1.5), **BOTH)["disagree"]


@pytest.mark.parametrize("value", [0.0, 0.75, 2.0])
@pytest.mark.parametrize(
    ("half", "n", "cannot"),
    [(1.5, 7, True), (1.5, FEW, True), (1.5, FEW + 1, False), (1.0, 7, False), (0.1, 7, False)],
)
def test_a_world_of_few_datasets_whose_pilot_was_imprecise_cannot_judge(
    tmp_path: Path, value: float, half: float, n: int, cannot: bool
) -> None:
    number = {"key": measured(value, world="photos", n=n)}
    free = judged(tmp_path, number, worlds=("photos",))
    said = judged(tmp_path, number, piloted(half), worlds=("photos",))
    assert said["half_width"] == 0.25 and said["n"] == n and said["value"] == value
    if cannot:
        assert said["verdict"] == "cannot judge"
        assert said["detail"] == "the pilot's half-width 1.5 exceeds the margin 1"
    else:
        assert said == free and free["verdict"] != "cannot judge"


def test_without_a_pilot_or_an_entry_in_it_a_world_can_judge(tmp_path: Path) -> None:
    claim = replace(CLAIM, worlds=("photos",))
    assert Pilot(what="of others", datasets=7, half_width={"d": 9.0}).objection(claim, 7) == ""
    number = {"key": measured(2.0, 0.5, world="photos", n=7)}
    assert judged(tmp_path, number, worlds=("photos",))["verdict"] == "reproduced"
    (tmp_path / PILOT).unlink()
    (row,) = scoreboard(tmp_path / "claims.toml", tmp_path)
    assert row["judged"]["photos"]["verdict"] == "reproduced"


def test_a_pilot_judges_its_own_world_alone_and_nothing_that_was_not_measured(
    tmp_path: Path,
) -> None:
    numbers = {"key": measured(2.0, n=7)}
    row = board(tmp_path, numbers, piloted(1.5), **BOTH)
    verdicts = {world: each["verdict"] for world, each in row["judged"].items()}
    assert verdicts == {"embedded": "reproduced", "photos": "not measured"}


def test_where_a_number_does_not_say_its_units_the_pilots_count(tmp_path: Path) -> None:
    number = {"key": measured(2.0, world="photos")}
    for datasets, expected in ((7, "cannot judge"), (9, "reproduced")):
        said = judged(tmp_path, number, piloted(1.5, datasets), worlds=("photos",))
        assert said["verdict"] == expected


@pytest.mark.parametrize(
    ("text", "kind", "token"),
    [
        (piloted(1.5).replace("[photos", "[photo"), ValueError, "photos"),
        (piloted(1.5).replace("c = ", "d = "), ValueError, "'d'"),
        (piloted(1.5).replace("[photos", "[embedded"), ValueError, "'c'"),
        (piloted(-1.5), ValueError, "-1.5"),
        (piloted(math.nan), ValueError, "nan"),
        (piloted(1.5).replace("datasets", "sets"), TypeError, "sets"),
        ("[photos]\ndatasets = 7\n", TypeError, "what"),
    ],
)
def test_a_pilot_that_makes_no_sense_is_refused(
    tmp_path: Path, text: str, kind: type[Exception], token: str
) -> None:
    (tmp_path / PILOT).write_text(text)
    with pytest.raises(kind, match=token):
        load_pilots(tmp_path / PILOT, [replace(CLAIM, worlds=("photos",))])


def test_the_committed_pilot_names_claims_of_its_world() -> None:
    pilots = load_pilots(CLAIMS.with_name(PILOT), load_claims(CLAIMS))
    assert list(pilots) == ["photos"] and pilots["photos"].what


def test_with_nothing_measured_every_claim_is_not_measured(tmp_path: Path) -> None:
    rows = scoreboard(CLAIMS, tmp_path)
    said = [each for row in rows for each in row["judged"].values()]
    assert {each["verdict"] for each in said} == {"not measured"}
    assert all(each["detail"].startswith("to measure: ") for each in said)
    assert [row["id"] for row in rows] == [claim.id for claim in load_claims(CLAIMS)]
