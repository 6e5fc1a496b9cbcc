"""Figures shared by pages: what is drawn is what the table says, and it can be read."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import same_color, to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Text

from dip_book import figures, plots
from dip_book.interval import Interval
from dip_book.plots import COLOURS, LABELS, MARKERS, use_style

NAMES = ("zero-shot", "linear probe", "CoOp", "DIP")
SHOTS = [1, 2, 4, 8, 16]


@pytest.fixture(autouse=True)
def _style() -> Iterator[None]:
    """The book's style without a screen; any warning is an error."""
    plt.switch_backend("Agg")
    with plt.rc_context(), warnings.catch_warnings():
        warnings.simplefilter("error")
        use_style()
        plt.close("all")  # what other tests have left
        yield
    plt.close("all")


def curve(level: float, at: list[int] = SHOTS) -> pd.DataFrame:
    value = level + np.sqrt(at)
    return pd.DataFrame({"value": value, "low": value - 1, "high": value + 2}, index=at)


def drawn() -> Figure:
    """The open figure, laid out; it must be one and readable."""
    (number,) = plt.get_fignums()
    figure = plt.figure(number)
    figure.canvas.draw()
    readable(figure)
    return figure


def readable(figure: Figure) -> None:
    """As wide as a phone's column, no text below nine points or beyond the edge."""
    assert figure.get_figwidth() <= 5
    for text in figure.findobj(Text):
        if not (text.get_visible() and text.get_text().strip()):
            continue
        assert text.get_fontsize() >= 9, text.get_text()
        assert not re.search(r"[\^_]", text.get_text().replace("ID$_1$", "")), (
            "an exponent is too small to read"
        )
    box = figure.get_tightbbox()  # in inches
    width, height = figure.get_size_inches()
    assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height


def shown(axes: Axes) -> list[str]:
    """The labels of the x ticks that can be seen."""
    labels = axes.get_xticklabels()
    return [each.get_text() for each in labels if each.get_visible() and each.get_text()]


# ---- curves -------------------------------------------------------------------------------------


def test_a_curve_shows_the_values_of_its_table_in_the_colour_of_its_method() -> None:
    lines = {name: curve(i * 10) for i, name in enumerate(NAMES)}
    figures.curves({"accuracy, %": lines}, "images of each class", doubling=True)
    (axes,) = drawn().axes
    for line, band, (name, table) in zip(axes.lines, axes.collections, lines.items(), strict=True):
        np.testing.assert_allclose(line.get_xdata(), SHOTS)
        np.testing.assert_allclose(line.get_ydata(), table["value"])
        assert same_color(line.get_color(), COLOURS.get(name, COLOURS["other"]))
        assert line.get_label() == LABELS.get(name, name)
        assert line.get_marker() == MARKERS.get(name, "^")
        heights = band.get_paths()[0].vertices[:, 1]
        assert (heights.min(), heights.max()) == (table["low"].min(), table["high"].max())
    assert len({line.get_marker() for line in axes.lines}) == len(lines)
    assert (axes.get_xscale(), axes.get_ylabel()) == ("log", "accuracy, %")
    assert shown(axes) == [str(each) for each in SHOTS]
    (legend,) = axes.figure.legends
    said = ["CoOp (full rank)", "DIP (rank 1)", "linear probe", "zero-shot CLIP"]
    assert sorted(each.get_text() for each in legend.get_texts()) == said


def test_intervals_stand_side_by_side_where_bands_would_cover_each_other() -> None:
    lines = {name: curve(5) for name in NAMES}  # all the same: bands would be one
    figures.curves({"accuracy, %": lines}, "images of each class", doubling=True, whiskers=True)
    (axes,) = drawn().axes
    places = []
    for line, bars, table in zip(axes.lines, axes.collections, lines.values(), strict=True):
        np.testing.assert_allclose(line.get_xdata(), SHOTS)  # moved on the paper, not in the data
        np.testing.assert_allclose(line.get_ydata(), table["value"])
        ends = [path.vertices[:, 1] for path in bars.get_paths()]
        np.testing.assert_allclose(ends, table[["low", "high"]])
        assert same_color(bars.get_color()[0], line.get_color())
        places.append(line.get_transform().transform((1, 50))[0])
    assert np.diff(places).min() >= 4  # pixels: wider than a bar
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    seen = lines["CoOp"][["low", "high"]].to_numpy()
    assert left < 1 and right > 16 and bottom < seen.min() and seen.max() < top
    assert top - bottom < 1.5 * np.ptp(seen)
    assert shown(axes) == [str(each) for each in SHOTS]


