"""What callers give is checked at the door, before anything is read, encoded or overwritten.

Each function returns what it was given as plain Python values, whether it came as a list, a
generator, a NumPy array, a pandas column or a tensor, and raises
:class:`dip_lib.errors.BadValueError` for what cannot be meant.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Mapping
from typing import Any

from dip_lib.errors import BadValueError

SHOWN = 60
"""An error shows at most so many characters of a value."""


def shown(value: Any) -> str:
    """The value as Python writes it, cut where it is long."""
    text = " ".join(repr(value).split())
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


def whole(name: str, value: Any, least: int | None = None) -> int:
    """A whole number of at least ``least`` (None: any), as a Python int; True and 3.0 are none."""
    needs = "a whole number" + ("" if least is None else f" of at least {least}")
    try:
        number = operator.index(value)
    except TypeError as error:
        raise BadValueError(name, shown(value), needs) from error
    if isinstance(value, bool) or (least is not None and number < least):
        raise BadValueError(name, shown(value), needs)
    return number


def positive(name: str, value: Any) -> float:
    """A finite number above zero, as a Python float."""
    try:
        number = float(value)
    except (TypeError, ValueError) as error:
        raise BadValueError(name, shown(value), "a number above 0") from error
    if not 0 < number < math.inf:
        raise BadValueError(name, shown(value), "a number above 0")
    return number


def _listed(name: str, values: Any, needs: str) -> list[Any]:
    """The entries of a one-dimensional collection, NumPy's and torch's scalars as Python's."""
    if isinstance(values, str | bytes | Mapping) or getattr(values, "ndim", 1) != 1:
        raise BadValueError(name, shown(values), needs)
    try:
        entries = values.tolist() if hasattr(values, "tolist") else list(values)
    except TypeError as error:
        raise BadValueError(name, shown(values), needs) from error
    return [e.item() if getattr(e, "ndim", None) == 0 else e for e in entries]


def plain_labels(labels: Iterable[Any], name: str = "labels") -> list[Any]:
    """The class of each sample, as Python values.

    Raises:
        BadValueError: a single string, a table, a label that is missing (None, NaN) or a list.
    """
    entries = _listed(name, labels, "a class for each sample, in one dimension")
    try:
        distinct = set(entries)
    except TypeError as error:
        raise BadValueError(name, shown(entries), "one class for each sample") from error
    for each in distinct:
        # NaN, and pandas' NA and NaT, are not equal to themselves
        if each is None or (each == each) is not True:
            raise BadValueError(name, shown(each), "there for every sample: leave such samples out")
    return entries


def plain_names(names: Iterable[Any], name: str = "class_names") -> tuple[str, ...]:
    """Names as a tuple of strings.

    Raises:
        BadValueError: a single string, no names, one that is no string, blank ("", " ", "_"), or
            not text (a folder's name that is not UTF-8).
    """
    if isinstance(names, str):
        raise BadValueError(name, shown(names), f"a list of names, such as [{shown(names)}]")
    entries = tuple(_listed(name, names, "a list of names"))
    if not entries:
        raise BadValueError(name, shown(names), "at least one name")
    for i, each in enumerate(entries):
        if not isinstance(each, str):
            raise BadValueError(f"{name}[{i}]", shown(each), "a string")
        if not each.replace("_", " ").strip():
            raise BadValueError(f"{name}[{i}]", shown(each), "more than blanks")
        try:
            each.encode()
        except UnicodeEncodeError as error:
            needs = "text: rename the folder or file, whose name is not UTF-8"
            raise BadValueError(f"{name}[{i}]", shown(each), needs) from error
    return entries


def plain_context(words: Any) -> str:
    """The words before a class name.

    Raises:
        BadValueError: no string, blank, or a template: "a photo of a {}.".
    """
    if not isinstance(words, str) or not words.strip():
        raise BadValueError("context", shown(words), "words, such as 'a photo of a'")
    if "{" in words or "}" in words:
        bare = " ".join(words.replace("{", " ").replace("}", " ").rstrip(". ").split())
        needs = f"the words before the class name alone, such as {bare!r}: it is no template"
        raise BadValueError("context", shown(words), needs)
    return words
