"""The book's notebooks: each runs from nothing, and the committed copies are whole and checked."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from subprocess import DEVNULL
from typing import Any

import nbformat
import psutil
import pytest
from click.testing import CliRunner, Result
from glyph_pictures import write_pictures
from papermill import inspect_notebook
from papermill.cli import papermill

from dip_lib.data import load_dataset

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted((ROOT / "notebooks").glob("*.ipynb"))
CHECKED = "nbval-check-output"
"""Tag of a cell whose output ``make test`` compares with the committed one."""
HIDDEN = {"hide-input", "remove-input", "hide-cell", "remove-cell"}
PLUMBING = ("%pip", "begin(", "page.numbers(", "page.protocol(", "TemporaryDirectory")
LONGEST = 14
"""Lines of code of a visible cell: about twelve."""

each_notebook = pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)


@dataclass(frozen=True)
class Place:
    """A folder with a home of its own and no committed results."""

    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        own = {"DIP_HOME": self.folder / "home", "DIP_RESULTS": self.folder / "nothing"}
        # worker processes are the study's test; here they would only cost their start
        return {**os.environ, **{name: str(path) for name, path in own.items()}, "DIP_WORKERS": "1"}

    def papermill(self, *words: str | Path) -> Result:
        """The command, called in this process; kernels are their own, of this folder."""
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(self.folder)
            for name, value in self.environment.items():
                patch.setenv(name, value)
            return CliRunner().invoke(papermill, [*map(str, words)])

    def execute(self, source: Path, target: str, **parameters: str) -> Result:
        given = {"profile": smoke(source), "results": "fresh"} | parameters
        options = [word for name, value in given.items() for word in ("-p", name, value)]
        return self.papermill(source, self.folder / target, *options, "--no-progress-bar")


def smoke(source: Path) -> str:
    """The profile of seconds, of the world that a page shows."""
    page = nbformat.read(source, as_version=4).metadata.get("companion_page", {})
    return "photos-smoke" if page.get("worlds") == ["Photo World"] else "smoke"


def code_cells(path: Path) -> list[Any]:
    cells = nbformat.read(path, as_version=4).cells
    return [cell for cell in cells if cell.cell_type == "code"]


def tags(cell: Any) -> set[str]:
    return set(cell.metadata.get("tags", ()))


def shown(path: Path) -> list[Any]:
    """What a reader sees of each cell: its outputs, without progress bars and their numbers."""
    return [
        [{**o, "execution_count": 0} for o in cell.outputs if o.get("name") != "stderr"]
        for cell in code_cells(path)
    ]


def images(cell: Any) -> Iterator[str]:
    for output in cell.outputs:
        yield from (kind for kind in output.get("data", {}) if kind.startswith("image/"))


def faults(path: Path) -> list[str]:
    """What is wrong with an executed notebook: cells not run, errors, images without words."""
    found = []
    for number, cell in enumerate(code_cells(path)):
        if cell.execution_count is None and "injected-parameters" not in tags(cell):
            found.append(f"code cell {number} was not executed")
        found += [f"code cell {number}: {o.ename}" for o in cell.outputs if "ename" in o]
        alt = cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "")
        if any(images(cell)) and len(alt) < 40:
            found.append(f"code cell {number} shows an image without alt text")
    if not any(any(images(cell)) for cell in code_cells(path)):
        found.append("no figure is shown")
    return found


@pytest.fixture(scope="module")
def smoke_of_few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The profile ``smoke`` with few pictures for what encodes pictures in every step: a file.

    A family of Glyph World has 2,800 test images, and on these such methods are evaluated; a task
    for visual prompts has 1,000, all of which train. It is called smoke, too: benchmarks are as
    short for a profile of that name alone.
    """
    folder = tmp_path_factory.mktemp("few")
    names = load_dataset("greek").class_names[:4]
    write_pictures(folder / "letters", "greek", names)
    profile = folder / "smoke.toml"
    letters = '[folders]\nfew-letters = "letters"\n'
    profile.write_text(
        'like = "smoke"\nworld = "Glyph World"\ndatasets = ["greek", "few-letters"]\n'
        f'tasks_of = ["smoke-tasks.toml"]\n{letters}[costly]\ndatasets = ["few-letters"]\n'
    )
    rates = dict.fromkeys(("deep 0", "deep 2", "shallow 2", "few"), 0.01)
    given = ", ".join(f'"{number}" = {rate}' for number, rate in rates.items())
    (folder / "smoke-tasks.toml").write_text(
        f'like = "visual-smoke"\nworld = "Glyph World"\n{letters}[visual.tasks]\n'
        f'datasets = ["few-letters"]\n[visual.tasks.lr]\nfew-letters = {{ {given} }}\n'
    )
    return profile


