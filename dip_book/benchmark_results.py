"""What a program of ``benchmarks/`` measured: committed, or on this machine."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from dip_book.content import fingerprint
from dip_lib.files import write_atomic
from dip_lib.paths import home, results_dir, root


def benchmark_result(name: str, device: str, results: str, smoke: bool) -> dict[str, Any]:
    """What ``benchmarks/<name>.py`` measured: the last short run of this machine, else the
    committed file.

    Args:
        device: of a run that is made now.
        results: "fresh" makes a short run if there is none of the present programs, "missing" if
            there is neither that nor a committed file.
        smoke: runs of their own, which measure nothing.

    Raises:
        LookupError: nothing is stored, or the benchmarks are not here (they come with the
            repository, not with the installed package).
    """
    path = home() / "benchmarks" / ("smoke" if smoke else "") / f"{name}.json"
    committed = results_dir() / "benchmarks" / path.name
    if results == "fresh" or not (path.is_file() or committed.is_file()):
        if results == "stored":
            raise LookupError(f"{committed} is missing: run `python benchmarks/{name}.py`")
        _measure(name, path, device, "--smoke" if smoke else "--quick")
    elif not path.is_file():
        path = committed
    result: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return result


def _measure(name: str, path: Path, device: str, length: str) -> None:
    """Write a run of this length to ``path``, unless it has one of the present programs and
    device."""
    if (checkout := root()) is None:
        raise LookupError(
            "the benchmarks are programs of the repository: clone it to measure them, or "
            "use results='stored'"
        )
    programs, made_by = checkout / "benchmarks", path.with_suffix(".made-by")
    content = f"{fingerprint(programs.glob('*.py'))} {device}"
    if path.is_file() and made_by.is_file() and made_by.read_text("utf-8") == content:
        return
    options = [length, "--device", device, "--out", str(path)]
    command = [sys.executable, str(programs / f"{name}.py"), *options]
    subprocess.run(command, check=True, stdout=2)  # its table is progress, not of the page
    write_atomic(made_by, content.encode())
