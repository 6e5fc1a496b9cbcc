"""The book's language: pages say first what was found, and last what would change it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import nbformat
import pytest
from prose import minutes, paragraphs

ROOT = Path(__file__).parents[1]
INDEX = ROOT / "book" / "index.md"
ANALYSES = [
    page
    for page in sorted((ROOT / "notebooks").glob("*.ipynb"))
    if page.stem[:2] in {"02", "03", "15", "16", "17"} | {f"{i:02}" for i in range(6, 14)}
]
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


def signs(notebook: str) -> dict[str, int]:
    """1 or -1 for what is clearly above or below zero, 0 for what is not decided."""
    (path,) = NUMBERS.glob(f"{notebook}_*.json")
    entries = json.loads(path.read_text("utf-8"))
    known = {name: each for name, each in entries.items() if "low" in each}
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
    "16": {"dip_minus_coop_base": -1, "photos/dip_minus_coop_base": -1}
    | {"dip_minus_coop_new": 1, "photos/dip_minus_coop_new": 0, "photos/dip_minus_coop_h": -1},
}
"""Notebook -> numbers -> the sign that its first paragraph gives them in words."""


@pytest.mark.parametrize("notebook", HELD)
def test_the_words_of_a_first_paragraph_are_those_of_the_numbers(notebook: str) -> None:
    found = signs(notebook)
    assert {name: found[name] for name in HELD[notebook]} == HELD[notebook]
