"""What a page computes without runs, kept as runs are: on this machine, and in ``results/kept``.

Searches and invariances take minutes, and no run holds them. What is kept names the settings, code
and weights that made it, and is read only while these are the same.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from dip_lib.errors import NotMeasuredError
from dip_lib.files import write_atomic
from dip_lib.machine import cpu_name
from dip_lib.methods.identity import module_identity
from dip_lib.paths import home, results_dir

Record = dict[str, Any]
FOLDER = "kept"


def identity(modules: Sequence[ModuleType], *of: str) -> str:
    """16 digits of the code of modules, without comments and layout, and of what else decides a
    result: a run's key, the weights of towers."""
    parts = [*map(module_identity, modules), *of]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def kept(name: str, made_by: str, results: str, compute: Callable[[], Record]) -> Record:
    """What ``compute`` returns, a JSON object, from where it was kept.

    Args:
        name: of the file, without its ending.
        made_by: identity of what makes it; kept under another it is made anew.
        results: "stored": this machine's, else the committed one; "missing": and if there is
            neither, it is computed and kept on this machine; "fresh": this machine's alone, or
            computed.

    Raises:
        NotMeasuredError: ``results="stored"``, and it is not kept.
    """
    own = home() / FOLDER / f"{name}.json"
    committed = results_dir() / FOLDER / own.name
    for path in (own,) if results == "fresh" else (own, committed):
        if path.is_file():
            there = json.loads(path.read_text("utf-8"))
            if there["made_by"] == made_by:
                value: Record = there["value"]
                return value
    if results == "stored":
        how = (
            f"{name} was not computed with these settings, code and weights. Compute it: run the "
            "notebook with results='missing'."
        )
        raise NotMeasuredError(1, 1, how)
    value = compute()
    there = {"made_by": made_by, "machine": cpu_name(), "value": value}
    text = json.dumps(there, indent=1) + "\n"
    write_atomic(own, text.encode())
    return value


def export(names: Iterable[str], target: Path) -> None:
    """Copy what this machine keeps by these names into the folder ``kept`` of ``target``."""
    (target / FOLDER).mkdir(parents=True, exist_ok=True)
    for name in names:
        if (own := home() / FOLDER / f"{name}.json").is_file():
            shutil.copy(own, target / FOLDER)
