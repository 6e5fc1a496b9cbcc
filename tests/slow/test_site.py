"""The committed book, built by ``make site``'s packages: torch and its like are not to be had."""

from __future__ import annotations

from pathlib import Path

import yaml
from bs4 import BeautifulSoup
from fresh import ROOT

import dip_lib


def files(chapters: list[dict]) -> list[str]:
    """Every page that part of a table of contents names."""
    return [n for each in chapters for n in (each["file"], *files(each.get("sections", [])))]


def test_every_page_is_there(html: Path) -> None:
    contents = yaml.safe_load((ROOT / "book" / "_toc.yml").read_text("utf-8"))
    named = [contents["root"], *(n for part in contents["parts"] for n in files(part["chapters"]))]
    assert len(named) > 20
    assert not [name for name in named if not (html / f"{name}.html").is_file()]


def test_docstrings_and_signatures_are_read(html: Path) -> None:
    page = BeautifulSoup((html / "book" / "api.html").read_text("utf-8"), "html.parser")
    entries = {each["id"]: each.parent for each in page.select("dt.sig[id]")}
    for name in dip_lib.__all__:
        (entry,) = (e for key, e in entries.items() if key.endswith(f".{name}"))
        assert len(entry.select_one("dd").get_text().split()) > 10, name
    prompt = entries["dip_lib.LowRankPrompt"].get_text()
    assert "rank=1" in prompt and "dropout=0.5" in prompt


def test_what_the_library_computed_is_shown(html: Path) -> None:
    status, explore = (
        BeautifulSoup((html / "book" / f"{name}.html").read_text("utf-8"), "html.parser")
        for name in ("status", "explore")
    )
    notebooks = len([*(ROOT / "notebooks").glob("*.ipynb")])
    first, *_ = status.select("table.cards")
    assert len(first.select("tbody tr")) == notebooks
    assert explore.select("table.cards tbody tr")
