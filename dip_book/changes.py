"""Verdicts that changed when the intervals were made anew, each with the reason.

``book/verdicts_before.toml`` holds what the scoreboard had said before, of the claims and worlds
whose verdict changed; what it says now is read from the numbers.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from dip_book.claims import VERDICTS
from dip_lib.errors import one_of

BEFORE = "verdicts_before.toml"
Row = dict[str, Any]


def changes(path: Path, rows: Iterable[Row]) -> list[Row]:
    """A row for each verdict that changed: id, claim, world, before, now and why.

    Args:
        path: a table for each claim and world, ``[dip-h.photos]``, with ``verdict``, ``value``
            (with its interval, as it was printed) and ``why``.
        rows: of ``dip_book.scoreboard.scoreboard``.

    Raises:
        ValueError: an unknown claim, world or verdict.
        KeyError: a missing field.
    """
    known = {row["id"]: row for row in rows}
    found = []
    for name, worlds in tomllib.loads(path.read_text("utf-8")).items():
        row = known[one_of(f"claim in {path.name}", name, known)]
        for world, before in worlds.items():
            now = row["judged"][one_of(f"world of {name} in {path.name}", world, row["judged"])]
            was = one_of(f"verdict in {path.name}", before["verdict"], VERDICTS)
            kept = {"id": name, "claim": row["claim"], "world": world, "now": now}
            found.append(kept | {"before": was, "value": before["value"], "why": before["why"]})
    return found
