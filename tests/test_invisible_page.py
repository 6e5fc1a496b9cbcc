"""Page 17 on made rows whose answer is known, its slider, and its benches on few glyphs."""

from __future__ import annotations

import json
from dataclasses import replace
from html import unescape

import matplotlib.pyplot as plt
import pandas as pd
import pytest
import torch

from dip_book import invisible_plots, plots
from dip_book.pages import invisible, invisible_runs
from dip_book.pages.invisible_towers import Seen
from dip_book.slider import Bars, slider
from dip_study.profiles import load_profile

DRIFTS = {"drift_base": 0.0, "drift_new": 0.0, "drift_words": 0.0}


def searches() -> pd.DataFrame:
    """Two datasets, whose densities are moved by 0.3 and whose accuracy on new classes by 1."""
    rows = []
    for dataset, level in (("greek", 50.0), ("latin", 60.0)):
        for start in ("random", "words", "trained"):
            for way, density, change in (
                ("as it is", 0, 0),
                ("denser", 0.2, 1),
                ("flatter", -0.1, 0),
            ):
                accuracy = {"base": level, "new": level + change}
                row = {"dataset": dataset, "start": start, "way": way, "id": 0.5}
                rows.append(row | {"id_read": 0.3 + density} | accuracy | DRIFTS)
    return pd.DataFrame(rows)


def trainings() -> pd.DataFrame:
    """Accuracy on new classes falls by 10 and by 8, as-read ID falls in the free training alone."""
    rows = []
    for dataset in ("greek", "latin"):
        for training, fall, density in (("free", 10, 0.1), ("spectrum held", 8, 0.0)):
            for step, t in ((0, 0.0), (5, 0.5), (10, 1.0)):
                row = {"dataset": dataset, "training": training, "step": step, "id": 0.5}
                accuracy = {"base": 50 + 20 * t, "new": 50 - fall * t}
                drifts = {name: 0.1 * t for name in DRIFTS}
                rows.append(row | {"id_read": 0.4 - density * t} | accuracy | drifts)
    return pd.DataFrame(rows)


def slid() -> pd.DataFrame:
    shares = {f"share{k}": 0.25 for k in range(1, 5)} | {f"read{k}": 0.25 for k in range(1, 5)}
    one = {"dataset": "greek", "id": 0.25, "id_read": 0.25, "base": 50.0, "new": 40.0}
    more = {"changed": 0, "images": 1000}
    return pd.DataFrame([one | shares | more | {"added": added} for added in (0.0, 1.0, 100.0)])


@pytest.fixture
def found() -> invisible.Found:
    return invisible.Found(trainings(), searches(), slid())


@pytest.fixture
def seen() -> dict[str, dict[str, Seen]]:
    blind = Seen((1e-7, 1e-7, 2e-7), 0.1, float("nan"), {"ID₁": (0.3, 0.9)})
    sees = Seen((1e-3, 1e-2, 1e-1), 0.1, 0.1, {"ID₁": (0.3, 0.9)})
    return {"one": {invisible.CONSTANT: blind}, "two": {invisible.CONSTANT: sees}}


def test_the_finding_says_what_was_measured(found, seen) -> None:
    said = invisible.finding({"Glyph World": found}, seen)
    assert "on 1 of 2 towers" in said and "1e-01" in said and "from 0.30 to 0.90" in said
    assert "words goes from 0.20 to 0.50" in said and "moves by 1.0 points" in said
    assert "by -8.0 points" in said and "by -10.0" in said
    both = invisible.finding(dict.fromkeys(("Glyph World", "Photo World"), found), seen)
    assert "\n\n**Photo World.** " in both


