"""What tells the code of one machine from another's: a worker must have the code of its client."""

from __future__ import annotations

import socket
from functools import cache
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path

import dip_lib
import dip_study


@cache
def code_identity() -> str:
    """ "dip-lib VERSION, code DIGITS": the digits change with any Python file of the library and of
    the studies, and with line ends alone they do not."""
    total = sha256()
    for package in (dip_lib, dip_study):
        root = Path(str(package.__file__)).parent
        for path in sorted(root.rglob("*.py")):
            total.update(f"{package.__name__}/{path.relative_to(root).as_posix()}\0".encode())
            total.update(path.read_bytes().replace(b"\r\n", b"\n") + b"\0")
    return f"dip-lib {version('dip-lib')}, code {total.hexdigest()[:12]}"


def host_and_code() -> tuple[str, str]:
    """The name of this machine, and the identity of its code."""
    return socket.gethostname(), code_identity()
