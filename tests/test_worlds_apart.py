"""On paper a figure that stacks worlds is a picture of each, and no other figure is cut."""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import pytest
from bs4 import BeautifulSoup
from tiny_book import ROOT

sys.path += [str(ROOT / "book"), str(ROOT / "book" / "_ext")]  # as book/pdf.py and Sphinx do
from companion.drawings import short
from worlds_apart import cuts_of, take_apart


def stacked(path: Path, *titles: str) -> Path:
    """A figure of equal parts, one below the other."""
    with plt.rc_context({"svg.fonttype": "path"}):
        figure, axes = plt.subplots(len(titles), figsize=(3, 2 * len(titles)), squeeze=False)
        figure.subplots_adjust(0.1, 0.1 / len(titles), 0.9, 1 - 0.1 / len(titles))
        for ax, title in zip(axes[:, 0], titles, strict=True):
            ax.set_title(title)
        figure.savefig(path, format="svg")
        plt.close(figure)
    return path


@pytest.mark.parametrize("titles", [(), ("Glyph World",), ("greek", "latin")])
def test_what_stacks_no_worlds_is_whole(titles: tuple[str, ...], tmp_path: Path) -> None:
    path = stacked(tmp_path / "x.svg", *(titles or ("",)))
    assert cuts_of(path.read_text("utf-8")) == []


def test_a_world_begins_as_far_above_its_heading_as_the_figure(tmp_path: Path) -> None:
    path = stacked(tmp_path / "x.svg", "Glyph World", "Photo World")
    whole = path.read_text("utf-8")
    (cut,) = cuts_of(whole)
    assert cut == pytest.approx(0.5, abs=0.05)
    assert cuts_of(short(whole)) == pytest.approx([cut], abs=1e-3)


def test_the_parts_are_the_whole_in_order(tmp_path: Path) -> None:
    path = stacked(tmp_path / "x y.svg", "Glyph World", "Photo World")
    page = BeautifulSoup(
        f'<p><img src="{path.as_uri()}" alt="A"/><img src="none.svg" alt="B"/></p>', "html.parser"
    )
    (article,) = page.select("p")
    take_apart(article)
    *parts, other = article.select("img")
    assert [each["alt"] for each in parts] == ["A (part 1 of 2)", "A (part 2 of 2)"]
    assert {each["src"] for each in parts} == {path.as_uri()} and "style" not in other.attrs
    inset = [str(each["style"]).split("(")[1].split() for each in parts]
    above, below = (
        float(each[place].strip("%")) for each, place in zip(inset, (2, 0), strict=True)
    )
    assert above + below == pytest.approx(100, abs=0.02)
    assert inset[0][0] == inset[1][2] == "0.00%"