def test_numbers_are_those_of_the_tables(found, seen) -> None:
    numbers = invisible.numbers(found)
    assert numbers["read_moved"] == pytest.approx(0.3)
    assert numbers["same_function_new"] == pytest.approx(1.0)
    assert (numbers["free_new"], numbers["held_new"]) == pytest.approx((-10, -8))
    table = invisible.searches_table(found)
    assert list(table.loc["words"].index) == ["flatter", "as it is", "denser"]
    assert table["as-read ID₁"].loc["words"].tolist() == pytest.approx([0.2, 0.3, 0.5])
    ends = invisible.trainings_table(found)
    assert ends["new"].tolist() == pytest.approx([50, 40, 42])
    assert invisible.tower_numbers(seen)["towers_blind"] == 1
    assert "-8.0" in invisible.left({"Glyph World": found})


def test_figures_draw_every_search_and_training(found) -> None:
    plt.switch_backend("Agg")
    with plt.rc_context():
        plots.use_style()
        plt.close("all")
        plots.in_each_world(
            {"A": invisible.means(found), "B": invisible.means(found)}, invisible_plots.plane, 3.7
        )
        labels = {line.get_label() for axes in plt.gcf().axes for line in axes.lines}
        assert {"the words", "training", "the same, spectrum held"} <= labels
        plt.close("all")
        invisible_plots.invisible(found.slid)
        upper, lower = plt.gcf().axes
        assert upper.lines[0].get_ydata().tolist() == [0.25, 0.25]
        assert lower.lines[1].get_ydata().tolist() == [40.0, 40.0]
        plt.close("all")


def test_a_slider_holds_the_numbers_that_it_shows(found) -> None:
    worlds = {"Glyph World": found}
    html = slider("Size", invisible.positions(worlds), invisible.bars(worlds)).data
    assert "hidden" in html and "<script" not in html
    data = json.loads(unescape(html.split('data-slider="')[1].split('"')[0]))
    assert data["positions"] == ["0 SD", "1 SD", "100 SD"]
    (panel,) = data["panels"]
    assert panel["heights"][0] == [[0.25] * 4, [0.25] * 4]
    assert "0 of 1,000 predictions changed" in panel["said"][2]
    with pytest.raises(ValueError, match="2 positions"):
        slider("Size", ["0", "1"], [Bars("A", ["one"], [[[1.0]]], ["said"])])


@pytest.mark.usefixtures("shared_features")
def test_a_bench_trains_searches_and_slides() -> None:
    profile = replace(load_profile("smoke"), datasets=("greek",))
    bench = invisible_runs.bench(invisible_runs.base_run(profile, "greek"), profile, "cpu")
    rows, prompt = invisible_runs.trained(bench)
    assert rows.groupby("training")["step"].max().tolist() == [6, 6]
    held = rows[rows["training"] == "spectrum held"]
    assert held["id_read"].to_numpy() == pytest.approx(held["id_read"].iloc[0], abs=1e-4)
    starts = rows[rows["step"] == 0]
    assert starts["new"].nunique() == 1 and (starts["drift_new"].abs() < 1e-6).all()
    found = invisible_runs.searched(bench, prompt, profile)
    by_way = found.set_index(["way", "start"])
    assert (by_way.loc["denser", "id_read"] >= by_way.loc["as it is", "id_read"]).all()
    assert (by_way.loc["flatter", "id_read"] <= by_way.loc["as it is", "id_read"]).all()
    assert (found["drift_base"] <= 0.0011).all()
    trained = by_way.loc[("as it is", "trained")]
    end = rows[rows["training"] == "free"].iloc[-1]
    assert trained[["base", "new"]].tolist() == pytest.approx(end[["base", "new"]].tolist())
    slid = invisible_runs.slid(bench, prompt)
    assert slid["changed"].max() <= 0.001 * slid["images"].iloc[0]
    assert slid["id"].iloc[-1] > 0.9
    assert slid["id_read"].to_numpy() == pytest.approx(slid["id_read"].iloc[0], abs=1e-3)
    torch.testing.assert_close(
        bench.runs().learned().prompts[0][0], bench.clip.context("a photo of a")
    )
