"""Names of files and classes in one form, so that every machine compares, sorts and hashes alike.

A Mac's archives spell an accented letter as two characters (NFD), most other systems as one (NFC).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

NAMED = 10
"""A message names at most so many."""


def nfc(name: str) -> str:
    """The name in Unicode's composed form."""
    return unicodedata.normalize("NFC", name)


def by_name(name: str) -> tuple[str, str]:
    """What names and paths are sorted by."""
    return nfc(name), name


def encoded(name: str) -> bytes:
    """The name in one form as bytes; bytes of a file name that are no UTF-8 stay as they are."""
    return nfc(name).encode("utf-8", "surrogateescape")


def some(what: Sequence[str]) -> str:
    """The first ten, with the count of all."""
    return f"{len(what)}: {', '.join(what[:NAMED])}{', …' * (len(what) > NAMED)}"