def test_an_axis_that_doubles_has_a_place_for_nothing_at_all() -> None:
    at = [0, 1, 10, 20, 40]
    figures.curves({"accuracy, %": {"VPT": curve(5, at)}}, "prompts", doubling=True)
    (axes,) = drawn().axes
    assert shown(axes) == [str(each) for each in at]
    places = axes.transData.transform([(x, 0.0) for x in at])[:, 0]
    steps = np.diff(places)
    assert steps[0] > 0 and steps[1] > steps[2]
    np.testing.assert_allclose(steps[2], steps[3])  # 10 to 20 and 20 to 40 are a doubling each


def test_panels_share_their_axis_and_the_lowest_of_each_column_names_it() -> None:
    names = ["greek", "latin", "boxes", "runes", "knots"]
    panels = {name: {"CoOp": curve(i), "DIP": curve(i + 5)} for i, name in enumerate(names)}
    figures.curves(panels, "epochs", doubling=True, across=2)
    panel = drawn().axes
    assert [axes.get_title() for axes in panel] == [*names, ""]
    for axes, (name, lines) in zip(panel, panels.items(), strict=False):
        for line, table in zip(axes.lines, lines.values(), strict=True):
            np.testing.assert_allclose(line.get_ydata(), table["value"], err_msg=name)
    named = {axes.get_title(): axes.get_xlabel() for axes in panel if axes.axison}
    assert named == dict.fromkeys(names[:3], "") | dict.fromkeys(names[3:], "epochs")
    for axes in panel[3:5]:
        assert shown(axes) == [str(each) for each in SHOTS]
    for axes in panel[:3]:
        assert shown(axes) == []


def test_one_panel_below_the_other_on_a_plain_axis() -> None:
    panels = {f"{k}, %": {"DIP": curve(5, [0, 1, 2])} for k in ("base", "new", "H")}
    figures.curves(panels, "dropout")
    panel = drawn().axes
    assert [axes.get_ylabel() for axes in panel] == list(panels)
    assert [axes.get_xlabel() for axes in panel] == ["", "", "dropout"]
    assert panel[0].get_xscale() == "linear"


# ---- intervals ----------------------------------------------------------------------------------

ROWS = {
    "clearly ahead": Interval(2, 1, 3),
    "ahead": Interval(1, -0.5, 3),
    "behind": Interval(-1, -3, 0.5),
    "clearly behind": Interval(-2, -3, -1),
    "just touching": Interval(1, 0, 2),
}


def test_a_dot_is_filled_only_when_its_interval_is_on_one_side_of_zero() -> None:
    figures.intervals(ROWS, "DIP minus CoOp, points", ["behind"])
    (axes,) = drawn().axes
    bars, dots = axes.lines[:-1:2], axes.lines[1:-1:2]
    heights = []
    for bar, dot, (name, row) in zip(bars, dots, ROWS.items(), strict=True):
        assert list(bar.get_xdata()) == [row.low, row.high]
        assert list(dot.get_xdata()) == [row.value]
        assert list(bar.get_ydata()) == [dot.get_ydata()[0]] * 2
        colour = COLOURS["DIP" if row.value > 0 else "CoOp"]
        assert same_color(bar.get_color(), colour) and same_color(dot.get_color(), colour)
        face = colour if name.startswith("clearly") else "white"
        assert same_color(dot.get_markerfacecolor(), face), name
        heights.append(float(dot.get_ydata()[0]))
    assert [each.get_text() for each in axes.get_yticklabels()] == list(ROWS)
    np.testing.assert_allclose(axes.get_yticks(), heights)
    np.testing.assert_allclose(np.diff(heights), [1, 1.6, 1, 1])  # a gap before "behind"
    assert axes.get_ylim()[0] > axes.get_ylim()[1]  # the first row is the highest


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("glyph-resnet, 16 random vectors: base", "DIP minus CoOp, points"),
        ("CoOp with dropout of its prompt", "new classes: this minus DIP, points"),
    ],
)
def test_the_longest_names_of_rows_stay_inside(name: str, label: str) -> None:
    figures.intervals({name: ROWS["ahead"], "another": ROWS["behind"]}, label)
    drawn()