STAMPS = """\
import json, os, pathlib
store = (pathlib.Path(os.environ["DIP_HOME"]) / "store").glob("*")
pathlib.Path("measured.json").write_text(json.dumps({p.name: p.stat().st_mtime_ns for p in store}))
"""
"""Code that writes which runs a notebook has measured, and when each was kept."""
ENCODES_IN_EVERY_STEP = ("10_hosts", "14_visual_prompts")
"""Pages with methods that encode pictures in every step, and all test pictures afterwards."""
AGAIN = ("03_base_to_new", "10_hosts", "17_what_id_cannot_see", "20_causes")
"""Pages that are run a second time: of runs on the text and the image side, of what is kept without
runs, and of runs made of others. That the rest read what is stored, ``make test`` sees in the
committed notebooks."""


def run_twice(source: Path, profile: str) -> Any:
    """A notebook that runs ``source`` from nothing and then, with all names forgotten, again.

    Both in one kernel, which takes less time to work than to start; that other processes read what
    one has measured is seen where a notebook is killed, and in every committed notebook.
    """
    notebook, again = (nbformat.read(source, as_version=4) for _ in range(2))
    forget = nbformat.v4.new_code_cell(f"{STAMPS}%reset -f")
    for cells, results in ((notebook.cells, "fresh"), (again.cells, "stored")):
        (place,) = (i for i, cell in enumerate(cells) if "parameters" in tags(cell))
        given = nbformat.v4.new_code_cell(f"profile, results = {profile!r}, {results!r}")
        cells.insert(place + 1, given)
    for cell in again.cells:
        cell.id = f"{cell.id}-again"
    notebook.cells += [forget, *again.cells]
    return notebook


def check_numbers(place: Place, source: Path, profile: str) -> None:
    """The numbers of the one run in a place are of its world, and no evidence."""
    (numbers,) = (place.folder / "home" / "reruns").glob(f"{source.stem}-*/numbers.json")
    found = json.loads(numbers.read_text())
    assert all(number["text"] for number in found.values())
    world = {"smoke": "embedded", "photos-smoke": "photos"}[profile]
    assert {number["world"] for number in found.values()} == {world}
    assert all("smoke" in number["undecided"] for number in found.values())


@pytest.mark.usefixtures("shared_runs")
@pytest.mark.parametrize(
    "source", [path for path in SOURCES if path.stem not in AGAIN], ids=lambda path: path.stem
)
def test_a_notebook_runs_without_committed_results(
    source: Path, smoke_of_few: Path, tmp_path: Path
) -> None:
    place, profile = Place(tmp_path), smoke(source)
    asked = str(smoke_of_few) if source.stem in ENCODES_IN_EVERY_STEP else profile
    done = place.execute(source, "out.ipynb", profile=asked)
    assert done.exit_code == 0, done.exception
    assert faults(tmp_path / "out.ipynb") == []
    check_numbers(place, source, profile)


@pytest.mark.usefixtures("shared_runs")
@pytest.mark.parametrize("name", AGAIN)
def test_run_again_a_notebook_measures_nothing_and_shows_the_same(
    name: str, smoke_of_few: Path, tmp_path: Path
) -> None:
    (source,) = (path for path in SOURCES if path.stem == name)
    place, profile = Place(tmp_path), smoke(source)
    asked = str(smoke_of_few) if name in ENCODES_IN_EVERY_STEP else profile
    nbformat.write(run_twice(source, asked), tmp_path / "twice.ipynb")
    cells = len(code_cells(source)) + 1
    done = place.papermill(tmp_path / "twice.ipynb", tmp_path / "out.ipynb", "--no-progress-bar")
    assert done.exit_code == 0, done.exception
    assert faults(tmp_path / "out.ipynb") == []
    check_numbers(place, source, profile)
    before = json.loads((tmp_path / "measured.json").read_text())
    store = (tmp_path / "home" / "store").glob("*")  # to which other tests may add
    assert {path.name: path.stat().st_mtime_ns for path in store}.items() >= before.items()
    seen = shown(tmp_path / "out.ipynb")
    assert seen[:cells] == seen[cells + 1 :]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"datasets": "greek,cyrilic"}, "'cyrilic'"),
        ({"dataset": "greek"}, "'dataset'"),
        ({"seeds": "1.5"}, "seeds=1.5"),
    ],
)
def test_a_wrong_parameter_fails_in_the_cell_after_the_parameters(
    tmp_path: Path, wrong: dict[str, str], said: str
) -> None:
    done = Place(tmp_path).execute(SOURCES[0], "out.ipynb", **wrong)
    assert done.exit_code == 1
    assert said in str(done.exception)
    cells = code_cells(tmp_path / "out.ipynb")
    kinds = [o.output_type for cell in cells for o in cell.outputs]
    (injected,) = (i for i, cell in enumerate(cells) if "injected-parameters" in tags(cell))
    assert "ename" in cells[injected + 1].outputs[-1]
    assert kinds.count("error") == 1
    assert not (tmp_path / "home").exists()


