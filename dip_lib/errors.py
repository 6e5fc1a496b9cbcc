"""One way of refusing a name: say the value, the nearest valid names, and all of them."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def one_of(kind: str, value: str, choices: Iterable[str]) -> str:
    """Return ``value`` if it is one of ``choices``.

    Args:
        kind: what the value names, for the message ("profile", "dataset", ...).
        value: the name to check.
        choices: every valid name.

    Raises:
        ValueError: names the value, the nearest valid names and all valid names.
    """
    names = sorted(choices)
    if value in names:
        return value
    near = get_close_matches(str(value), names, n=3, cutoff=0.5)
    hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
    raise ValueError(f"unknown {kind} {value!r}.{hint} Valid: {', '.join(names)}.")
