"""Drawings of the book written short: nothing that a reader sees is lost."""

from __future__ import annotations

import re
import sys
from io import StringIO
from pathlib import Path
from xml.etree import ElementTree

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from dip_book import figures, plots

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "book" / "_ext"))  # as Sphinx does
from companion.drawings import short  # noqa: E402

NUMBER = re.compile(r"-?\d+\.?\d*")


@pytest.fixture(scope="module")
def drawing() -> str:
    """Curves with bands and signs as text, beside a picture of pixels."""
    plots.use_style()
    curve = pd.DataFrame({"value": [1.2345678, 3, -2], "low": [0, 2.5, -3], "high": [2, 4, -1]})
    figures.curves({"ID$_1$": {"DIP": curve, "CoOp": curve + 1}}, "prompts", level=0)
    figure = plt.gcf()
    figure.add_subplot(5, 5, 1).imshow(np.eye(4))
    written = StringIO()
    figure.savefig(written, format="svg", metadata={"Date": None})
    plt.close(figure)
    return written.getvalue()


def tags(svg: str) -> list[str]:
    return [element.tag for element in ElementTree.fromstring(svg).iter()]


def test_every_line_and_letter_of_a_drawing_is_kept(drawing: str) -> None:
    kinds = ("path", "use", "rect", "image", "clipPath", "svg")
    told, kept = (
        [tag for tag in tags(svg) if tag.endswith(kinds)] for svg in (drawing, short(drawing))
    )
    assert kept == told
    assert re.findall("<!--.*?-->", short(drawing)) == re.findall("<!--.*?-->", drawing)


def test_what_a_short_drawing_refers_to_is_in_it(drawing: str) -> None:
    svg = short(drawing)
    names = re.findall(r' id="([^"]+)"', svg)
    assert len(names) == len(set(names))
    assert {*re.findall(r'(?:href="|url\()#([^")]+)', svg)} == set(names)


@pytest.mark.parametrize("digits", [1, 2])
def test_points_move_by_less_than_the_digits_left_out(drawing: str, digits: int) -> None:
    def places(svg: str) -> list[float]:
        lines = re.findall(r'<path d="([^"]*)" (?:clip-path|style)', svg)
        return [float(number) for line in lines for number in NUMBER.findall(line)]

    before, after = places(drawing), places(short(drawing, digits))
    assert len(before) > 40
    assert np.abs(np.subtract(before, after)).max() < 0.1**digits


def test_a_short_drawing_is_much_shorter_and_stays_as_it_is(drawing: str) -> None:
    svg = short(drawing)
    assert short(svg) == svg
    pixels = sum(map(len, re.findall(r"base64,[^\"]*", drawing)))
    assert len(svg) - pixels < 0.75 * (len(drawing) - pixels)
