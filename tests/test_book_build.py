"""Executed notebooks are whole, scrubbed and reproducible; publish guards what is committed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "book"))  # as when book/build.py is run as a program

from execute import about, choose, execute, up_to_date  # noqa: E402

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
    with pytest.raises(ValueError, match=r"'02_information'.* mean '02_information_density'"):
        choose(sources, "02_information")


def test_readme_and_page_name_the_notebooks_that_take_long() -> None:
    notebooks = sorted((ROOT / "notebooks").glob("*.ipynb"))
    long = ", ".join(path.name.split("_")[0] for path in notebooks if about(path).get("long"))
    for name in ("README.md", "book/rerun.md"):
        assert f"take long ({long})" in (ROOT / name).read_text("utf-8"), name


def test_execution_passes_parameters_and_home(tmp_path: Path) -> None:
    code = "import os\nprint(profile, os.environ['DIP_HOME'])"
    source = write_notebook(tmp_path / "a.ipynb", code)
    target = tmp_path / "out" / "a.ipynb"
    execute(source, target, {"profile": "embedded"}, tmp_path / "home")
    done = nbformat.read(target, as_version=4)
    assert done.cells[-1].outputs[0].text == f"embedded {tmp_path / 'home'}\n"
    assert done.metadata.companion == {"profile": "embedded"}
    assert done.metadata.made == {"code": code_fingerprint(done.cells)}
    notes = (tmp_path / "home" / "made", '{"runs": 2}')  # as a page writes when it has runs
    write = f"from pathlib import Path\nPath({str(notes[0])!r}).mkdir()\n"
    write += f"_ = Path({str(notes[0] / 'b.json')!r}).write_text({notes[1]!r})"
    execute(write_notebook(tmp_path / "b.ipynb", write), target, {}, tmp_path / "home")
    assert nbformat.read(target, as_version=4).metadata.made.runs == 2


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
    code.write_text("")
    assert not up_to_date(target, given, [source, code])
    execute(source, target, given, tmp_path / "home")
    assert up_to_date(target, given, [source, code])
    assert not up_to_date(target, {"profile": "embedded"}, [source, code])
    later = target.stat().st_mtime + 1
    os.utime(code, (later, later))
    assert not up_to_date(target, given, [source, code])


def test_a_failing_notebook_leaves_the_earlier_one_whole(tmp_path: Path) -> None:
    source = write_notebook(tmp_path / "a.ipynb", "raise OSError('disk full')")
    target = tmp_path / "out" / "a.ipynb"
    target.parent.mkdir()
    target.write_text("earlier")
    with pytest.raises(SystemExit, match=r"a failed; the copy with the error is .*partial"):
        execute(source, target, {}, tmp_path / "home")
    assert target.read_text() == "earlier"
    assert "disk full" in (tmp_path / "home" / "partial" / "a.ipynb").read_text()


def test_publish_refuses_a_profile_that_the_notebooks_do_not_show(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "book", tmp_path / "book")
    source = write_notebook(tmp_path / "notebooks" / "01_a.ipynb", "profile")
    before = source.read_bytes()
    script = [sys.executable, str(tmp_path / "book" / "build.py"), "publish", "--profile", "paper"]
    run = subprocess.run(script, capture_output=True, text=True)
    assert run.returncode == 1
    assert "shows profile 'smoke': publish that, not 'paper'" in run.stderr
    assert source.read_bytes() == before
