"""Files compared by content, since a touched file has not changed; and where a page's files go."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

BOOK = "DIP_PAGE"
"""Variable that names the folder of a page that is executed for the book; set by book/execute.py.
"""


def fingerprint(files: Iterable[Path]) -> str:
    """16 digits that change when a file is added, removed, renamed or written anew.

    Of a notebook only its cells count, not its outputs.
    """
    whole = hashlib.sha256()
    for path in sorted(files):
        if path.suffix == ".ipynb":
            cells = json.loads(path.read_bytes())["cells"]  # the plain install has no nbformat
            code = [
                (each["cell_type"], each["metadata"], "".join(each["source"])) for each in cells
            ]
            content = json.dumps(code, sort_keys=True).encode()
        else:
            content = path.read_bytes()
        part = hashlib.sha256(content).hexdigest()
        whole.update(f"{path.parent.name}/{path.name} {part}\n".encode())
    return whole.hexdigest()[:16]
