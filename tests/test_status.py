"""The book's page of its own state: a page or study is stale exactly when what made it changed."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dip_book.code import code_digest
from dip_book.notebook import begin
from dip_book.summary import PUBLISHED as WORLDS
from dip_book.summary import about_page, about_study, committed, summary
from dip_lib.methods import CoOp
from dip_lib.store.export import export
from dip_lib.training.run import RECIPE
from dip_study import study
from dip_study.profiles import load_profile
from dip_study.provenance import code_fingerprint, provenance, stale

ROOT = Path(__file__).resolve().parents[1]
PUBLISHED = WORLDS[0]
sys.path.append(str(ROOT / "book" / "_ext"))  # as Sphinx does

from companion.status import locked, outdated, page_row, study_row  # noqa: E402
from companion.templates import html  # noqa: E402

CELLS = [
    {"cell_type": "markdown", "metadata": {}, "source": "# Page"},
    {"cell_type": "code", "metadata": {"tags": ["parameters"]}, "source": 'profile = "smoke"'},
    {"cell_type": "code", "metadata": {}, "source": "print(profile)"},
]
PARAMETERS: dict[str, Any] = {
    "profile": PUBLISHED,
    "datasets": "greek",
    "seeds": "1",
    "epochs": None,
    "device": "cpu",
    "results": "stored",
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a page with two committed runs says of itself."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DIP_HOME", str(tmp_path_factory.mktemp("home")))
        page = begin("01_page", PARAMETERS)
        page.collect(study.coop(page.profile))
        page.collect([*study.coop(page.profile), *study.dip(page.profile)])
        runs = [*page.used.values()]
        return provenance(runs, PUBLISHED) | {"code": code_fingerprint(CELLS)}


def test_a_page_counts_each_run_once_and_is_current(made: dict[str, Any]) -> None:
    assert made["runs"] == 2
    assert 0 < made["seconds"] < 60
    assert made["recipes"] == [RECIPE]
    assert made["methods"] == {"coop": CoOp.identity()}
    assert len(made["dates"][0]) == len("2026-11-21")
    assert list(made["weights"]) == ["glyph-resnet"] and list(made["data"]) == ["greek default"]
    assert json.loads(json.dumps(made)) == made
    assert stale(made, CELLS) == []


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"recipes": [RECIPE - 1]}, f"recipe {RECIPE - 1}, now {RECIPE}"),
        ({"methods": {"coop": "0" * 12}}, "coop has other code now"),
        ({"methods": {"gone": "0" * 12}}, "gone has other code now"),
        ({"weights": {"glyph-resnet": "0" * 12}}, "glyph-resnet has other weights now"),
        ({"data": {"greek default": "0" * 12}}, "greek default has other pictures now"),
        ({"settings": "0" * 12}, f"profile {PUBLISHED} has other settings now"),
        ({"profile": "gone"}, "profile gone has other settings now"),
    ],
)
def test_whatever_changed_makes_a_page_stale_and_is_named(
    made: dict[str, Any], change: dict[str, Any], reason: str
) -> None:
    assert stale(made | change, CELLS) == [reason]


def test_another_line_of_code_makes_a_page_stale_and_other_parameters_do_not(
    made: dict[str, Any],
) -> None:
    other = [*CELLS[:2], {**CELLS[2], "source": "print(profile, 1)"}]
    assert stale(made, other) == ["its code was changed after it was run"]
    injected = {**CELLS[1], "metadata": {"tags": ["injected-parameters", "hide-input"]}}
    words = {**CELLS[0], "source": "# Another title"}
    assert stale(made, [words, CELLS[1], injected, CELLS[2]]) == []


def test_a_study_is_current_incomplete_or_stale(tmp_path: Path) -> None:
    name = "precision"  # half of its runs lie in the file of another study
    for file in ("base_to_new", name):
        shutil.copy(ROOT / "results" / PUBLISHED / f"{file}.json", tmp_path)

    def state() -> tuple[str, str]:
        about = about_study(name, load_profile(PUBLISHED), tmp_path, committed(tmp_path))
        row = study_row(about)
        return row["state"], row["why"]

    assert state() == ("current", "")
    every = study.STUDIES[name](load_profile(PUBLISHED))
    runs = [run for run in every if run.tower.precision == "bf16"]
    store = committed(tmp_path)
    records = [record for run in runs if (record := store.get(run))]
    export(records[:-1], tmp_path / f"{name}.json")
    assert state() == ("incomplete", "109 of 110 runs are measured")
    # as measured before its pictures changed
    old = replace(runs[0], data=replace(runs[0].data, fingerprint="0" * 12))
    records[0] = records[0] | {"run": old.to_dict(), "key": old.key()}
    export(records, tmp_path / f"{name}.json")
    assert state() == ("stale", "1 of 55 runs have earlier code, data or settings")


def test_a_page_is_current_stale_or_not_recorded(made: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "01_page.ipynb"

    def state(metadata: dict[str, Any]) -> tuple[str, str]:
        path.write_text(json.dumps({"cells": CELLS, "metadata": metadata}))
        row = page_row(about_page(path), "Page", "page.html")
        return row["state"], row["why"]

    assert state({"made": made}) == ("current", "")
    assert state({}) == ("not recorded", "")
    why = "its code was changed after it was run"
    assert state({"made": made | {"code": "0" * 12}}) == ("stale", why)


def test_the_committed_summary_is_what_the_present_code_gives() -> None:
    saved = json.loads((ROOT / "results" / "summary.json").read_text("utf-8"))
    present = json.loads(json.dumps(summary(sorted((ROOT / "notebooks").glob("*.ipynb")))))
    saved.pop("code")  # an edit that changes no row only makes the page say that the code changed
    present.pop("code")
    assert saved == present, "write it anew: python -m dip_book.summary"


def test_the_digest_of_the_code_changes_with_a_file_and_not_with_its_age(tmp_path: Path) -> None:
    path = tmp_path / "dip_lib" / "a.py"
    path.parent.mkdir()
    path.write_text("1")
    before = code_digest(tmp_path)
    path.touch()
    assert code_digest(tmp_path) == before
    path.write_text("2")
    edited = code_digest(tmp_path)
    path.rename(path.with_name("b.py"))
    assert len({before, edited, code_digest(tmp_path)}) == 3


def test_the_page_says_when_the_library_changed_after_its_summary() -> None:
    row = page_row({"name": "01_page"}, "1 < 2", "page.html?a&b")
    for code, told in ((code_digest(ROOT), False), ("0" * 12, True)):
        late = outdated({"code": code})
        page = html("status.html", first="Page", rows=[row], outdated=late).astext()
        assert ('class="outdated"' in page) == late == told
        assert "1 &lt; 2" in page and "page.html?a&amp;b" in page  # what is given is escaped


def test_the_lock_says_one_version_of_a_package_for_this_machine(tmp_path: Path) -> None:
    lock = tmp_path / "requirements.lock"
    old, new = ("numpy==1.0 ; python_full_version < '3'", "numpy==2.0 ; python_full_version >= '3'")
    lock.write_text(f"# made by make lock\n{old}\n{new}\nopen-clip-torch==3.3.0\n")
    assert locked(lock) == {"numpy": "2.0", "open_clip_torch": "3.3.0"}
