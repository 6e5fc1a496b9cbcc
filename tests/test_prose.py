"""The book's language: pages say first what was found, and last what would change it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from prose import minutes, paragraphs

ROOT = Path(__file__).parents[1]
INDEX = ROOT / "book" / "index.md"
ANALYSES = sorted((ROOT / "notebooks").glob("*.ipynb"))
NUMBERS = ROOT / "results" / "numbers"

each_analysis = pytest.mark.parametrize("page", ANALYSES, ids=lambda page: page.stem)


@each_analysis
def test_a_page_begins_with_what_was_found_and_why_it_matters(page: Path) -> None:
    title, lead, *_ = paragraphs(page)
    assert title.startswith("# ")
    assert "matters" in lead and 30 <= len(lead.split()) <= 90
    assert not re.search(r"\d", lead), "a number in prose comes from results/"


@each_analysis
def test_a_page_ends_with_what_would_change_our_mind(page: Path) -> None:
    last = nbformat.read(page, as_version=4).cells[-1]
    heading, said = last.source.split("\n\n")
    assert (last.cell_type, heading) == ("markdown", "## What would change our mind")
    assert 20 <= len(said.split()) <= 90


def test_the_full_path_takes_no_more_than_it_says() -> None:
    text = INDEX.read_text("utf-8")
    (path,) = re.findall(r"\*\*The full path\*\*, in forty minutes(.*?)\*\*Further", text, re.S)
    linked = [(INDEX.parent / each).resolve() for each in re.findall(r"\(([^)]+\.\w+)\)", path)]
    assert len(linked) >= 10
    assert sum(map(minutes, linked)) <= 40


def numbers(notebook: str) -> dict[str, Any]:
    """The entries of a page's numbers."""
    (path,) = NUMBERS.glob(f"{notebook}_*.json")
    entries: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return entries


def signs(notebook: str) -> dict[str, int]:
    """1 or -1 for what is clearly above or below zero, 0 for what is not decided."""
    known = {name: each for name, each in numbers(notebook).items() if "low" in each}
    return {name: (each["low"] > 0) - (each["high"] < 0) for name, each in known.items()}


HELD = {
    "03": {"dip_minus_coop_new": 1, "dip_minus_coop_base": -1, "dip_minus_coop_h": 0}
    | {"photos/dip_minus_coop_new": 1, "photos/dip_minus_coop_base": -1}
    | {"photos/dip_minus_coop_h": 0},
    "06": {"dip_minus_coop": -1, "photos/dip_minus_coop": -1},
    "07": {"cross_dip_minus_coop": 0, "photos/cross_dip_minus_coop": 1}
    | {"cross_dip_minus_zero": 0, "photos/cross_dip_minus_zero": 0},
    "08": {"new_change_dip_minus_coop": 1, "photos/new_change_dip_minus_coop": 1}
    | {"dropout_new": 1, "photos/dropout_new": 0},
    "09": {"second_dip_minus_coop_new": 1, "second_dip_minus_coop_base": -1}
    | {"second_dip_minus_coop_h": 0, "random_dip_minus_coop_h": -1},
    "10": {"dept_dip_minus_plain_h": 1, "photos/dept_dip_minus_plain_h": 0}
    | {"kgcoop_dip_minus_plain_h": -1, "photos/kgcoop_dip_minus_plain_h": -1},
    "11": {"frozen_branch_h": 1, "no_dropout_new": -1, "rank4_new": 0, "photos/rank4_new": 0},
    "12": {"dip_minus_coop_new": 1, "dip_minus_coop_base": -1, "dip_minus_coop_h": 0},
    "14": {
        "tasks_gain_how_many": 1,
        "tasks_gain_natural_greek": -1,
        "tasks_gain_natural_dingbats": -1,
        "tasks_gain_coarse_cyrillic": -1,
        "tasks_gain_blurred_shapes": 0,
        "tasks_gain_which_font": -1,
        "tasks_gain_how_many_tall": 1,
        "tasks_gain_where_from": 1,
        "tasks_gain_which_bold": 1,
        "tasks_gain_how_large": 1,
        "tasks_gain_which_pale": 1,
        "tasks_gain_which_hollow": 1,
        "tasks_gain_which_underlined": 1,
        "tasks_gain_which_digit": 1,
        "tasks_gain_how_many_dots": 1,
        "tasks_dip_minus_full_how_many": -1,
        "tasks_rank_1_minus_full_how_many": -1,
        "tasks_condensed_minus_all": -1,
        "tasks_condensed_minus_random": 1,
        "tasks_condensed_minus_few": 0,
        "most_minus_none": -1,
        "most_minus_half": -1,
        "condensed_30_minus_all": 1,
    },
    "16": {"dip_minus_coop_base": -1, "photos/dip_minus_coop_base": -1}
    | {"dip_minus_coop_new": 1, "photos/dip_minus_coop_new": 0, "photos/dip_minus_coop_h": -1},
    "18": {
        f"{world}{method}_minus_dip_h_leave_classes_out": sign
        for world in ("", "photos/")
        for method, sign in (("kgcoop", 1), ("coop_update_scaled", 1), ("coop", 0))
    },
    "19": {"rho_drift_words": -1, "rho_id1": 1, "rho_id1_read": 1}
    | {"photos/rho_drift_words": -1, "photos/rho_id1": 0, "photos/rho_id1_read": 0},
    "20": {"dip_minus_coop_new": 1, "photos/dip_minus_coop_new": 0}
    | {"dropout_alone_minus_coop_new": 1, "a_quarter_of_the_epochs_minus_coop_new": 1}
    | {"density_held_new": 0, "photos/density_held_new": 0}
    | {"dip_beyond_trade_off": -1, "photos/dip_beyond_trade_off": -1}
    | {"new_per_drawn_density": 0, "photos/new_per_drawn_density": 0},
    "21": {
        f"{world}minus_{method}_h": 1
        for world in ("", "photos/")
        for method in ("dip", "coop", "coop_update_scaled")
    }
    | {"minus_kgcoop_h": -1, "photos/minus_kgcoop_h": 0},
}
"""Notebook -> numbers -> the sign that its first paragraph gives them in words."""


@pytest.mark.parametrize("notebook", HELD)
def test_the_words_of_a_first_paragraph_are_those_of_the_numbers(notebook: str) -> None:
    found = signs(notebook)
    assert {name: found[name] for name in HELD[notebook]} == HELD[notebook]


def test_none_is_clearly_behind_dip_and_no_design_clearly_beats_a_smaller_update() -> None:
    for notebook, ending, allowed in (
        ("18", "_minus_dip_h_leave_classes_out", {0, 1}),
        ("20", "_beyond_trade_off", {0, -1}),
    ):
        found = {name: sign for name, sign in signs(notebook).items() if name.endswith(ending)}
        assert {name.startswith("photos/") for name in found} == {True, False}
        assert {*found.values()} <= allowed, found


def test_words_of_first_paragraphs_that_are_no_signs() -> None:
    zero_shot = numbers("01")
    halves = [f"glyph-{tower}_{half}" for tower in ("resnet", "vit") for half in ("base", "new")]
    assert all(50 < zero_shot[name]["value"] < 75 for name in halves)
    cost = numbers("04")
    assert float(cost["time"]["value"]) > 10 and float(cost["memory"]["value"]) > 10
    own = {name: float(each["value"]) for name, each in numbers("05").items()}
    assert own["bytes"] < 4096 and own["plain_open_clip_agrees"] == 1
    assert abs(own["own"] - own["zero_shot_own"]) < 2
    assert abs(own["unseen"] - own["zero_shot_unseen"]) < 2
