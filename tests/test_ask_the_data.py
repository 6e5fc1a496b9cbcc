"""The page that asks the data holds every committed run once, and answers as pandas does.

Its scripts run under Node here; ``tests/slow/test_ask_the_data_page.py`` looks at it in a browser.
"""

from __future__ import annotations

import html
import io
import json
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from node_process import Ask, asked
from scipy.stats import t as student

from dip_book.ask_columns import COLUMNS, MEASURED, NO_COLUMN
from dip_book.ask_the_data import GRIDS, committed, packed, profiles, told
from dip_book.frame import frame
from dip_lib.data import harmonic_mean
from dip_lib.store.export import every_record
from dip_lib.training.run import Run
from dip_study.profiles import load_profile, names

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "book" / "_ext"))  # as Sphinx does
from companion.ask import PARTS, scripts  # noqa: E402

STATIC, PAGE = ROOT / "book" / "_static" / "ask", ROOT / "book" / "ask_the_data.md"
LOADED = ("parts", "data", "question", "filter", "groups", "view")
MOST = 600_000
"""Bytes that a script of runs may have: a page is to be light."""
QUESTIONS = [html.unescape(each) for each in re.findall(r'data-ask="([^"]+)"', PAGE.read_text())]


@pytest.fixture(scope="module")
def records() -> list[tuple[str, int, dict[str, Any]]]:
    """File, line and record of every committed run, read as the library reads them; grids last."""
    files = sorted(path for name in names() for path in (ROOT / "results" / name).glob("*.json"))
    files.sort(key=lambda path: path.stem in GRIDS)
    return [
        (f"results/{path.parent.name}/{path.name}", line, record)
        for path in files
        for line, record in enumerate(every_record(path), start=3)
    ]


@pytest.fixture(scope="module")
def runs(records: list[tuple[str, int, dict[str, Any]]]) -> pd.DataFrame:
    """The pages' frame of all runs at their ends, with what the page computes itself."""
    whole = frame(record | {"checkpoints": record["checkpoints"][-1:]} for *_, record in records)
    pairs = zip(whole["base"], whole["new"], strict=True)
    h = [harmonic_mean(base, new) if base + new else 0.0 for base, new in pairs]
    memory = [record["memory_mb"] for *_, record in records]
    return whole.assign(h=h, memory_mb=memory, method=whole["label"])


@pytest.fixture(scope="module")
def pack() -> dict[str, Any]:
    return packed(committed(ROOT / "results"))


@pytest.fixture(scope="module")
def ask(pack: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ask]:
    """Asks the page's scripts for a task of ``ask_the_data.js``; skipped visibly without Node."""
    if not (node := shutil.which("node")):
        pytest.skip("no node here: tests/slow runs the page's scripts in a browser")
    path = tmp_path_factory.mktemp("pack") / "runs.json"
    path.write_text(json.dumps(pack), "utf-8")
    parts = [STATIC / f"{part}.js" for part in LOADED]
    command = [node, ROOT / "tests" / "ask_the_data.js", path, *parts]
    with asked(command) as answer:
        yield answer


def test_every_committed_run_is_there_once_at_its_line(ask: Ask, records: list[Any]) -> None:
    assert len({record["key"] for *_, record in records}) == len(records) > 10_000
    found = ask("sources", rows=[*range(len(records)), len(records)])
    assert found == [[path, line] for path, line, _ in records] + [None]
    lines = {
        path: (ROOT / path).read_text("utf-8").splitlines()
        for path in {path for path, *_ in records}
    }
    for path, line, record in records[::500]:
        assert record["key"] in lines[path][line - 1]


def test_measured_numbers_are_the_frame_s_to_the_stated_precision(
    ask: Ask, runs: pd.DataFrame
) -> None:
    stated = dict(ask("columns"))
    for column in MEASURED:
        found = np.array(ask("column", name=column.name), dtype=float)
        half = 0.5 / column.per + 1e-9
        np.testing.assert_allclose(found, runs[column.name], rtol=0, atol=half, equal_nan=True)
        assert stated[column.name] == column.per


def test_settings_are_those_of_the_runs(ask: Ask, records: list[Any]) -> None:
    columns = {name: ask("column", name=name) for name, per in ask("columns") if not per}
    left_out: dict[str, set[Any]] = {}
    for i in range(0, len(records), 7):  # reading a run costs a millisecond
        run = Run.from_dict(records[i][2]["run"])
        parts = (run.data, run.tower, run.method, run.low_rank, run.schedule)
        settings = {name: told(v) for part in parts if part for name, v in vars(part).items()}
        for name, value in (settings | {"seed": run.seed}).items():
            if name in columns:
                assert columns[name][i] == value, (name, records[i][:2])
            elif name not in NO_COLUMN:
                left_out.setdefault(name, set()).add(value)
    assert all(len(values - {None}) < 2 for values in left_out.values())


def test_world_study_method_and_length_are_told(ask: Ask, records: list[Any]) -> None:
    world, study, method, length = (
        ask("column", name=name) for name in ("world", "study", "method", "length")
    )
    for i, (path, _, record) in enumerate(records):
        _, profile, file = path.split("/")
        if i % 100 == 0:
            assert world[i] == load_profile(profile).world
        assert study[i] == file.removesuffix(".json").replace("_", " ")
        assert method[i] == record["label"]
        singular = record["checkpoints"][-1].get("singular")
        if singular and record["run"]["method"]["name"] != "tower-update":  # of that update
            assert length[i] == len(singular), record["key"]


