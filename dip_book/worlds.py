"""Several worlds beside each other: one table, one list of rows, whether they agree.

What a page shows is a mapping from the world's name to what it found there; with one world alone
everything looks as if there were no worlds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import pandas as pd

from dip_book.interval import Interval
from dip_lib.data.dataset import dataset_title

T = TypeVar("T")


def table(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The tables one below the other, with the world as the first level of the rows' index.

    Tables without rows are left out.
    """
    only, *others = tables.values()
    shown = {world: each for world, each in tables.items() if len(each)}
    return pd.concat(shown) if others and shown else only


def beside(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The tables beside each other, with the world as the first level of the columns.

    Rows are in the order of the longest table.
    """
    only, *others = tables.values()
    if not others:
        return only
    whole = pd.concat(tables, axis=1)
    longest = max(tables.values(), key=len).index
    return whole.reindex([*longest, *whole.index.difference(longest, sort=False)])


def together(runs: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The runs of all worlds; a world may have none."""
    first, *_ = runs.values()
    some = [each for each in runs.values() if len(each)]
    return pd.concat(some) if some else first


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
    if len(found) == 1:
        (world,) = found
        return dict(found[world]), [*(breaks or {}).get(world, ())]
    named = {f"{world}: {name}": row for world, part in found.items() for name, row in part.items()}
    starts = [f"{world}: {next(iter(part))}" for world, part in found.items() if part][1:]
    inner = [f"{world}: {name}" for world, names in (breaks or {}).items() for name in names]
    return named, [name for name in named if name in {*starts, *inner}]


def paragraphs(said: Mapping[str, str], heading: str = "") -> str:
    """What is said of each world, a paragraph each: "**Finding in Photo World.** ...".

    Args:
        said: world -> text.
        heading: what it is: "Finding". Without one a paragraph begins with the world alone.
    """
    if len(said) == 1:
        (text,) = said.values()
        return f"**{heading}.** {text}" if heading else text
    start = f"{heading} in " if heading else ""
    return "\n\n".join(f"**{start}{world}.** {text}" for world, text in said.items())


def disagreement(found: Mapping[str, Interval], what: str, digits: str = "+.1f") -> str:
    """Whether the worlds disagree on a difference: a sentence, or "" where they do not.

    They do when the interval of one lies above zero and that of another below; where only some
    decide its sign, that is said.

    Args:
        found: world -> the difference.
        what: the difference in words: "DIP minus CoOp in H".
        digits: how its values are written.
    """
    signs = {world: interval.sign for world, interval in found.items()}
    values = ", ".join(f"{found[world]:{digits}} in {world}" for world in signs)
    if {1, -1} <= {*signs.values()}:
        return f"**The worlds disagree** on {what}: {values}. "
    decided = [world for world, sign in signs.items() if sign]
    if decided and len(decided) < len(signs):
        return f"**Only {' and '.join(decided)} decides** the sign of {what}: {values}. "
    return ""


def titled(table: pd.DataFrame) -> pd.DataFrame:
    """The table with the datasets in its index by their titles, as readers know them."""
    return table.rename(index=dataset_title)
