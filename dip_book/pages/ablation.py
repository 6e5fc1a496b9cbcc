"""Page 11: one setting at a time, from the book's DIP and from CoOp, in each world.

Groups are frames of runs by what was changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from dip_book import worlds
from dip_book.frame import as_read, where
from dip_book.interval import Interval
from dip_book.tables import average_of, differences, shrunk, summary

Groups = Mapping[str, pd.DataFrame]
COOP = {"label": "CoOp", "dropout": 0.0}
DIP = {"label": "DIP", "rank": 1, "dropout": 0.5, "site": "update"}
"""The settings from which one is changed."""
BOOK = "DIP (words, rank 1, dropout)"
WORDLESS = ("without frozen words", "CoOp from random vectors")
SITES = ("update", "rows", "columns", "prompt")


def from_words(runs: pd.DataFrame, method: Mapping[str, Any], **changed: Any) -> pd.DataFrame:
    """Runs of :data:`COOP` or :data:`DIP` that start from words, with some settings changed."""
    return where(runs[runs["context"] != ""], **{**method, **changed})


def from_vectors(runs: pd.DataFrame, method: Mapping[str, Any], count: int) -> pd.DataFrame:
    """Runs of :data:`COOP` or :data:`DIP` that start from so many random vectors."""
    return where(runs, context="", vectors=count, **method)


def groups(runs: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The settings of the first table, by what was changed."""
    return {
        "CoOp (words, full rank)": from_words(runs, COOP),
        BOOK: from_words(runs, DIP),
        "without dropout": from_words(runs, DIP, dropout=0.0),
        "rank 2": from_words(runs, DIP, rank=2),
        "rank 4": from_words(runs, DIP, rank=4),
        "rank 4, without dropout": from_words(runs, DIP, rank=4, dropout=0.0),
        "without frozen words": from_vectors(runs, DIP, 4),
        "CoOp with dropout of its prompt": from_words(runs, COOP, dropout=0.5, site="prompt"),
        "CoOp from random vectors": from_vectors(runs, COOP, 4),
    }


def frozen_words(groups: Groups) -> dict[str, Interval]:
    """DIP minus DIP without its frozen words."""
    return differences(groups[BOOK], groups["without frozen words"])


def steps(groups: Groups) -> dict[str, Interval]:
    """The differences that the finding speaks of, by what they are in words."""
    dropout, rank = (
        differences(groups[name], groups[BOOK])["new"] for name in ("without dropout", "rank 4")
    )
    return {
        "DIP minus DIP without frozen words in H": frozen_words(groups)["h"],
        "DIP without dropout minus DIP on new classes": dropout,
        "DIP of rank 4 minus DIP on new classes": rank,
    }


def finding(found: Mapping[str, Groups]) -> str:
    """The page's finding: whether the worlds disagree, then what was found in each."""
    by_world = {world: steps(groups) for world, groups in found.items()}
    disagreements = [
        worlds.disagreement({world: each[what] for world, each in by_world.items()}, what)
        for what in next(iter(by_world.values()))
    ]
    said = {world: _found(*each.values()) for world, each in by_world.items()}
    return "".join(disagreements) + worlds.paragraphs(said, "Finding")


def _found(words: Interval, dropout: Interval, rank: Interval) -> str:
    """What the frozen words, dropout and the rank do."""
    return (
        f"With the frozen words DIP has **{words.value:+.1f}** points of H more than "
        f"without (95 % interval {words.ends('+.1f')}). Leaving out dropout moves new classes by "
        f"{dropout:+.1f}, rank 4 in place of 1 by {rank:+.1f}."
    )


def new_differences(groups: Groups) -> dict[str, Interval]:
    """New-class accuracy of each group minus that of the book's DIP."""
    return {
        name: differences(runs, groups[BOOK])["new"]
        for name, runs in groups.items()
        if name != BOOK
    }


def with_words(rows: Mapping[str, Interval]) -> dict[str, Interval]:
    """The rows of settings that start from words: the others start much lower."""
    return {name: row for name, row in rows.items() if name not in WORDLESS}


def site_table(runs: pd.DataFrame) -> pd.DataFrame:
    """Averages of DIP with dropout in each of its places."""
    return summary({f"dropout of {site}": from_words(runs, DIP, site=site) for site in SITES})


def length_table(runs: pd.DataFrame, lengths: tuple[int, ...]) -> pd.DataFrame:
    """Averages of CoOp and DIP from prompts of each number of random vectors."""
    rows = {}
    for n in lengths:
        for name, method in (("CoOp", COOP), ("DIP", DIP)):
            rows[f"{name}, {n} vectors"] = from_vectors(runs, method, n)
    return summary(rows)


def penalty_table(runs: pd.DataFrame) -> pd.DataFrame:
    """Averages and ID_1 of DO and PP at every weight of their term, as read, too, where held."""
    penalised = runs[runs["label"].isin(["DO", "PP"])]
    rows = {
        f"{label}, λ = {weight:g}": each
        for (label, weight), each in penalised.groupby(["label", "weight"])
    }
    reads = {name: as_read(each) for name, each in rows.items()}
    table = summary(rows).round(1).assign(**{"ID₁": _densities(rows)})
    held = {name: each for name, each in reads.items() if each is not None}
    return table.assign(**{"as-read ID₁": _densities(held)}) if held else table


def _densities(groups: Groups) -> pd.Series:
    density = {name: average_of(each, "id1").value for name, each in groups.items()}
    return pd.Series(density).round(2)


# ---- CoOp's prompts made smaller ----------------------------------------------------------------


def smaller_table(groups: Groups) -> pd.DataFrame:
    """CoOp's trained prompts changed afterwards, a row a way, and the book's DIP below."""
    table = shrunk(groups["CoOp (words, full rank)"])
    table.loc["DIP"] = summary({"DIP": groups[BOOK]})[["base", "new", "H"]].iloc[0]
    return table


def nearest(tables: Mapping[str, pd.DataFrame]) -> str:
    """Which way of each world's :func:`smaller_table` comes nearest to DIP on base classes."""
    return worlds.paragraphs({world: _nearest(table) for world, table in tables.items()})


def _nearest(table: pd.DataFrame) -> str:
    dip, ways = table.loc["DIP"], table.drop("DIP")
    near = (ways["base"] - dip["base"]).abs().idxmin()
    return (
        f"The one that comes nearest to DIP on base classes is *{near}*: base "
        f"{ways.loc[near, 'base']:.1f} and new {ways.loc[near, 'new']:.1f}, against "
        f"{dip['base']:.1f} and {dip['new']:.1f} of DIP."
    )


# ---- numbers ------------------------------------------------------------------------------------


def numbers(groups: Groups) -> dict[str, Interval]:
    """The page's numbers: the frozen words, no dropout, rank 4."""
    parts = {
        "frozen_branch": frozen_words(groups),
        "no_dropout": differences(groups["without dropout"], groups[BOOK]),
        "rank4": differences(groups["rank 4"], groups[BOOK]),
    }
    return {f"{name}_{key}": value for name, part in parts.items() for key, value in part.items()}
