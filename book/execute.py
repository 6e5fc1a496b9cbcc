"""Execute a notebook by papermill, so that two runs with the same results give the same file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import nbformat

from dip_lib.errors import one_of
from dip_study.provenance import code_fingerprint


def about(source: Path) -> Mapping[str, Any]:
    """What a notebook says of itself, its metadata ``companion_page``; {} if it says nothing.

    ``long``: measuring it takes long, so it is left out unless it is named, or "all" is.
    ``worlds``: the worlds that it is about; it cannot be measured in others.
    """
    found: Mapping[str, Any] = nbformat.read(source, as_version=4).metadata.get(
        "companion_page", {}
    )
    return found


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
    found: list[Any] = []
    for out in outputs:
        if found and out.output_type == found[-1].output_type == "stream":
            found[-1].text += out.text
        else:
            found.append(out)
    return found


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


def up_to_date(target: Path, parameters: Mapping[str, str], needs: Iterable[Path]) -> bool:
    """Whether ``target`` was executed with ``parameters`` and is newer than all that it needs."""
    if not target.is_file():
        return False
    given = nbformat.read(target, as_version=4).metadata.get("companion")
    made = target.stat().st_mtime_ns
    return given == dict(parameters) and all(path.stat().st_mtime_ns < made for path in needs)


def execute(source: Path, target: Path, parameters: Mapping[str, str], home: Path) -> None:
    """Run a notebook by papermill and put the scrubbed result at ``target``, whole or not at all.

    Progress bars of the notebook appear on stderr. ``parameters`` also become the notebook's
    metadata ``companion``, from which the book says how its pages were measured; what the page
    says it was made from, and the fingerprint of its code, become the metadata ``made``.

    Raises:
        SystemExit: the notebook failed; says where the failed copy lies.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part = home / "partial" / source.name
    part.parent.mkdir(parents=True, exist_ok=True)
    made = home / "made" / f"{source.stem}.json"
    made.unlink(missing_ok=True)  # an earlier execution's
    options = [word for name, value in parameters.items() for word in ("-p", name, value)]
    print(f"{source.stem}: papermill {' '.join(options)}", flush=True)
    visible = ["--no-progress-bar", "--stderr-file", "-"]  # "-": papermill's stdout
    run = subprocess.run(
        [sys.executable, "-m", "papermill", str(source), str(part), *options, *visible],
        stdout=sys.stderr,
        # papermill asks for widgets that a terminal does not need
        env={**os.environ, "DIP_HOME": str(home), "PYTHONWARNINGS": "ignore:IProgress not found"},
    )
    if run.returncode:
        sys.exit(f"{source.stem} failed; the copy with the error is {part}; finished runs are kept")
    notebook = nbformat.read(part, as_version=4)
    scrub(notebook)
    if parameters:
        notebook.metadata["companion"] = dict(parameters)
    said = json.loads(made.read_text("utf-8")) if made.is_file() else {}
    notebook.metadata["made"] = said | {"code": code_fingerprint(notebook.cells)}
    nbformat.write(notebook, part)
    os.replace(part, target)
