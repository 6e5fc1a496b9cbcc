"""A page run by hand stands alone: it changes nothing of the book's and can be run again."""

from __future__ import annotations

import json
import re
import shlex
import sys
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import nbformat
import pytest
from test_archives import tree
from test_notebooks import ROOT, Place, faults

sys.path.append(str(ROOT / "book"))  # as when book/build.py is run as a program

from execute import execute

PAGE = ROOT / "notebooks" / "03_base_to_new.ipynb"
SMOKE = {"profile": "smoke", "results": "fresh"}


def said(notebook: Path) -> list[str]:
    """Every line of Markdown that a page shows."""
    outputs = [o for cell in nbformat.read(notebook, 4).cells for o in cell.get("outputs", [])]
    return [o["data"]["text/markdown"] for o in outputs if "text/markdown" in o.get("data", {})]


def links(notebook: Path) -> dict[str, Path]:
    """Name of each CSV file that a page links -> the file that the link leads to."""
    found = re.findall(r"\[([\w.]+\.csv)\]\(([^)]+)\)", "\n".join(said(notebook)))
    paths = {name: Path(unquote(urlsplit(link).path)) for name, link in found}
    return {name: notebook.parent / path for name, path in paths.items()}


@pytest.fixture(scope="module")
def place(features: Path, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A machine that has executed the page for the book, and then by hand with fewer data."""
    here = Place(tmp_path_factory.mktemp("machine"))
    home, patch = here.folder / "home", pytest.MonkeyPatch()
    home.mkdir()
    (home / "features").symlink_to(features)
    for name, value in here.environment.items():
        patch.setenv(name, value)
    execute(PAGE, home / "notebooks" / PAGE.name, SMOKE, home)
    patch.undo()
    before = tree(home / "results")
    few = {"datasets": "greek", "seeds": "3", "epochs": "4"}
    done = here.execute(PAGE, "elsewhere.ipynb", **few)
    assert done.exit_code == 0, done.exception
    assert before and tree(home / "results") == before  # the book's numbers are still the book's
    return here


def numbers(folder: Path) -> Any:
    return json.loads((folder / "numbers.json").read_text("utf-8"))


def test_a_rerun_keeps_its_numbers_apart(place: Place) -> None:
    book = json.loads((place.folder / "home/results/numbers/03_base_to_new.json").read_text())
    (rerun,) = (place.folder / "home" / "reruns").iterdir()
    assert rerun.name.startswith("03_base_to_new-smoke-")
    assert numbers(rerun) != book
    assert {each["undecided"] for each in numbers(rerun).values()} == {"profile smoke, 1 dataset"}
    assert {each["undecided"] for each in book.values()} == {"profile smoke, 2 datasets"}


def test_links_lead_to_the_data_of_their_own_run_wherever_the_notebook_lies(
    place: Place, tmp_path: Path
) -> None:
    executed = place.folder / "home" / "notebooks" / PAGE.name
    moved = tmp_path / "deep" / "below" / "out.ipynb"
    moved.parent.mkdir(parents=True)
    moved.write_bytes((place.folder / "elsewhere.ipynb").read_bytes())
    of_book, of_rerun = links(executed), links(moved)
    assert of_book.keys() == of_rerun.keys() and len(of_book) >= 2
    for name, path in of_book.items():
        assert "cyrillic" in path.read_text("utf-8")
        assert "cyrillic" not in of_rerun[name].read_text("utf-8")
        assert of_rerun[name].is_absolute()
    assert str(place.folder) not in "".join(said(executed))  # what is published names no machine


def test_the_command_under_a_figure_gives_the_same_page_again(place: Place) -> None:
    first = place.folder / "elsewhere.ipynb"
    (command,) = {line.split("`")[1] for line in said(first) if "re-run" in line}
    program, _, target, *words = shlex.split(command)
    assert {*words[1::3]} == {"profile", "datasets", "seeds", "epochs", "results"}
    assert program == "papermill"
    again = place.papermill(PAGE, target, *words)
    assert again.exit_code == 0, again.exception
    assert said(place.folder / target) == said(first)
    assert faults(place.folder / target) == []


def test_a_page_with_few_datasets_says_so_in_one_line(place: Place) -> None:
    for path in (place.folder / "elsewhere.ipynb", place.folder / "home/notebooks" / PAGE.name):
        assert len([line for line in said(path) if "decides nothing" in line]) == 1
