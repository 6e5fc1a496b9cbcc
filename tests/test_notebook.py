"""What every notebook does first: check its parameters."""

from __future__ import annotations

import json
import os
import re
import shlex
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from made_records import made

from dip_book.estimates import estimate
from dip_book.frame import frame
from dip_book.interval import Interval
from dip_book.notebook import begin
from dip_book.parameters import PARAMETERS, read
from dip_book.statistics import detectable_effect
from dip_lib.errors import UnknownNameError
from dip_study import study
from dip_study.profiles import FOLDER, load_profile

DEFAULTS: dict[str, Any] = {
    "profile": "smoke",
    "datasets": "all",
    "seeds": "all",
    "epochs": None,
    "device": "cpu",
    "results": "stored",
}


def test_defaults_are_the_profiles() -> None:
    page = begin("01_page", DEFAULTS)
    assert page.profile == load_profile("smoke")
    assert (page.device, page.results) == ("cpu", "stored")
    assert tuple(DEFAULTS) == PARAMETERS


@pytest.mark.parametrize(
    ("bad", "kind", "value", "near"),
    [
        ({"profil": "smoke"}, "parameter", "profil", "profile"),
        ({"dataset": "greek"}, "parameter", "dataset", "datasets"),
        ({"profile": "embeded"}, "profile", "embeded", "embedded"),
        ({"datasets": "greeek"}, "dataset of profile smoke", "greeek", "greek"),
        ({"datasets": "greek,cyrilic"}, "dataset of profile smoke", "cyrilic", "cyrillic"),
        ({"datasets": "latin"}, "dataset of profile smoke", "latin", "cyrillic"),
        ({"results": "old"}, "results", "old", "stored"),
    ],
)
def test_an_unknown_name_is_refused_with_the_valid_ones(
    bad: dict[str, Any], kind: str, value: str, near: str
) -> None:
    with pytest.raises(UnknownNameError, match=near) as caught:
        begin("01_page", DEFAULTS | bad)
    assert (caught.value.kind, caught.value.value) == (kind, value)
    assert near in caught.value.choices


@pytest.mark.parametrize(
    "bad",
    [
        *({"datasets": ""}, {"datasets": []}, {"datasets": '["greek"'}),
        *({"device": "gpu"}, {"device": "mps"}),
        *({"seeds": "x"}, {"seeds": "1,zwei"}, {"seeds": []}, {"seeds": [1.5]}, {"seeds": -1}),
        *({"seeds": True}, {"seeds": 2**63}),
        *({"epochs": 0}, {"epochs": -3}, {"epochs": "many"}, {"epochs": 2.5}),
    ],
    ids=str,
)
def test_a_bad_parameter_is_refused_by_value(bad: dict[str, Any]) -> None:
    (value,) = bad.values()
    with pytest.raises(ValueError, match=re.escape(repr(value))):
        begin("01_page", DEFAULTS | bad)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_gpu_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match="cuda"):
        begin("01_page", DEFAULTS | {"device": "cuda"})


@pytest.mark.parametrize(
    "datasets",
    [
        ["greek", "cyrillic"],
        ("greek", "cyrillic"),
        "greek,cyrillic",
        " greek , cyrillic,",
        '["greek", "cyrillic"]',
    ],
)
def test_lists_may_be_lists_json_or_comma_text(datasets: Any) -> None:
    assert begin("p", DEFAULTS | {"datasets": datasets}).profile.datasets == ("greek", "cyrillic")


@pytest.mark.parametrize(
    ("seeds", "expected"),
    [
        ([1, 2], (1, 2)),
        ("1,2", (1, 2)),
        ("[3, 1]", (3, 1)),
        (7, (7,)),
        ("7", (7,)),
        ("1,2,1", (1, 2)),
    ],
)
def test_seeds_are_whole_numbers_each_once(seeds: Any, expected: tuple[int, ...]) -> None:
    assert begin("p", DEFAULTS | {"seeds": seeds}).profile.seeds == expected


@pytest.mark.parametrize(("epochs", "expected"), [(None, 2), (5, 5), ("5", 5)])
def test_epochs_replace_the_profiles(epochs: Any, expected: int) -> None:
    assert begin("p", DEFAULTS | {"epochs": epochs}).profile.epochs == expected