def test_ended_by_hand_and_by_force_a_notebook_goes_on_from_any_folder(tmp_path: Path) -> None:
    place, store = Place(tmp_path), tmp_path / "home" / "store"
    source = os.path.relpath(ROOT / "notebooks" / "08_epochs_dropout.ipynb", tmp_path)
    few = {"profile": "smoke", "results": "fresh", "datasets": "greek", "seeds": "1"}
    few["epochs"] = "10"  # so that both signals find it at work
    options = [word for name, value in few.items() for word in ("-p", name, value)]
    program = [sys.executable, "-m", "papermill", source, "out.ipynb"]
    command = [*program, *options, "--log-output"]  # which shows the bars of a cell at work
    kept: dict[Path, int] = {}

    def records() -> dict[Path, int]:
        """The finished runs and when each was written, in nanoseconds."""
        return {path: path.stat().st_mtime_ns for path in store.glob("*.json")}

    # Ctrl-C in a terminal, and a machine that is taken away
    for sent in (signal.SIGINT, signal.SIGKILL):
        at_work = subprocess.Popen(
            command,
            cwd=tmp_path,
            env=place.environment,
            stderr=DEVNULL,
            start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # not under &
        )
        while len(records()) <= len(kept):
            assert at_work.poll() is None
            time.sleep(0.02)
        kernels = psutil.Process(at_work.pid).children(recursive=True)
        os.killpg(at_work.pid, sent)
        assert at_work.wait() != 0
        assert psutil.wait_procs(kernels, timeout=60)[1] == []  # nothing works on, unseen
        assert all(json.loads(path.read_bytes())["status"] for path in records())
        assert records().items() > kept.items()
        kept = records()
    done = subprocess.run(
        command, cwd=tmp_path, env=place.environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert faults(tmp_path / "out.ipynb") == []
    assert records().items() > kept.items()  # none of the finished runs was measured again
    left = len(records()) - len(kept)
    # each bar begins once and gets to its end, which may be drawn twice
    bars = re.findall(r"measuring:   0%[^/\n]* 0/(\d+) ", done.stderr)
    assert sum(map(int, bars)) == left
    assert set(re.findall(r"measuring: 100%.* (\d+)/\1 ", done.stderr)) == set(bars)


# ---- the committed copies -----------------------------------------------------------------------


@each_notebook
def test_a_committed_notebook_begins_with_its_parameters_and_their_check(source: Path) -> None:
    parameters, first = code_cells(source)[:2]
    assert "parameters" in parameters.metadata["tags"]
    titles = [cell.metadata.mystnb.code_prompt_show for cell in (parameters, first)]
    assert titles == ["Parameters", "Set-up"]
    names = re.findall(r"^(\w+) = ", parameters.source, re.MULTILINE)
    assert names == ["profile", "datasets", "seeds", "epochs", "device", "results"]
    assert f'begin("{source.stem}", globals())' in first.source
    assert nbformat.read(source, as_version=4).cells[0].source.startswith("# ")


@each_notebook
def test_a_committed_notebook_is_executed_whole_and_described(source: Path) -> None:
    assert faults(source) == []
    compared = [cell for cell in code_cells(source) if CHECKED in tags(cell)]
    assert compared
    assert all(cell.outputs for cell in compared)
    assert not [c for c in code_cells(source) for o in c.outputs if o.get("name") == "stderr"]
    assert "papermill" not in nbformat.read(source, as_version=4).metadata


@each_notebook
def test_a_reader_sees_the_code_of_every_figure_and_table_and_no_plumbing(source: Path) -> None:
    cells = code_cells(source)
    visible = [cell for cell in cells if not tags(cell) & HIDDEN]
    assert 2 * len(visible) >= len(cells)
    assert "parameters" in tags(cells[0]) and tags(cells[0]) & HIDDEN
    for cell in visible:
        code = [line for line in cell.source.splitlines() if line.strip()]
        assert 1 <= len(code) <= LONGEST, cell.source
        assert max(map(len, code)) <= 110, "nobody scrolls sideways: " + max(code, key=len)
        assert not [word for word in PLUMBING if word in cell.source]
    for cell in cells:
        if any(images(cell)) or any("text/html" in o.get("data", {}) for o in cell.outputs):
            assert cell in visible, cell.source


TRAINED_AT_SIGHT = ("05_your_own_images",)
"""Pages that train a prompt whenever they run, so that their numbers depend on the machine."""


@each_notebook
def test_the_numbers_that_prose_quotes_are_those_that_the_notebook_computes(source: Path) -> None:
    shown = inspect_notebook(str(source))["profile"]["default"].strip("\"'")
    made = ROOT / f"_build/nbval/reruns/{source.stem}-{shown.replace(',', '+')}/numbers.json"
    if not made.is_file() or made.stat().st_mtime < source.stat().st_mtime:
        pytest.skip("make test runs the committed notebooks first, which leaves their numbers")
    now, quoted = (
        json.loads(path.read_text("utf-8"))
        for path in (made, ROOT / "results" / "numbers" / f"{source.stem}.json")
    )
    assert now.keys() == quoted.keys()
    for key in now.keys() if source.stem not in TRAINED_AT_SIGHT else ():
        for name, value in quoted[key].items():
            close = isinstance(value, float | list)  # the units of an interval are a list
            same = pytest.approx(value, rel=1e-4) if close else value
            assert now[key][name] == same, f"{key}: {name}; make test runs the notebook anew"


def tampered(notebook: Any) -> Any:
    """The notebook with one digit changed of a number that a reader sees in a compared cell."""
    for cell in reversed(notebook.cells):
        for output in cell.get("outputs", []) if CHECKED in tags(cell) else []:
            shown = output.get("data", {}).get("text/html", "")
            if number := re.search(r"\d(?=\.\d+</td>)", shown):
                at, digit = number.start(), (int(number[0]) + 1) % 10
                output.data["text/html"] = f"{shown[:at]}{digit}{shown[at + 1 :]}"
                return notebook
    raise AssertionError("no compared output shows a number")


def test_make_test_catches_a_tampered_number(tmp_path: Path) -> None:
    for name in ("Makefile", "pyproject.toml", "requirements.lock"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "notebooks").mkdir()
    shutil.copy(ROOT / "notebooks" / "13_pictures.ipynb", tmp_path / "notebooks")
    notebook = nbformat.read(ROOT / "notebooks" / "13_pictures.ipynb", as_version=4)
    nbformat.write(tampered(notebook), tmp_path / "notebooks" / "tampered.ipynb")
    make = ["make", "-n", "test", f"RUN={sys.executable}"]
    recipe = subprocess.run(make, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    (line,) = (line for line in recipe.splitlines() if "--nbval" in line)
    where = {**os.environ, "PYTEST_ADDOPTS": "-rA"}
    check = subprocess.run(
        ["bash", "-c", line], cwd=tmp_path, env=where, capture_output=True, text=True
    )
    ended = re.findall(r"^(PASSED|FAILED) notebooks/(\w+)", check.stdout, re.MULTILINE)
    assert check.returncode == 1, check.stdout + check.stderr
    cells = len(code_cells(tmp_path / "notebooks" / "tampered.ipynb"))
    assert ended.count(("PASSED", "13_pictures")) == cells
    assert ended.count(("PASSED", "tampered")) == cells - 1
    assert ended.count(("FAILED", "tampered")) == 1
    assert len(ended) == 2 * cells


@pytest.mark.usefixtures("shared_features")
def test_a_page_shows_two_worlds_and_writes_the_numbers_of_both(tmp_path: Path) -> None:
    (source,) = (path for path in SOURCES if path.stem == "03_base_to_new")
    done = Place(tmp_path).execute(source, "out.ipynb", profile="smoke,photos-smoke")
    assert done.exit_code == 0, done.exception
    assert faults(tmp_path / "out.ipynb") == []
    numbers = tmp_path / "home/reruns/03_base_to_new-smoke+photos-smoke/numbers.json"
    found = json.loads(numbers.read_text())
    assert {number["world"] for number in found.values()} == {"embedded", "photos"}
    assert all(
        (number["world"] == "photos") == key.startswith("photos/") for key, number in found.items()
    )
