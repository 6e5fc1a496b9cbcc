"""Several worlds beside each other: one table, one list of rows, one sentence on whether they agree.

What a page shows is a mapping from the world's name to what it found there; with one world alone
everything looks as if there were no worlds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import pandas as pd

from dip_book.statistics import Interval
from dip_lib.data.dataset import dataset_title

T = TypeVar("T")


def table(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The tables one below the other, with the world as the first level of the rows' index."""
    only, *others = tables.values()
    return pd.concat(tables) if others else only


def rows(
    found: Mapping[str, Mapping[str, T]], breaks: Mapping[str, list[str]] | None = None
) -> tuple[dict[str, T], list[str]]:
    """The rows of every world in one mapping, for a figure of rows.

    Args:
        found: world -> name -> row.
        breaks: world -> names before which that world's rows leave a gap.

    Returns:
        The rows, named "world: name" where there are several worlds, and where gaps are: before
        each world's first row, too.
    """
    several = len(found) > 1
    named = {
        (f"{world}: {name}" if several else name): row
        for world, part in found.items()
        for name, row in part.items()
    }
    gaps = [next(iter(part)) for part in found.values() if part][1:] if several else []
    starts = [
        f"{world}: {next(iter(part))}" for world, part in [*found.items()][1:] if several and part
    ]
    inner = [
        f"{world}: {name}" if several else name
        for world, names in (breaks or {}).items()
        for name in names
    ]
    return named, [name for name in named if name in {*starts, *inner}] if gaps or inner else []


def disagreement(found: Mapping[str, Interval], what: str) -> str:
    """A sentence when one world's interval lies above zero and another's below; else "".

    Args:
        found: world -> a difference.
        what: the difference in words: "DIP minus CoOp in H".
    """
    signs = {world: interval.sign for world, interval in found.items()}
    if not {1, -1} <= set(signs.values()):
        return ""
    said = ", ".join(f"{found[world].value:+.1f} in {world}" for world in signs)
    return f"**The worlds disagree** on {what}: {said}. "


def named(table: pd.DataFrame) -> pd.DataFrame:
    """The table with datasets in its index by their titles, as readers know them."""
    return table.rename(index=dataset_title)
