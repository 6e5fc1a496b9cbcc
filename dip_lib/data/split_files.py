"""Lists of pictures in files, as editors and systems write them: which picture is in which split.

A byte-order mark and backslashes in paths are read. A path that leads out of the folder of
pictures is refused, as is a class without a name.
"""

from __future__ import annotations

import codecs
import json
import os
import re
import unicodedata
from collections import defaultdict
from itertools import chain
from pathlib import Path
from typing import Any

from dip_lib.data.class_tree import SPLITS
from dip_lib.data.names import some
from dip_lib.data.splits import Files

MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",  # as PowerShell's ">" writes
    codecs.BOM_UTF16_BE: "utf-16",
}
"""First bytes of a file -> its encoding; UTF-8 without one."""


def read_text(path: Path) -> str:
    """The text of a file in UTF-8, or in what its byte-order mark says.

    Raises:
        OSError: no such file. UnicodeDecodeError: no text.
    """
    data = path.read_bytes()
    encoding = next((name for mark, name in MARKS.items() if data.startswith(mark)), "utf-8")
    return data.decode(encoding)


def below(listed: str, root: Path) -> str:
    """Where a listed picture lies below ``root``, with slashes, as the disk spells it.

    Backslashes separate folders, unless a file has them in its name. A whole path to a place below
    ``root`` is read, too. An accented letter may be spelled in either Unicode form.

    Raises:
        ValueError: a path that is empty or leads out of ``root``.
    """
    path = listed
    if "\\" in path and not os.path.lexists(root / path):
        path = path.replace("\\", "/")
    if path.startswith("/") or re.match(r"[A-Za-z]:", path):
        start = f"{root.as_posix().rstrip('/')}/"
        if not path.startswith(start):
            raise ValueError(f"{listed!r} is not below {root}: list paths below that folder")
        path = path.removeprefix(start)
    parts = path.split("/")
    if ".." in parts or "\0" in path or not [part for part in parts if part not in ("", ".")]:
        raise ValueError(f"{listed!r} names no file below {root}")
    return path if path.isascii() else _spelled(path, root)


def _spelled(path: str, root: Path) -> str:
    """The path in the Unicode form that the disk has; as it is where there is neither."""
    at, parts = root, list[str]()
    for part in path.split("/"):
        forms = (part, *(unicodedata.normalize(form, part) for form in ("NFC", "NFD")))
        parts.append(next((form for form in forms if os.path.lexists(at / form)), part))
        at = at / parts[-1]
    return "/".join(parts)


def parse_split(text: str, path: Path, root: Path, remedy: str) -> tuple[list[str], Files]:
    """Class names and files of ``{"train": [[path, label, class name], ...], "val":, "test":}``.

    Args:
        text: of the file at ``path``.
        root: the folder that the listed paths start at.
        remedy: what brings a sound file.

    Raises:
        ValueError: another layout, no picture at all, labels that do not count from 0 or have
            several names, a class without a name, a path that leads out of ``root``.
    """
    try:
        split = json.loads(text)
        listed = {s: [_entry(entry) for entry in split[s]] for s in SPLITS}
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        expected = f"{', '.join(SPLITS)} with lists of [path, label, class name]"
        raise ValueError(f"{path} does not hold {expected}: {error!r}. {remedy}") from error
    if not any(listed.values()):
        raise ValueError(f"{path} lists no pictures. {remedy}")
    named: dict[int, set[str]] = defaultdict(set)
    for _, label, name in chain(*listed.values()):
        named[label].add(name.replace("_", " "))
    if torn := [f"{label} = {sorted(names)}" for label, names in named.items() if len(names) > 1]:
        raise ValueError(f"{path} gives labels several names, {some(torn)}")
    if blank := [str(label) for label, names in sorted(named.items()) if not _is_name(*names)]:
        raise ValueError(f"{path} has no name for labels {some(blank)}: write one for each class")
    if odd := [str(label) for label in sorted(named.keys() ^ set(range(len(named))))]:
        raise ValueError(f"{path}: labels must count from 0 without gaps; odd are {some(odd)}")
    try:
        files = {s: [(below(p, root), label) for p, label, _ in listed[s]] for s in SPLITS}
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return [named[label].pop() for label in sorted(named)], files


def _entry(entry: Any) -> tuple[str, int, str]:
    """[path, label, class name]; a name may be a number, and null is ""."""
    if not isinstance(entry, list) or len(entry) != 3:
        raise TypeError(f"{entry!r} is no [path, label, class name]")
    path, label, name = entry
    if not isinstance(path, str):
        raise TypeError(f"the path {path!r} is no text")
    if isinstance(name, bool) or not isinstance(name, str | int | None):
        raise TypeError(f"the class name {name!r} is no text")
    return path, whole_number(label), "" if name is None else str(name)


def _is_name(name: str) -> bool:
    """Whether it has a letter, digit or sign, and can be written as UTF-8."""
    try:
        return bool(name.strip()) and bool(name.encode())
    except UnicodeEncodeError:
        return False


def whole_number(label: Any) -> int:
    """A label that is a whole number, also as text ("3") or as 3.0.

    Raises:
        TypeError: anything else.
    """
    if isinstance(label, str) and re.fullmatch(r"\d{1,9}", label.strip()):
        return int(label)
    if isinstance(label, int | float) and not isinstance(label, bool) and label == label // 1:
        return int(label)
    raise TypeError(f"the label {label!r} is no whole number")
