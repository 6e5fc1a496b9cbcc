"""Execute a notebook by papermill, so that two runs with the same results give the same file."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import nbformat
from interrupt import without_ctrl_c

from dip_book.content import BOOK
from dip_lib.errors import one_of
from dip_study.profiles import load_profile
from dip_study.provenance import code_fingerprint


def about(source: Path) -> Mapping[str, Any]:
    """What a notebook says of itself, its metadata ``companion_page``; {} if it says nothing.

    ``long``: measuring it takes long, so it is left out unless it is named, or "all" is.
    ``worlds``: the worlds that it is about; it cannot be measured in others.
    ``several_worlds``: it shows several worlds beside each other, where several are asked for.
    """
    metadata: Mapping[str, Any] = nbformat.read(source, as_version=4).metadata.get(
        "companion_page", {}
    )
    return metadata


def shown_profiles(source: Path, profiles: str) -> str:
    """Those of the ``profiles`` ("embedded,photos") that a notebook shows; "" if none.

    Raises:
        ValueError: an unknown profile.
    """
    page = about(source)
    worlds, each = page.get("worlds"), profiles.split(",")
    possible = [p for p in each if not worlds or load_profile(p).world in worlds]
    return ",".join(possible if page.get("several_worlds") else possible[:1])


def choose(sources: Mapping[str, Path], wanted: str) -> list[Path]:
    """The notebooks called ``wanted``: names or numbers ("02,06"), "all", or "" for the quick ones.

    Raises:
        ValueError: no such notebook; names the nearest.
    """
    if wanted == "all":
        return list(sources.values())
    if not wanted:
        return [path for path in sources.values() if not about(path).get("long")]
    numbers = {name.split("_")[0]: name for name in sources}
    names = [each.strip() for each in wanted.split(",")]
    return [sources[one_of("notebook", numbers.get(name, name), sources)] for name in names]


def _joined(outputs: Iterable[Any]) -> list[Any]:
    """Outputs with the pieces of printed text put together: the clock decides where it is cut."""
    joined: list[Any] = []
    for out in outputs:
        if joined and out.output_type == joined[-1].output_type == "stream":
            joined[-1].text += out.text
        else:
            joined.append(out)
    return joined


def scrub(notebook: Any) -> None:
    """Remove what differs between two runs with the same results: times, paths, progress bars."""
    notebook.metadata.pop("papermill", None)
    notebook.metadata.get("language_info", {}).pop("version", None)
    for cell in notebook.cells:
        for key in ("papermill", "execution"):
            cell.metadata.pop(key, None)
        if not cell.metadata.get("tags", ["kept"]):
            del cell.metadata["tags"]
        if cell.cell_type == "code":
            cell.outputs = _joined(out for out in cell.outputs if out.get("name") != "stderr")
        if "injected-parameters" in cell.metadata.get("tags", []):
            cell.metadata.tags = ["injected-parameters", "hide-input"]


def up_to_date(target: Path, parameters: Mapping[str, str], needs: str) -> bool:
    """Whether ``target`` was executed with ``parameters`` from what has this fingerprint."""
    if not target.is_file():
        return False
    about = nbformat.read(target, as_version=4).metadata
    return about.get("companion") == dict(parameters) and about.get("needs") == needs


def execute(
    source: Path, target: Path, parameters: Mapping[str, str], home: Path, needs: str = ""
) -> None:
    """Run a notebook by papermill and put the scrubbed result at ``target``, whole or not at all.

    Progress bars of the notebook appear on stderr. ``parameters`` also become the notebook's
    metadata ``companion``, from which the book says how its pages were measured; what the page
    says it was made from, and the fingerprint of its code, become the metadata ``made``; ``needs``,
    the fingerprint of all that it was executed from, is kept as it is. The page's numbers and data
    go to ``home/results``, where a run by hand writes nothing.

    Raises:
        SystemExit: the notebook failed; says where the failed copy lies.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part, page = (home / "partial" / name for name in (source.name, source.stem))
    shutil.rmtree(page, ignore_errors=True)  # an earlier execution's
    page.mkdir(parents=True)
    options = [word for name, value in parameters.items() for word in ("-p", name, value)]
    print(f"{source.stem}: papermill {' '.join(options)}", flush=True)
    visible = ["--no-progress-bar", "--stderr-file", "-"]  # "-": papermill's stdout
    run = subprocess.run(
        [sys.executable, "-m", "papermill", str(source), str(part), *options, *visible],
        stdout=sys.stderr,
        stderr=subprocess.PIPE,  # papermill's own words, which tell nothing unless it fails
        text=True,
        preexec_fn=without_ctrl_c,
        env={
            **os.environ,
            **{"DIP_HOME": str(home), BOOK: str(page)},
            # papermill asks for widgets that a terminal does not need
            "PYTHONWARNINGS": "ignore:IProgress not found",
        },
    )
    if run.returncode:
        print(run.stderr, file=sys.stderr)
        sys.exit(f"{source.stem} failed; the copy with the error is {part}; finished runs are kept")
    notebook, made = nbformat.read(part, as_version=4), page / "made.json"
    scrub(notebook)
    if parameters:
        notebook.metadata["companion"] = dict(parameters)
    if needs:
        notebook.metadata["needs"] = needs
    provenance = json.loads(made.read_text("utf-8")) if made.is_file() else {}
    notebook.metadata["made"] = provenance | {"code": code_fingerprint(notebook.cells)}
    nbformat.write(notebook, part)
    take_over(page, home / "results", source.stem)
    os.replace(part, target)


def take_over(page: Path, results: Path, name: str) -> None:
    """Move the numbers and data that a page has written to where the book has them."""
    moves = {"numbers.json": f"numbers/{name}.json", "data": f"data/{name}"}
    shutil.rmtree(results / "data" / name, ignore_errors=True)
    for written, place in moves.items():
        if (page / written).exists():
            (results / place).parent.mkdir(parents=True, exist_ok=True)
            os.replace(page / written, results / place)
    shutil.rmtree(page)
