"""What a shared folder must not tell: whose machine it was made on, and where things lie there."""

from __future__ import annotations

import getpass
import json
import os
import re
import socket
import struct
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dip_lib.errors import ShareError
from dip_lib.paths import home, results_dir, root

ANYBODY = frozenset(("root", "user", "admin", "ubuntu", "debian", "localhost", "dip", "clip"))
"""Names of users and machines that tell nobody's; the last two are words of every share."""
PATH = re.compile(r"""(?:^|[\s"'`(\[{=,;<>|])(?:file:/*|~\w*/|/[\w.~-])""")
"""How the path of a file begins, on Linux and macOS; an address of the web does not match."""
DRIVE = re.compile(r"(?<![A-Za-z])[A-Za-z]:\\")
NAMED = 3
"""A shorter name of a user or machine is found in too many words to mean anything."""


@dataclass(frozen=True)
class Known:
    """What is known of this machine and its user: ``places`` are found anywhere in a text,
    ``names`` as whole words."""

    places: tuple[str, ...]
    names: tuple[str, ...]


def known_here() -> Known:
    """The home folder, DATA, DIP_HOME and the like; the user's and the machine's names."""
    data = os.environ.get("DATA", "")
    folders = [Path.home(), home(), results_dir(), Path.cwd(), root() or home()]
    folders += [Path(data)] if data else []
    places = {str(each) for each in folders} | {str(each.resolve()) for each in folders}
    host = socket.gethostname()
    names = {_user(), Path.home().name, host, host.partition(".")[0]}
    return Known(
        tuple(sorted(each for each in places if each.startswith("/") and len(each) > NAMED)),
        tuple(sorted(each for each in names if len(each) >= NAMED and each not in ANYBODY)),
    )


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user has no name
        return ""


def check_private(folder: Path, known: Known | None = None) -> None:
    """Raise ShareError for a file of a folder, or its name, that tells a path, a user or a machine.

    Every text is read; of feature packs, whose features are numbers, the header. Class names are
    not taken for a user's, which some of them are.
    """
    about = known or known_here()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            name = path.relative_to(folder).as_posix()
            for text, is_name in {*_texts(path), (name, False)}:
                if found := _found(text, about, is_name):
                    remedy = (
                        "Nothing was shared. Make what it comes from again without it (a profile, "
                        "`--note` of a pack, weights given as a file, a run that failed)"
                    )
                    raise ShareError(name, f"it tells {found}", remedy)


def _found(text: str, known: Known, is_class: bool) -> str:
    """What a text tells, in words; "" if nothing. Of the name of a class a user's is no sign."""
    for place in known.places:
        if place in text:
            return f"the folder {place}"
    if match := PATH.search(text) or DRIVE.search(text):
        return f"a path, {text[match.start() : match.start() + 60].strip()!r}"
    for name in () if is_class else known.names:
        if re.search(rf"(?<![^\W_]){re.escape(name)}(?![^\W_])", text):
            return f"the name {name!r} of a user or a machine"
    return ""


def _texts(path: Path) -> Iterator[tuple[str, bool]]:
    """Every string in a file, and whether it is the name of a class."""
    if path.suffix == ".safetensors":
        yield from _of_header(path)
        return
    raw = path.read_text("utf-8", errors="replace")
    try:
        values: Any = tomllib.loads(raw) if path.suffix == ".toml" else json.loads(raw)
    except ValueError:
        values = raw
    if path.suffix == ".toml":
        yield raw, False  # its comments, too
    yield from _strings(values)


def _of_header(path: Path) -> Iterator[tuple[str, bool]]:
    """The strings in the header of a safetensors file; of its entry "pack" those inside."""
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
    for name, text in header.pop("__metadata__", {}).items():
        yield name, False
        try:
            yield from _strings(json.loads(text))
        except ValueError:
            yield text, False
    yield from _strings(header)


def _strings(value: Any, is_class: bool = False) -> Iterator[tuple[str, bool]]:
    """Every string in a JSON value, names of entries included."""
    if isinstance(value, dict):
        for name, each in value.items():
            yield name, False
            yield from _strings(each, name in ("class_names", "groups"))
    elif isinstance(value, list):
        for each in value:
            yield from _strings(each, is_class)
    elif isinstance(value, str):
        yield value, is_class