# ---- map of differences -------------------------------------------------------------------------


def luminance(colour: str) -> float:
    """Relative luminance, as WCAG 2 defines it."""
    rgb = np.array(to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def contrast(one: str, other: str) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_the_map_prints_each_number_readably_in_the_colour_of_who_is_ahead() -> None:
    names = [f"family {i}" for i in range(6)]
    values = np.append(np.linspace(-8, 8, 35), -0.3).reshape(6, 6)
    figures.difference_map(pd.DataFrame(values, names, names), "new classes: points")
    axes, bar = drawn().axes
    assert bar.get_ylabel() == "new classes: points"
    (picture,) = axes.images
    np.testing.assert_allclose(picture.get_array(), values)
    printed = {text.get_position(): text for text in axes.texts}
    assert len(printed) == values.size
    for (y, x), value in np.ndenumerate(values):
        text = printed[x, y]
        assert text.get_text() == str(int(np.round(value)))  # no "-0"
        cell = to_hex(picture.cmap(picture.norm(value)))
        assert contrast(to_hex(text.get_color()), cell) > 4.4, value
    for value, colour in ((8, COLOURS["DIP"]), (-8, COLOURS["CoOp"]), (0, "white")):
        assert np.allclose(picture.cmap(picture.norm(value))[:3], to_rgb(colour), atol=0.01)
    assert shown(axes) == names


def test_the_map_keeps_zero_in_the_middle_when_all_differences_have_one_sign() -> None:
    figures.difference_map(pd.DataFrame([[1.0, 4.0], [2.0, 3.0]]), "points")
    (picture,) = drawn().axes[0].images
    assert (picture.norm.vmin, picture.norm.vmax) == (-4, 4)


# ---- dots on a logarithmic axis, and spectra ----------------------------------------------------


@pytest.mark.parametrize("top", [2.5, 16.0, 4e3])
def test_each_row_has_its_dot_and_the_axis_its_plain_numbers(top: float) -> None:
    values = {"CoOp": 1.0, "DIP": 0.9, "CoCoOp": top, "CoCoOp + DIP": top / 1.1}
    figures.bars(values, "seconds of a step, CoOp = 1")
    (axes,) = drawn().axes
    *marks, plain, dense = axes.lines  # the last two are for the legend
    for row, (line, (name, value)) in enumerate(zip(marks, values.items(), strict=True)):
        assert (line.get_xdata()[0], line.get_ydata()[0]) == (value, row)
        kind = dense if "DIP" in name else plain
        assert same_color(line.get_color(), kind.get_color())
        assert line.get_marker() == kind.get_marker()
    (legend,) = axes.figure.legends
    assert [each.get_text() for each in legend.get_texts()] == ["the method, plain", "with DIP"]
    assert [each.get_text() for each in axes.get_yticklabels()] == list(values)
    low, high = axes.get_xlim()
    inside = [t for t in shown(axes) if low <= float(t) <= high]
    assert axes.get_xscale() == "log" and "1" in inside and len(inside) >= 2


def spectrum_inputs() -> tuple[dict[str, np.ndarray], Mapping[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    stripes = np.sin(np.arange(60) / 3)[None, :] * np.ones((48, 1))
    smooth = np.cumsum(np.cumsum(rng.normal(size=(48, 60)), 0), 1)
    flat = rng.permutation(smooth.ravel()).reshape(smooth.shape)
    pictures = {"stripes": stripes, "photograph": smooth, "shuffled": flat}
    pictures["noise"] = rng.normal(size=(48, 60))
    return pictures, {n: np.linalg.svd(p, compute_uv=False) for n, p in pictures.items()}


def test_a_spectrum_is_the_share_of_each_singular_value_framed_as_its_picture() -> None:
    pictures, values = spectrum_inputs()
    figures.spectra(pictures, values, 10)
    *frames, lower = drawn().axes
    for frame, line, (name, each) in zip(frames, lower.lines, values.items(), strict=True):
        assert line.get_label() == name
        assert list(line.get_xdata()) == list(range(1, 11))
        known = each[:10] > 1e-9 * each[0]
        assert np.array_equal(np.isnan(line.get_ydata()), ~known)  # rounding is not drawn
        np.testing.assert_allclose(line.get_ydata()[known], (each / each.sum())[:10][known])
        assert same_color(frame.spines["left"].get_edgecolor(), line.get_color())
        np.testing.assert_array_equal(frame.images[0].get_array(), pictures[name][::4, ::4])
    assert len({line.get_color() for line in lower.lines}) == 4
    assert len({line.get_marker() for line in lower.lines}) == 4
    assert lower.get_yscale() == "log" and lower.get_ylim()[0] > 1e-4


# ---- names of pictures, and one prompt as it learns ---------------------------------------------


def test_the_bar_of_the_right_name_is_blue_wherever_it_stands() -> None:
    best = [("small alpha", 0.6), ("small beta", 0.3), ("small gamma", 0.05)]
    picture = np.zeros((8, 8, 3))
    rows = [figures.BestNames(picture, name, "own", best) for name in ("small beta", "small mu")]
    figures.best_names(rows)
    panels = drawn().axes
    colours = [[to_hex(bar.get_facecolor()) for bar in axes.patches] for axes in panels[1::2]]
    blue, grey = COLOURS["DIP"], COLOURS["zero-shot"]
    assert colours == [[grey, blue, grey], [grey, grey, grey]]
    assert [bar.get_width() for bar in panels[1].patches] == [share for _, share in best]
    assert [text.get_text() for text in panels[1].texts] == [name for name, _ in best]
    assert panels[3].get_title(loc="left") == "own: small mu"


def test_a_prompt_as_it_learns_has_both_halves_above_its_density() -> None:
    history = pd.DataFrame({"base": [60, 70, 75], "new": [50, 52, 51], "ID1": [0.4, 0.8, 0.9]})
    plots.learning(history)
    upper, lower = drawn().axes
    base, new = upper.lines
    assert list(base.get_ydata()) == [60, 70, 75] and list(new.get_ydata()) == [50, 52, 51]
    assert base.get_linestyle() != new.get_linestyle()
    assert list(lower.lines[0].get_ydata()) == [0.4, 0.8, 0.9]
    assert lower.get_ylim() == (0, 1.02)


def test_methods_without_a_colour_of_their_own_are_told_apart() -> None:
    found = figures.looks(["VPT", "other", "SPT", "Tether", "Leash"])
    assert len(set(found.values())) == 5
    assert found["other"] == figures.looks(["linear probe"])["linear probe"]


@pytest.mark.parametrize("ends", [(-0.5, 0.9), (np.nan, np.nan)])  # of one dataset there are none
def test_class_splits_have_a_dot_each_and_the_fields_stands_apart(ends: tuple[float, ...]) -> None:
    splits = ["field's", *map(str, range(1, 11))]
    values = np.random.default_rng(0).normal(1, 2, (11, 3))
    table = pd.DataFrame(values, splits, ["base", "new", "H"])
    means = {name: Interval(0.2, *ends) for name in table}
    figures.split_differences((table, means), "field's")
    figure = drawn()
    assert [axes.get_title() for axes in figure.axes] == ["base", "new", "H"]
    assert [each.get_text() for each in figure.axes[0].get_yticklabels()] == splits
    for axes, column in zip(figure.axes, table, strict=True):
        dots = [line for line in axes.lines if line.get_marker() in ("o", "D")]
        assert [line.get_xdata()[0] for line in dots] == table[column].tolist()
        assert [line.get_marker() for line in dots] == ["D", *["o"] * 10]
        for line, value in zip(dots[1:], table[column][1:], strict=True):
            assert same_color(line.get_color(), COLOURS["DIP" if value > 0 else "CoOp"])


def test_a_level_is_drawn_in_every_panel_and_without_panels_nothing_is() -> None:
    at = [0, 4, 16]
    panels = {f"task {i}": {"other": curve(1, [4]), "VPT": curve(i, at)} for i in range(3)}
    x, y = "prompts in each block", "points above the head alone"
    figures.curves(panels, x, doubling=True, across=2, level=0, ylabel=y)
    figure = drawn()
    for axes in figure.axes[:3]:
        assert any(set(line.get_ydata()) == {0} for line in axes.lines)
    assert len({axes.get_ylim() for axes in figure.axes[:3]}) == 1  # of one quantity, comparable
    assert any(text.get_text() == y for text in figure.findobj(Text))
    plt.close("all")
    figures.curves({}, "prompts")
    assert plt.get_fignums() == []
