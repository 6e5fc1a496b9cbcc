"""The types of a profile's values, as :class:`dip_study.profiles.Profile` annotates them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args, get_origin, get_type_hints

WORDS = {str: "text", int: "a whole number", float: "a number", bool: "true or false", Any: "any"}


def check_types(of: type, values: Mapping[str, Any], where: str) -> None:
    """Check the values of a file against the annotations of a dataclass, by name.

    Args:
        where: what the values were read from, for the message.

    Raises:
        ValueError: a value of another type; says which, and what it must be.
    """
    hints = get_type_hints(of)
    for name, value in values.items():
        if not _fits(value, hints[name]):
            raise ValueError(f"{where}: {name} = {value!r} must be {_words(hints[name])}")


def _fits(value: Any, hint: Any) -> bool:
    if hint is Any:
        return True
    if hint in (int, float):  # true and false are no numbers here
        return isinstance(value, int | hint) and not isinstance(value, bool)
    if get_origin(hint) is tuple:
        each = get_args(hint)[0]
        return isinstance(value, list | tuple) and all(_fits(v, each) for v in value)
    if get_origin(hint) is Mapping:
        _, each = get_args(hint)
        return isinstance(value, Mapping) and all(_fits(v, each) for v in value.values())
    return isinstance(value, hint)


def _words(hint: Any) -> str:
    """A type in words."""
    if get_origin(hint) is tuple:
        return f"a list, each {_words(get_args(hint)[0])}"
    if get_origin(hint) is Mapping:
        return f"a table, each {_words(get_args(hint)[1])}"
    return WORDS.get(hint, getattr(hint, "__name__", str(hint)))