def test_names_of_the_kernel_and_modules_are_no_parameters() -> None:
    kernel: dict[str, Any] = {
        "In": [""],
        "Out": {},
        "_i1": "",
        "__name__": "__main__",
        "get_ipython": None,
    }
    begin("p", DEFAULTS | kernel | {"json": json, "exit": None, "quit": None, "begin": begin})


def test_numbers_are_written_with_world_and_text(tmp_path: Path) -> None:
    page = begin("01_page", DEFAULTS)
    page.numbers({"gain": Interval(1.234, 0.5, 2.0), "classes": 120, "part": 0.36790156328575535})
    found = json.loads((tmp_path / "home/reruns/01_page-smoke/numbers.json").read_text())
    assert found["gain"]["text"] == "1.23 [0.50, 2.00]"
    assert (found["gain"]["value"], found["gain"]["n"]) == (1.234, 2)
    assert found["part"]["text"] == "0.3679"  # the last digits differ between processors
    few = {"world": "embedded", "undecided": "profile smoke, 2 datasets"}
    assert found["classes"] == {"value": 120, "text": "120", **few}


def test_an_interval_keeps_its_units_and_its_ends_over_these_datasets(tmp_path: Path) -> None:
    page = begin("01_page", DEFAULTS)
    gap = estimate({"a": [1.0, 2.0], "b": [3.0, 5.0], "c": [2.0, 2.0]})
    page.numbers({"gap": gap, "median": Interval(2.0, 1.0, 3.0)}, n={"gap": 9, "median": 7})
    found = json.loads((tmp_path / "home/reruns/01_page-smoke/numbers.json").read_text())
    assert found["gap"]["units"] == [1.5, 4.0, 2.0] and found["gap"]["n"] == 3
    assert found["gap"]["detectable"] == pytest.approx(detectable_effect(gap.units))
    assert tuple(found["gap"]["these"]) == gap.these
    assert found["median"]["n"] == 7 and "units" not in found["median"]


def test_the_data_of_a_figure_is_written_and_linked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shown: list[Any] = []
    monkeypatch.setattr("dip_book.notebook.display", shown.append)
    page = begin("01_page", DEFAULTS | {"profile": "embedded-full", "datasets": "greek,latin"})
    runs = page.collect(study.coop(page.profile))
    page.data("curves", runs)
    page.data("gains", pd.DataFrame({"new": [1 / 3]}, index=pd.Index(["greek"], name="family")))
    page.data("gaps", {"greek: new": Interval(1.5, 0.5, 2.0)})
    folder = page.folder / "data"
    assert page.folder.parent == tmp_path / "home" / "reruns"
    curves = pd.read_csv(folder / "curves.csv")
    points = [point for run in page.used.values() for point in run["checkpoints"]]
    assert list(curves["new"]) == [float(f"{point['new']:.6g}") for point in points]
    assert list(curves["id1"]) == [float(f"{point['id'][0]:.6g}") for point in points]
    assert set(curves["seed"]) == {1, 2, 3, 4, 5} and set(curves["dataset"]) == {"greek", "latin"}
    assert not {"method", "lr", "backbone"} & set(curves)  # the same for all
    assert (folder / "gains.csv").read_text() == "family,new\ngreek,0.333333\n"
    assert (folder / "gaps.csv").read_text() == ",value,low,high\ngreek: new,1.5,0.5,2\n"
    assert f"[gains.csv]({(folder / 'gains.csv').as_uri()})" in shown[-2].data
    # as a page of the book
    monkeypatch.setenv("DIP_PAGE", str(tmp_path / "page"))
    page.data("gains", pd.DataFrame({"new": [1 / 3]}, index=pd.Index(["greek"], name="family")))
    assert (tmp_path / "page/data/gains.csv").read_bytes() == (folder / "gains.csv").read_bytes()
    assert "[gains.csv](../results/data/01_page/gains.csv)" in shown[-1].data


