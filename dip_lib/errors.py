"""Errors in one voice: refusing a name, and telling running out of memory from other faults."""

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


def out_of_memory(error: Exception) -> bool:
    """Whether torch raised ``error`` because memory ran out, on a GPU or on the CPU."""
    import torch  # not above: names are refused where torch is not installed, too

    # the CPU's allocator and oneDNN raise plain RuntimeErrors; oneDNN does not give the reason
    said = ("can't allocate memory", "could not create a primitive")
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or any(
        words in str(error) for words in said
    )
