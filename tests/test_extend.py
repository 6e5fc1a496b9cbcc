"""The book's pages on extending it, applied to one copy of the library and run as printed."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from extended import COMMANDS, PATCHES, SCRIPTS, TEXT, WRITTEN, Extended, block

from dip_study.plan import plan
from dip_study.profiles import load_profile


@pytest.fixture(scope="module")
def library(features: Path, tmp_path_factory: pytest.TempPathFactory) -> Extended:
    """A copy of the library with everything that the pages add."""
    return Extended.make(tmp_path_factory.mktemp("extended"), features)


@pytest.fixture(scope="module")
def said(library: Extended) -> dict[str, list[list[str]]]:
    """What the printed scripts print that need no worker processes."""
    return library.scripts("dataset-runs", "backbone-runs", "claim-number", "claim-verdict")


def accuracies(rows: list[list[str]], first: int, last: int) -> list[float]:
    return [float(cell) for row in rows for cell in row[first:last]]


def test_every_block_that_is_named_is_written_applied_or_run() -> None:
    named = re.findall(r"^:name: (\S+)$", TEXT, re.MULTILINE)
    assert sorted(named) == sorted([*WRITTEN, *PATCHES, *SCRIPTS, *COMMANDS])


def test_a_method_is_four_files() -> None:
    patched = ("dip_lib/methods/__init__.py", "dip_study/profiles/smoke.toml")
    assert all(f"+++ b/{path}\n" in TEXT for path in patched)
    written = [place for name, place in WRITTEN.items() if name.startswith("method")]
    assert len({*written, *patched}) == 4


def test_what_measures_has_a_guard_for_its_workers() -> None:
    measuring = [name for name in SCRIPTS if "study.collect" in block(name)]
    assert measuring == ["method-runs", "dataset-runs", "backbone-runs"]
    for name in measuring:
        above, guard, _ = block(name).partition('if __name__ == "__main__":')
        assert guard and "collect" not in above


def test_a_method_runs_plain_and_as_a_dip(library: Extended) -> None:
    rows = library.script("method-runs")
    assert [row[:2] for row in rows[::4]] == [
        ["greek", "CoOp"],
        ["greek", "Tether"],
        ["greek", "Tether + DIP"],
    ]
    assert {row[4] for row in rows} == {"finished"}
    assert len({tuple(row[2:4]) for row in rows[::4]}) == 3  # three trainings, not one


def test_its_printed_test_holds_it(library: Extended) -> None:
    said = library.run(sys.executable, "-m", "pytest", "-q", "tests/test_tether.py")
    assert "2 passed" in said


def test_its_setting_is_its_own_and_a_run_by_name_has_its_defaults(library: Extended) -> None:
    code = """
from dip_study.profiles import load_profile
from dip_study.runs import seeds
embedded = load_profile("embedded")  # which has no entry for it
run = seeds(embedded, "tether", fingerprint="")[0]
print(run.label, run.method.weight, embedded.has("tether"))
try:
    seeds(embedded, "tether", wait=1.0, fingerprint="")
except ValueError as error:
    print(error)
"""
    first, second = library.run(sys.executable, "-c", code).splitlines()
    assert first == "Tether 0.1 False"
    assert "'wait'" in second and "context, vectors, weight" in second


def test_the_plan_counts_it(library: Extended) -> None:
    command, _ = block("method-page").splitlines()
    lines = (line.split() for line in library.run(*command.split()).splitlines())
    (everything,) = (int(row[1]) for row in lines if row[:1] == ["all"])
    smoke = load_profile("smoke")
    added = 2 * len(smoke.datasets) * len(smoke.seeds)  # plain and with DIP
    assert everything == plan(smoke, "hosts")["runs"].sum() + added


def test_a_folder_of_pictures_is_a_dataset_of_every_study(
    said: dict[str, list[list[str]]],
) -> None:
    rows = said["dataset-runs"]
    assert [row[:2] for row in rows] == [
        ["letters", name] for name in ("CoOp", "CoOp", "DIP", "DIP")
    ]
    assert all(0 <= value <= 100 for value in accuracies(rows, 2, 4))


def test_a_package_brings_a_backbone(said: dict[str, list[list[str]]]) -> None:
    rows = said["backbone-runs"]
    assert [row[:3] for row in rows] == [
        ["small-vit", "CoOp", str(4 * 64)],
        ["small-vit", "DIP", str(4 + 64)],
    ]
    assert all(0 <= value <= 100 for value in accuracies(rows, 3, 5))


def test_a_claim_gets_its_verdict_from_the_number_that_its_page_writes(
    said: dict[str, list[list[str]]],
) -> None:
    ((folder,),) = said["claim-number"]
    assert (Path(folder) / "numbers.json").is_file()
    ((line,),) = said["claim-verdict"]
    *words, low, high = line.split()
    expected = "reproduced" if float(low) > 0 else "inconclusive"
    expected = "not reproduced" if float(high) <= 0 else expected
    assert " ".join(words) == expected and float(low) < float(high)
