"""Page 10's paths: averages of the frame, fronts that nothing beats, and what the slider holds."""

from __future__ import annotations

import json
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from made_records import made, stop

from dip_book import path_plots, plots
from dip_book.frame import frame
from dip_book.pages import host_paths, hosts
from dip_book.slider import slider
from dip_book.slider_paths import Path as Line
from dip_book.slider_paths import Paths, front

ROOT = Path(__file__).resolve().parents[1]
GAIN = {"coop": 10.0, "dip": 4.0, "kgcoop": 6.0, "kgcoop + dip": 2.0}
"""Method -> points of base accuracy that it gains, and of new accuracy that it loses."""
SEEDS = {"greek": (1, 2, 3), "latin": (1,)}  # a mean over runs is then none over datasets


def records() -> Iterator[dict[str, Any]]:
    for method, gain in GAIN.items():
        name, *dense = method.split(" + ")
        low_rank = {"rank": 1, "dropout": 0.5} if dense else {}
        for dataset, seeds in SEEDS.items():
            level = 50.0 if dataset == "greek" else 70.0
            for seed in seeds:
                yield made(
                    dataset,
                    name,
                    seed,
                    base=lambda t, g=gain, v=level + seed: v + g * t,
                    new=lambda t, g=gain, v=level - seed: v - g * t**2,
                    epochs=10,
                    **low_rank,
                )


@pytest.fixture(scope="module")
def runs() -> pd.DataFrame:
    return frame(records())


@pytest.fixture(scope="module")
def means(runs: pd.DataFrame) -> pd.DataFrame:
    return host_paths.along(hosts.text_pairs(runs, 10))


def test_a_path_is_the_mean_over_datasets_of_the_means_over_seeds(runs, means) -> None:
    table = runs.pivot_table(["base", "new"], ["label", "epoch", "dataset"], aggfunc="mean")
    expected = table.groupby(level=["label", "epoch"]).mean()
    assert [*means.index.unique("label")] == ["CoOp", "DIP", "KgCoOp", "KgCoOp + DIP"]
    assert [*means.index.unique("share")] == [*range(0, 101, 10)]
    for (label, share), row in means.iterrows():
        assert row.tolist() == pytest.approx(expected.loc[label, share / 10].tolist())


def test_a_dataset_and_seed_in_which_a_run_stopped_leave_every_path() -> None:
    every = [*records()]
    lost = next(r for r in every if r["label"] == "DIP" and r["run"]["seed"] == 3)
    some = frame([stop(r) if r is lost else r for r in every])
    fewer = frame(r for r in every if r["run"]["seed"] != 3)
    found, expected = (host_paths.along(hosts.text_pairs(each, 10)) for each in (some, fewer))
    pd.testing.assert_frame_equal(found, expected)


def test_a_method_passes_its_dip_where_it_is_no_worse_on_either_half(means) -> None:
    # CoOp gains 10 t and loses 10 t^2, DIP ends at 4: between 0.4 and 0.632; KgCoOp's at 2 of 6
    assert host_paths.passed(means) == {"CoOp": 40, "KgCoOp": 40}
    worse = means.copy()
    worse.loc["CoOp", "new"] -= 5
    assert host_paths.passed(worse) == {"KgCoOp": 40}
    said = host_paths.finding({"A": means, "B": worse})
    assert "CoOp (after 40 %), KgCoOp (after 40 %). Methods that do not: none." in said
    assert "Methods that do not: CoOp." in said


def test_a_front_is_what_no_point_beats() -> None:
    points = [tuple(p) for p in np.random.default_rng(0).integers(0, 12, (40, 2)).tolist()]
    best = front(points)
    for i, (x, y) in enumerate(points):
        beaten = any(a >= x and b >= y and (a > x or b > y) for a, b in points)
        assert (i in best) != beaten
    assert [points[i][0] for i in best] == sorted(points[i][0] for i in best)


def test_the_slider_holds_the_averages_and_plays(means) -> None:
    found = {"Glyph World": means, "Photo World": means.drop(index=30, level="share")}
    positions, panels = host_paths.positions(found), host_paths.panels(found)
    assert positions == [f"{share} %" for share in range(0, 101, 10) if share != 30]
    html = slider("Share", positions, panels, play=True).data
    assert "hidden" in html and "<script" not in html
    data = json.loads(unescape(html.split('data-slider="')[1].split('"')[0]))
    assert data["play"] is True
    for panel in data["panels"]:
        for path in panel["paths"]:
            expected = means.loc[path["name"]].drop(index=30).to_numpy()
            assert np.abs(np.array(path["points"]) - expected).max() <= 0.005
    looks = {path["name"]: (path["look"], path["dashed"]) for path in data["panels"][0]["paths"]}
    assert looks["CoOp"] == (0, False) and looks["DIP"] == (1, True)
    assert looks["KgCoOp"][0] == looks["KgCoOp + DIP"][0]
    short = Paths("A", ("x", "y"), [Line("one", 0, False, [(1.0, 2.0)])], [[0]], ["a", "b"])
    with pytest.raises(ValueError, match="1 and 2 entries"):
        slider("Share", ["0 %"], [short])


def test_the_committed_slider_shows_the_committed_data_and_is_small() -> None:
    cells = json.loads((ROOT / "notebooks" / "10_hosts.ipynb").read_text("utf-8"))["cells"]
    htmls = ("".join(o.get("data", {}).get("text/html", "")) for c in cells
             for o in c.get("outputs", ()))  # fmt: skip
    (html,) = (each for each in htmls if "data-slider" in each)
    assert len(html) < 60_000
    table = pd.read_csv(ROOT / "results" / "data" / "10_hosts" / "paths.csv", index_col=[0, 1, 2])
    table = table.sort_index()
    data = json.loads(unescape(html.split('data-slider="')[1].split('"')[0]))
    assert {panel["title"] for panel in data["panels"]} == {*table.index.unique(0)}
    for panel in data["panels"]:
        for path in panel["paths"]:
            expected = table.loc[(panel["title"], path["name"])].to_numpy()
            assert np.abs(np.array(path["points"]) - expected).max() <= 0.0051


def test_the_still_figure_draws_every_path(means) -> None:
    plt.switch_backend("Agg")
    with plt.rc_context():
        plots.use_style()
        plt.close("all")
        path_plots.paths(host_paths.drawn(means))
        (axes,) = plt.gcf().axes
        labels = {line.get_label(): line for line in axes.lines}
        assert {*GAIN} == {label.lower() for label in labels if not label.startswith("_")}
        plt.close("all")
