"""Page 02's figures show as-read density where every run holds it, and look as before elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import combinations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from made_records import records
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from dip_book import density_plots
from dip_book.frame import frame
from dip_book.pages import information_density
from dip_book.plots import use_style


@pytest.fixture(autouse=True)
def _style() -> Iterator[None]:
    plt.switch_backend("Agg")
    with plt.rc_context():
        use_style()
        plt.close("all")
        yield
    plt.close("all")


@pytest.fixture
def older() -> pd.DataFrame:
    coop = [*records(lr=0.1, shift=-1), *records(lr=0.3, shift=-3)]
    return frame([*coop, *records("dip", 2.5)])


@pytest.fixture
def held(older: pd.DataFrame) -> pd.DataFrame:
    return older.assign(id1_read=older["id1"] / 2, id2_read=older["id2"] / 2)


def test_the_ends_are_drawn_hollow_against_as_read_density(
    older: pd.DataFrame, held: pd.DataFrame
) -> None:
    density_plots.density_at_the_end(held)
    filled, hollow, dip, hollow_dip = plt.gca().lines
    for one, other in ((filled, hollow), (dip, hollow_dip)):
        assert other.get_xdata() == pytest.approx(one.get_xdata() / 2)
        assert other.get_ydata() == pytest.approx(one.get_ydata())
        assert (one.get_fillstyle(), other.get_fillstyle()) == ("full", "none")
    assert "as read" in plt.gca().get_xlabel()
    plt.close("all")
    density_plots.density_at_the_end(older)
    assert len(plt.gca().lines) == 2 and "as read" not in plt.gca().get_xlabel()


def boxes(artists: Iterable[Text]) -> list[Bbox]:
    plt.gcf().canvas.draw()
    return [Text.get_window_extent(each) for each in artists]  # an annotation without its line


def overlap(found: list[Bbox]) -> bool:
    return any(one.overlaps(other) for one, other in combinations(found, 2))


def test_every_learning_rate_is_named_and_no_name_covers_another(older: pd.DataFrame) -> None:
    rates = (0.01, 0.03, 0.1, 0.3)
    nearly = frame([each for rate in rates for each in records(lr=rate, shift=-1 - rate / 1e3)])
    nearly["id1"] += nearly["lr"] / 10
    dips = older[older["label"] == "DIP"].assign(id1=0.8)
    density_plots.density_at_the_end(pd.concat([nearly, dips]))
    names = plt.gca().texts
    assert {text.get_text() for text in names} == {f"learning rate {rate}" for rate in rates}
    assert not overlap(boxes(names))


def test_marks_of_the_same_value_do_not_cover_each_other() -> None:
    same = pd.DataFrame(0.97, ["greek", "latin"], ["id1", "id2", "id1_read", "epoch"])
    density_plots.correlation_dots({"One": same, "Other": same})
    axes = plt.gca()
    plt.gcf().canvas.draw()
    marks = [line for line in axes.lines if len(line.get_xdata()) > 2]
    places = axes.transData.transform(
        [(0, y) for line in marks for y, x in zip(line.get_ydata(), line.get_xdata(), strict=True)
         if np.isfinite(x)]
    )[:, 1]  # fmt: skip
    assert len(places) == 4 * 4
    size = max(line.get_markersize() for line in marks) * plt.gcf().dpi / 72
    assert np.diff(np.sort(places)).min() > 0.9 * size


def test_trajectories_and_dots_have_a_mark_more(older: pd.DataFrame, held: pd.DataFrame) -> None:
    counts = []
    for runs in (older, held):
        coop = runs[(runs["lr"] == 0.1) | (runs["label"] == "DIP")]
        density_plots.trajectory(coop)
        texts = [text.get_text() for text in plt.gcf().axes[1].get_legend().get_texts()]
        plt.close("all")
        dots = information_density.dots(information_density.followed(coop))
        density_plots.correlation_dots({"Glyph World": dots})
        counts.append((texts, len(plt.gcf().legends[0].get_texts())))
        plt.close("all")
    (before, three), (after, four) = counts
    assert after == [*before, "ID$_1$ as read"]
    assert (three, four) == (3, 4)
