"""What every notebook does first: check its parameters."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from made_records import made

from dip_book.frame import frame
from dip_book.notebook import PARAMETERS, begin
from dip_book.statistics import Interval
from dip_study import study
from dip_study.profiles import load_profile

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
    ("bad", "message"),
    [
        ({"profil": "smoke"}, "unknown parameter 'profil'.*'profile'"),
        ({"dataset": "greek"}, "unknown parameter 'dataset'.*'datasets'"),
        ({"profile": "embeded"}, "profile 'embeded'.*'embedded'"),
        ({"datasets": "greeek"}, "dataset of profile smoke 'greeek'.*'greek'"),
        ({"datasets": "greek,cyrilic"}, "'cyrilic'.*'cyrillic'"),
        ({"datasets": "latin"}, "'latin'.*Valid: cyrillic, greek"),
        ({"datasets": ""}, "datasets=''"),
        ({"datasets": []}, r"datasets=\[\]"),
        ({"datasets": '["greek"'}, r"""datasets='\["greek"' is not a JSON list"""),
        ({"device": "gpu"}, "device 'gpu': use 'cpu', 'cuda' or 'cuda:N'"),
        ({"device": "mps"}, "device 'mps': use 'cpu', 'cuda' or 'cuda:N'"),
        ({"results": "old"}, "results 'old'.*fresh, stored"),
        ({"seeds": "x"}, "seeds='x'"),
        ({"seeds": "1,zwei"}, "seeds='1,zwei'"),
        ({"seeds": []}, r"seeds=\[\]"),
        ({"seeds": [1.5]}, r"seeds=\[1\.5\]"),
        ({"seeds": -1}, "seeds=-1"),
        ({"seeds": True}, "seeds=True"),
        ({"seeds": 2**63}, "seeds=9223372036854775808.*whole numbers below"),
        ({"epochs": 0}, "epochs=0"),
        ({"epochs": -3}, "epochs=-3"),
        ({"epochs": "many"}, "epochs='many'"),
        ({"epochs": 2.5}, r"epochs=2\.5"),
    ],
)
def test_a_bad_parameter_is_refused_by_value(bad: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        begin("01_page", DEFAULTS | bad)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_gpu_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match="'cuda'.*'?cpu'?"):
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
    found = json.loads((tmp_path / "home" / "numbers" / "01_page.json").read_text())
    assert found["gain"]["text"] == "1.23 [0.50, 2.00]"
    assert (found["gain"]["value"], found["gain"]["n"]) == (1.234, 2)
    assert found["part"]["text"] == "0.3679"  # the last digits differ between processors
    assert found["classes"] == {"value": 120, "text": "120", "world": "embedded"}


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
    folder = tmp_path / "home" / "data" / "01_page"
    curves = pd.read_csv(folder / "curves.csv")
    points = [point for run in page.used.values() for point in run["checkpoints"]]
    assert list(curves["new"]) == [float(f"{point['new']:.6g}") for point in points]
    assert list(curves["id1"]) == [float(f"{point['id'][0]:.6g}") for point in points]
    assert set(curves["seed"]) == {1, 2, 3, 4, 5} and set(curves["dataset"]) == {"greek", "latin"}
    assert not {"method", "lr", "backbone"} & set(curves)  # the same for all
    assert (folder / "gains.csv").read_text() == "family,new\ngreek,0.333333\n"
    assert (folder / "gaps.csv").read_text() == ",value,low,high\ngreek: new,1.5,0.5,2\n"
    assert "[gains.csv](../results/data/01_page/gains.csv)" in shown[-2].data


def test_the_cost_line_names_runs_seconds_machine_and_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shown: list[Any] = []
    monkeypatch.setattr("dip_book.notebook.display", shown.append)
    runs = frame([made(seed=1) | {"seconds": 40.0}, made(seed=2) | {"seconds": 2.2}])
    begin("02_page", DEFAULTS).cost(pd.concat([runs, runs]))  # a run costs what it costs once
    (line,) = (markdown.data for markdown in shown)
    for part in ("2 runs", "42 s", "Test CPU, 2 cores, cpu", "Glyph World"):
        assert part in line
    assert "papermill notebooks/02_page.ipynb out.ipynb -p profile smoke -p results fresh" in line
