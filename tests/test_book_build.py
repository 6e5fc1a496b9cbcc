"""Executed notebooks are whole, scrubbed and reproducible; publish guards what is committed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import nbformat
import psutil
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "book"))  # as when book/build.py is run as a program

from execute import about, choose, execute, up_to_date  # noqa: E402

from dip_book.content import fingerprint  # noqa: E402
from dip_book.measured_profiles import measured_profiles  # noqa: E402
from dip_lib.errors import UnknownNameError  # noqa: E402
from dip_study.provenance import code_fingerprint  # noqa: E402


def write_notebook(path: Path, code: str) -> Path:
    """A notebook with a parameters cell and one more cell."""
    cells = [
        new_markdown_cell("# A figure", id="title"),
        new_code_cell('profile = "smoke"', id="given", metadata={"tags": ["parameters"]}),
        new_code_cell(code, id="code"),
    ]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(new_notebook(cells=cells, metadata={"kernelspec": kernel}), path)
    return path


def say(path: Path, about: dict[str, Any]) -> None:
    """Write what a notebook says of itself into its metadata."""
    notebook = nbformat.read(path, as_version=4)
    notebook.metadata["companion_page"] = about
    nbformat.write(notebook, path)


def test_notebooks_are_chosen_by_name_or_number_and_long_ones_by_wish(tmp_path: Path) -> None:
    names = ("01_glyph_world", "02_information_density", "10_hosts")
    sources = {name: write_notebook(tmp_path / f"{name}.ipynb", "1") for name in names}
    first, second, last = sources.values()
    say(last, {"long": True})
    assert choose(sources, "") == [first, second]
    assert choose(sources, "all") == [first, second, last]
    assert choose(sources, "02") == choose(sources, "02_information_density") == [second]
    assert choose(sources, "10, 01") == [last, first]
    with pytest.raises(UnknownNameError, match="02_information_density"):
        choose(sources, "02_information")


def test_the_page_on_re_running_names_the_notebooks_that_take_long() -> None:
    notebooks = sorted((ROOT / "notebooks").glob("*.ipynb"))
    long = ", ".join(path.name.split("_")[0] for path in notebooks if about(path).get("long"))
    assert f"take long ({long})" in (ROOT / "book" / "rerun.md").read_text("utf-8")


def test_execution_passes_parameters_and_home(tmp_path: Path) -> None:
    code = "import os\nprint(profile, os.environ['DIP_HOME'])"
    source = write_notebook(tmp_path / "a.ipynb", code)
    target = tmp_path / "out" / "a.ipynb"
    execute(source, target, {"profile": "embedded"}, tmp_path / "home")
    done = nbformat.read(target, as_version=4)
    assert done.cells[-1].outputs[0].text == f"embedded {tmp_path / 'home'}\n"
    assert done.metadata.companion == {"profile": "embedded"}
    assert done.metadata.made == {"code": code_fingerprint(done.cells)}


PAGE = """\
import os, pathlib
page = pathlib.Path(os.environ["DIP_PAGE"])
(page / "data").mkdir()
_ = (page / "numbers.json").write_text(profile), (page / "made.json").write_text('{"runs": 2}')
_ = (page / "data" / f"{profile}.csv").write_text("x")
"""


def test_what_a_page_writes_becomes_the_books_with_the_notebook(tmp_path: Path) -> None:
    source, home = write_notebook(tmp_path / "b.ipynb", PAGE), tmp_path / "home"
    target = home / "notebooks" / "b.ipynb"
    for profile in ("embedded", "smoke"):
        execute(source, target, {"profile": profile}, home)
        assert nbformat.read(target, as_version=4).metadata.made.runs == 2
        assert (home / "results" / "numbers" / "b.json").read_text() == profile
        data = home / "results" / "data" / "b"
        assert [path.name for path in data.iterdir()] == [f"{profile}.csv"]  # of this run alone


def test_executing_twice_gives_the_same_bytes_without_times_or_progress(tmp_path: Path) -> None:
    code = "import sys\nprint('bar', file=sys.stderr)\nprint(profile)"
    source = write_notebook(tmp_path / "a.ipynb", code)
    execute(source, source, {}, tmp_path / "home")
    once = source.read_bytes()
    execute(source, source, {}, tmp_path / "home")
    assert source.read_bytes() == once
    done = nbformat.reads(once.decode(), as_version=4)
    assert done.cells[-1].execution_count == 2
    assert [out.name for out in done.cells[-1].outputs] == ["stdout"]
    assert b"papermill" not in once
    assert b"start_time" not in once
    assert b"iopub" not in once


def test_printed_text_is_one_output_however_slowly_it_came(tmp_path: Path) -> None:
    code = "import time\nfor each in 'abc':\n    print(each, flush=True)\n    time.sleep(0.3)\n"
    code += "display('between')\nprint('d')"
    source = write_notebook(tmp_path / "a.ipynb", code)
    execute(source, source, {}, tmp_path / "home")
    first, between, last = nbformat.read(source, as_version=4).cells[-1].outputs
    assert (first.text, last.text) == ("a\nb\nc\n", "d\n")
    assert between.output_type == "display_data"


def test_progress_is_shown_and_nothing_of_a_log_is_lost(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    source = write_notebook(tmp_path / "a.ipynb", "import sys\nprint('half way', file=sys.stderr)")
    print("earlier", file=sys.stderr, flush=True)
    execute(source, source, {}, tmp_path / "home")
    out, err = capfd.readouterr()
    assert err.startswith("earlier\n")
    assert "half way" in err
    assert out == "a: papermill \n"


def test_a_notebook_is_up_to_date_until_something_that_it_needs_changes(tmp_path: Path) -> None:
    source = write_notebook(tmp_path / "a.ipynb", "1 + 1")
    target, code, given = tmp_path / "out" / "a.ipynb", tmp_path / "code.py", {"profile": "smoke"}
    code.write_text("x = 1")

    def current(parameters: dict[str, str] = given) -> bool:
        return up_to_date(target, parameters, fingerprint([source, code]))

    assert not current()
    execute(source, target, given, tmp_path / "home", fingerprint([source, code]))
    assert current() and not current({"profile": "embedded"})
    later = target.stat().st_mtime + 1
    for path in (source, code):  # touched
        os.utime(path, (later, later))
    assert current()
    execute(source, source, {}, tmp_path / "home")  # it has other outputs now, the same code
    assert current()
    code.write_text("x = 2")
    os.utime(code, (0, 0))  # changed, and older than what was made from it
    assert not current()
    code.write_text("x = 1")
    assert current()
    write_notebook(source, "1 + 2")
    os.utime(source, (0, 0))
    assert not current()


def test_a_changed_file_is_told_by_its_name_and_content(tmp_path: Path) -> None:
    one, two = tmp_path / "one.py", tmp_path / "two.py"
    one.write_text("x = 1")
    two.write_text("x = 2")
    both = fingerprint([one, two])
    assert fingerprint([two, one]) == both != fingerprint([one])
    one.write_text("x = 2")
    two.write_text("x = 1")
    assert fingerprint([one, two]) != both


def test_a_failing_notebook_leaves_the_earlier_one_whole(tmp_path: Path) -> None:
    source = write_notebook(tmp_path / "a.ipynb", "raise OSError('disk full')")
    target = tmp_path / "out" / "a.ipynb"
    target.parent.mkdir()
    target.write_text("earlier")
    with pytest.raises(SystemExit, match="partial"):
        execute(source, target, {}, tmp_path / "home")
    assert target.read_text() == "earlier"
    assert "disk full" in (tmp_path / "home" / "partial" / "a.ipynb").read_text()


def test_publish_measures_what_pages_read_beside_their_own_profiles() -> None:
    named = measured_profiles(["embedded-full", "photos-full"])
    assert named[:2] == ["embedded-full", "photos-full"] and len({*named}) == len(named)
    assert {"embedded-b", "photos-b", "visual-tasks"} < {*named}
    assert "visual-photos" not in named  # its photographs are asked for


def test_publish_refuses_a_profile_that_the_notebooks_do_not_show(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "book", tmp_path / "book")
    source = write_notebook(tmp_path / "notebooks" / "01_a.ipynb", "profile")
    before = source.read_bytes()
    script = [sys.executable, str(tmp_path / "book" / "build.py"), "publish", "--profile", "paper"]
    run = subprocess.run(script, capture_output=True, text=True)
    assert run.returncode == 1
    assert "'smoke'" in run.stderr and "'paper'" in run.stderr
    assert source.read_bytes() == before


def test_ctrl_c_ends_the_build_with_one_line_and_130_and_no_kernel_is_left(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "book", tmp_path / "book")
    wait = "import pathlib, time\npathlib.Path('begun').touch()\ntime.sleep(600)"
    write_notebook(tmp_path / "notebooks" / "01_a.ipynb", wait)
    script = [sys.executable, str(tmp_path / "book" / "build.py"), "run", "--profile", "smoke"]
    at_work = subprocess.Popen(
        script,
        cwd=tmp_path,
        env={**os.environ, "DIP_HOME": str(tmp_path / "home")},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # not under &
    )
    while not (tmp_path / "begun").exists():
        assert at_work.poll() is None
        time.sleep(0.05)
    children = psutil.Process(at_work.pid).children(recursive=True)
    os.killpg(at_work.pid, signal.SIGINT)
    said = at_work.communicate()[1]
    assert at_work.returncode == 130
    assert said == "interrupted; the same command resumes\n"
    assert children and psutil.wait_procs(children, timeout=60)[1] == []