def test_no_two_runs_look_alike(ask: Ask) -> None:
    settings = [ask("column", name=name) for name, per in ask("columns") if not per]
    rows = list(zip(*settings, strict=True))
    assert len(set(rows)) == len(rows)


def test_it_is_small_and_loaded_by_no_other_page(pack: dict[str, Any]) -> None:
    made = scripts(pack)
    assert all(len(text) < MOST for text in made.values())
    assert {path.stem for path in STATIC.glob("*.js")} == {*PARTS} - {*made}
    others = [path for path in (ROOT / "book").rglob("*.md") if path != PAGE]
    assert not [path for path in others if "```{ask}" in path.read_text("utf-8")]
    assert profiles() == ROOT / "dip_study" / "profiles"


def test_names_in_an_address_mean_one_thing() -> None:
    own = {"q", "sort", "group", "over", "x", "y", "colour", "lines", "show", "grids"}
    own |= {"runs", "units"}  # of groups
    known = [column.name for column in COLUMNS]
    assert len({*known}) == len(known) and not own & {*known}


@pytest.mark.parametrize("question", QUESTIONS)
def test_each_example_finds_runs_of_one_kind_and_its_address_is_stable(
    ask: Ask, question: str
) -> None:
    found = ask("ask", question=question)
    assert found["runs"] >= 30
    assert ask("ask", question=found["again"]) == found
    assert {*found["again"].split("&")} <= {*question.split("&")}
    for name in ("protocol", "target"):
        counts = ask("counts", question=found["again"], name=name)
        assert sum(map(bool, counts)) == 1 or f"{name}=" in question, name


def read_csv(text: str) -> pd.DataFrame:
    return pd.read_csv(io.StringIO(text))


def test_a_filtered_and_sorted_csv_is_pandas_s(
    ask: Ask, runs: pd.DataFrame, records: list[Any]
) -> None:
    question = "method=DIP&method=CoOp&base=60..70&rank=none&rank=1&q=Photo%20few&sort=-h"
    found = read_csv(ask("ask", question=question + "&show=dataset,method,h,base,lr")["csv"])
    of_photos = [path == "results/photos-full/few_shot.json" for path, *_ in records]
    kept = runs["label"].isin(["DIP", "CoOp"]) & runs["rank"].isin([0, 1])
    kept &= runs["base"].round(2).between(60, 70) & np.array(of_photos)
    assert [*found] == ["dataset", "method", "h", "base", "lr", "file", "line"]
    assert len(found) == kept.sum() > 20
    everything = read_csv(ask("ask", question="study=fronts&sort=-new&show=dataset,new,h")["csv"])
    fronts = runs[[path.endswith("/fronts.json") for path, *_ in records]]
    fronts = fronts.assign(new=fronts["new"].round(2))
    fronts = fronts.sort_values("new", ascending=False, kind="stable")
    assert everything["dataset"].tolist() == fronts["dataset"].tolist()
    np.testing.assert_allclose(everything["new"], fronts["new"], atol=0.0051)
    np.testing.assert_allclose(everything["h"], fronts["h"], atol=0.0051)


def test_groups_and_their_intervals_are_pandas_s_and_scipy_s(
    ask: Ask, runs: pd.DataFrame, records: list[Any]
) -> None:
    question = "study=hosts&group=method,world&over=dataset&show=h,id1"
    found = read_csv(ask("ask", question=question)["csv"]).set_index(["method", "world"])
    hosts = runs.assign(world=[load_world(path) for path, *_ in records])
    hosts = hosts[[path.endswith("/hosts.json") for path, *_ in records]]
    units = hosts.groupby(["method", "world", "dataset"])[["h", "id1"]].mean()
    groups = units.groupby(["method", "world"])
    for name, precision in (("h", 0.01), ("id1", 0.0002)):
        mean, n = groups[name].mean(), groups[name].count()
        half = groups[name].std() * student.ppf(0.975, n - 1) / np.sqrt(n)
        for column, expected in (("", mean), ("_low", mean - half), ("_high", mean + half)):
            pd.testing.assert_series_equal(
                found[name + column].sort_index(),
                expected.sort_index(),
                check_names=False,
                rtol=0,
                atol=3 * precision,
            )
    assert found["runs"].sum() == len(hosts)
    freedoms = [1, 2, 3, 4, 5, 10, 31, 300, 13_000]
    assert ask("quantiles", freedoms=freedoms) == pytest.approx(student.ppf(0.975, freedoms))


def load_world(path: str) -> str:
    return {"embedded-full": "Glyph World"}.get(path.split("/")[1], "Photo World")


def test_a_count_beside_a_filter_is_of_all_other_filters(ask: Ask, runs: pd.DataFrame) -> None:
    before = ask("counts", question="dataset=greek", name="dataset")
    assert sum(before) == len(runs)  # as if the datasets were not filtered
    methods = ask("counts", question="dataset=greek&method=DIP", name="method")
    assert sum(methods) == (runs["dataset"] == "greek").sum()


def test_what_no_run_has_finds_none_and_unknown_names_ask_nothing(ask: Ask) -> None:
    assert ask("ask", question="dataset=klingon")["runs"] == 0
    everything = ask("ask", question="")["runs"]
    strange = "colours=red&x=nothing&group=base,h&over=h&sort=-nothing&base=high&show="
    assert ask("ask", question=strange)["runs"] == everything
