"""Names of files and classes in one form, so that every machine compares, sorts and hashes alike.

A Mac's archives spell an accented letter as two characters (NFD), most other systems as one (NFC).
"""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence

from dip_lib.checks import plain_names

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


class Twin(str):
    """A class name that a published list gives to a second class too, and that stays as it is.

    ImageNet's has two: "missile" and "sunglasses". As in the peers, both classes get the same
    text, so ``argmax`` always names the first, and every picture of the second counts as wrong.
    """


def check_class_names(names: Sequence[str]) -> None:
    """Refuse class names that give the same prompt: two classes could not be told apart.

    CLIP's tokenizer ignores case, and ``_`` is a space. A :class:`Twin` is allowed.

    Raises:
        ValueError: naming the duplicates; names that are blank or no strings.
    """
    names = plain_names(names)
    same: dict[str, list[str]] = defaultdict(list)
    for name in (name for name in names if not isinstance(name, Twin)):
        same[" ".join(nfc(name).replace("_", " ").lower().split())].append(name)
    _refuse(same.values(), "duplicate class names")


def check_tokens(names: Sequence[str], tokens: Sequence[Sequence[int]]) -> None:
    """Refuse class names that a tokenizer makes the same tokens of, such as "rock & roll" and
    "rock &amp; roll", or a typographic and a plain apostrophe. A :class:`Twin` is allowed.

    Raises:
        ValueError: naming them.
    """
    same: dict[tuple[int, ...], list[str]] = defaultdict(list)
    for name, ids in zip(names, tokens, strict=True):
        if not isinstance(name, Twin):
            same[tuple(ids)].append(name)
    _refuse(same.values(), "duplicate class names for the tokenizer")


def _refuse(groups: Iterable[list[str]], what: str) -> None:
    """Raise ValueError if any group has more than one name."""
    if twins := [group for group in groups if len(group) > 1]:
        listed = "; ".join(" = ".join(map(_shown, group)) for group in twins)
        raise ValueError(f"{what}: {listed}. Give every class a name of its own.")


def _shown(name: str) -> str:
    """In quotes; where two spellings look alike, with the numbers of its characters."""
    return repr(name) if name == nfc(name) else ascii(name)
