"""A method that was added as the book says it appears on the methods page and in the benchmark."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import nbformat
import pytest
from extended import Extended, block


@pytest.fixture(scope="module")
def library(features: Path, tmp_path_factory: pytest.TempPathFactory) -> Extended:
    return Extended.make(tmp_path_factory.mktemp("extended"), features)


def test_a_new_method_is_in_every_figure_and_table_of_its_page(library: Extended) -> None:
    _, command = block("method-page").splitlines()
    library.run(*command.split(), "--no-progress-bar")
    shown = dict[str, list[str]]()
    for cell in nbformat.read(library.folder / "out.ipynb", as_version=4).cells:
        data = [out["data"] for out in cell.get("outputs", ()) if "data" in out]
        shown[cell.source] = ["".join(map(str, each.values())) for each in data]

    def of(call: str) -> str:
        (outputs,) = (each for source, each in shown.items() if call in source)
        return "\n".join(outputs)

    # CoOp, three others and this one
    assert "Putting DIP on 5 methods" in of("page.say(hosts.finding(")
    for call in ("tables.summary(each.groups)", "hosts.family_table("):
        assert "Tether + DIP" in of(call)
    assert "Tether" in of("hosts.density_table(")
    assert "<!-- Tether: base -->" in of("hosts.Compared.of(")  # the row of a figure, in its SVG
    assert "<!-- Tether -->" in of("hosts.family_changes(")
    numbers = json.loads((library.folder / "home/reruns/10_hosts-smoke/numbers.json").read_text())
    assert "tether_dip_minus_plain_h" in numbers


def test_a_page_on_pictures_of_ones_own_is_labelled_by_their_world(library: Extended) -> None:
    planned, measured = (command.split() for command in block("dataset-pages").splitlines())
    assert "letters" in library.run(*planned)
    library.run(*measured, "--no-progress-bar")
    cells = nbformat.read(library.folder / "out.ipynb", as_version=4).cells
    shown = json.dumps([cell.get("outputs", []) for cell in cells])
    assert "My letters" in shown and "Glyph World" not in shown


def test_a_new_method_is_in_the_benchmark(library: Extended, tmp_path: Path) -> None:
    out = tmp_path / "methods.json"
    library.run(sys.executable, "benchmarks/methods.py", "--smoke", "--out", str(out))
    assert {"coop", "dip", "tether", "tether+dip"} <= json.loads(out.read_text())["methods"].keys()
