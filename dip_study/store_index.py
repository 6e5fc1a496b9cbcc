"""What was found in stored files, so that a store of many thousand runs is looked through fast.

The index is a copy of what the files say and is made again when it is lost or damaged. What it says
of a file holds while the file's inode, time and size are the same, and the code is, which decides
what is outdated.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from dip_lib.files import write_atomic


def looked_up(
    files: Iterable[Path | os.DirEntry[str]], look: Callable[[Path], Any], index: Path, code: str
) -> dict[str, Any]:
    """Path of each file -> what ``look`` finds in it; looks only into files that have changed.

    Args:
        look: its findings are plain JSON values.
        index: the file that keeps them; where it cannot be written, nothing is kept.
        code: names the code that has looked.
    """
    kept = _read(index, code)
    found: dict[str, list[Any]] = {}
    for each in files:
        with suppress(FileNotFoundError):  # removed meanwhile
            about, path = each.stat(), os.fspath(each)
            state = [about.st_ino, about.st_mtime_ns, about.st_size]
            before = kept.get(path)
            same = before is not None and before[0] == state
            found[path] = before if before and same else [state, look(Path(path))]
    others = {path: each for path, each in kept.items() if path not in found}
    if any(kept.get(path) is not each for path, each in found.items()):
        alive = {path: each for path, each in others.items() if os.path.exists(path)}
        with suppress(OSError):
            text = json.dumps({"code": code, "files": alive | found})
            write_atomic(index, text.encode())
    return {path: each[1] for path, each in found.items()}


def _read(index: Path, code: str) -> Mapping[str, Any]:
    try:
        kept = json.loads(index.read_bytes())
        return dict(kept["files"]) if kept["code"] == code else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
