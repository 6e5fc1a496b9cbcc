"""Several worlds in one figure or table: what a world lacks leaves no trace; one alone has none."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dip_book import world_figures, worlds
from dip_book.interval import Interval
from dip_book.plots import use_style

ONE = {"a": Interval(1, 0, 2), "b": Interval(-1, -2, 0)}
OTHER = {"a": Interval(5, 4, 9)}
TABLE = pd.DataFrame({"x": [1.0, 2.0]}, index=["p", "q"])


@pytest.fixture
def figure() -> Figure:
    plt.close("all")
    use_style()
    return plt.figure()


def drawn(figure: Figure) -> list[Axes]:
    assert plt.gcf() is not figure
    return list(plt.gcf().axes)


def test_worlds_share_a_scale_and_keep_their_rows(figure: Figure) -> None:
    world_figures.intervals({"One": ONE, "Other": OTHER}, "points", {"One": ["b"]})
    upper, lower = drawn(figure)
    assert upper.get_xlim() == lower.get_xlim()
    assert [label.get_text() for label in upper.get_yticklabels()] == ["a", "b"]
    assert [label.get_text() for label in lower.get_yticklabels()] == ["a"]


def test_a_world_without_rows_has_no_part_and_one_alone_no_name(figure: Figure) -> None:
    world_figures.intervals({"One": ONE, "Other": {}}, "points")
    assert len(drawn(figure)) == 1 and plt.gcf().get_suptitle() == "One"
    world_figures.intervals({"One": ONE}, "points")
    assert plt.gcf().get_suptitle() == ""
    count = len(plt.get_fignums())
    world_figures.intervals({"One": {}}, "points")
    assert len(plt.get_fignums()) == count


def test_maps_may_have_other_columns(figure: Figure) -> None:
    world_figures.difference_map({"One": TABLE, "Other": TABLE.assign(y=0.0)}, "points")
    assert len(drawn(figure)) == 4  # with their scales


def test_tables_without_rows_are_left_out() -> None:
    empty = pd.DataFrame()
    assert worlds.table({"One": TABLE}) is TABLE and worlds.beside({"One": TABLE}) is TABLE
    assert worlds.table({"One": TABLE, "Other": empty}).index.tolist() == [
        ("One", "p"),
        ("One", "q"),
    ]
    assert worlds.table({"One": empty, "Other": empty}).empty
    assert worlds.together({"One": empty, "Other": TABLE}).equals(TABLE)
    assert worlds.together({"One": empty}) is empty


def test_tables_beside_each_other_are_in_the_longest_ones_order() -> None:
    longer = pd.DataFrame({"x": [0.0, 1.0, 2.0]}, index=["p", "new", "q"])
    both = worlds.beside({"One": TABLE, "Other": longer})
    assert both.index.tolist() == ["p", "new", "q"]
    assert both["One"]["x"].isna().tolist() == [False, True, False]


def test_what_is_said_names_worlds_only_where_there_are_several() -> None:
    assert worlds.paragraphs({"One": "X."}, "Finding") == "**Finding.** X."
    two = worlds.paragraphs({"One": "X.", "Other": "Y."}, "Finding")
    assert two == "**Finding in One.** X.\n\n**Finding in Other.** Y."
    assert worlds.paragraphs({"One": "X."}) == "X."