def test_the_cost_line_names_runs_seconds_machine_and_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shown: list[Any] = []
    monkeypatch.setattr("dip_book.notebook.display", shown.append)
    runs = frame([made(seed=1) | {"seconds": 40.0}, made(seed=2) | {"seconds": 2.2}])
    begin("02_page", DEFAULTS).cost(pd.concat([runs, runs]))  # a run costs what it costs once
    _, line = (markdown.data for markdown in shown)
    for part in ("2 runs", "42 s", "Test CPU, 2 cores, cpu", "Glyph World"):
        assert part in line
    assert "papermill notebooks/02_page.ipynb out.ipynb -p profile smoke -p results fresh" in line
    begin("02_page", DEFAULTS).cost(runs, "dip measure")
    assert shown[-1].data.endswith("re-run:* `dip measure`")


def test_a_table_without_rows_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[Any] = []
    monkeypatch.setattr("dip_book.notebook.display", shown.append)
    page, table = begin("02_page", DEFAULTS), pd.DataFrame({"new": [1.0]})
    page.table(table)
    page.table(table[:0])
    assert shown[-2] is table and "Not measured yet" in shown[-1].data


WHOLE = DEFAULTS | {"profile": "embedded-full"}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, {}),
        (
            {"datasets": ["latin", "greek"], "seeds": "2, 1"},
            {"datasets": "latin,greek", "seeds": "2,1"},
        ),
        ({"epochs": 3, "results": "missing"}, {"epochs": "3"}),
        ({"datasets": "latin", "seeds": 7}, {"datasets": "latin", "seeds": "7"}),
    ],
)
def test_the_command_for_a_page_asks_for_the_same_page(
    given: dict[str, Any], expected: dict[str, str]
) -> None:
    asked = read(WHOLE | given)
    program, source, target, *words = shlex.split(asked.command("03_page"))
    assert (program, source, target) == ("papermill", "notebooks/03_page.ipynb", "out.ipynb")
    values = dict(zip(words[1::3], words[2::3], strict=True))
    assert values == {"profile": "embedded-full", **expected, "results": "fresh"}
    assert read(WHOLE | values).profile == asked.profile


def test_a_command_is_quoted_for_a_shell(tmp_path: Path) -> None:
    mine = tmp_path / "my own.toml"
    mine.write_text((FOLDER / "smoke.toml").read_text("utf-8"), "utf-8")
    asked = read(DEFAULTS | {"profile": str(mine)})
    assert shlex.split(asked.command("03_page"))[5] == str(mine)


def test_runs_with_other_parameters_have_other_folders() -> None:
    asked: list[dict[str, Any]] = [
        *({}, {"datasets": "greek"}, {"datasets": "greek,latin"}, {"seeds": 1}, {"epochs": 3}),
        {"profile": "smoke"},
    ]
    keys = [read(WHOLE | each).key for each in asked]
    assert len(set(keys)) == len(keys)
    every = ",".join(load_profile("embedded-full").datasets)
    assert read(WHOLE | {"datasets": every}).key == keys[0] == "embedded-full"


def test_fewer_than_six_datasets_say_that_they_decide_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shown: list[Any] = []
    monkeypatch.setattr("dip_book.notebook.display", shown.append)
    every = load_profile("embedded-full").datasets
    for count in (6, len(every)):
        begin("02_page", WHOLE | {"datasets": every[:count]})
    assert shown == []
    begin("02_page", WHOLE | {"datasets": every[:4]})
    (line,) = (markdown.data for markdown in shown)
    assert "decides nothing" in line and "4 datasets" in line and "\n" not in line


def test_a_benchmark_is_measured_again_when_its_programs_content_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = tmp_path / "checkout" / "benchmarks"
    programs.mkdir(parents=True)
    program = programs / "toy.py"
    program.write_text(
        "import json, pathlib, sys\n"
        "path = pathlib.Path(sys.argv[-1])\n"
        "path.parent.mkdir(exist_ok=True, parents=True)\n"
        "count = json.loads(path.read_text())['count'] + 1 if path.is_file() else 1\n"
        "path.write_text(json.dumps({'count': count}))\n"
    )
    monkeypatch.setattr("dip_book.benchmark_results.root", lambda: tmp_path / "checkout")
    page = begin("01_page", DEFAULTS | {"results": "fresh"})
    assert page.profile.name == "smoke"
    assert page.benchmark("toy") == {"count": 1}
    os.utime(program)  # touched
    assert page.benchmark("toy") == {"count": 1}
    program.write_text(program.read_text() + "# changed\n")
    os.utime(program, (0, 0))  # and old
    assert page.benchmark("toy") == {"count": 2}
