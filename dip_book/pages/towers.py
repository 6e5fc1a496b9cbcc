"""Page 09: DIP and CoOp on each image encoder, from words and from random vectors.

Gaps are (backbone, start) -> DIP minus CoOp in base, new and H.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product

import pandas as pd

from dip_book.frame import where
from dip_book.interval import Interval
from dip_book.tables import differences, summary

Place = tuple[str, str]
Gaps = Mapping[Place, Mapping[str, Interval]]
WORDS, RANDOM = "words", "16 random vectors"
STARTS = (WORDS, RANDOM)
NAMES = {"base": "base", "new": "new", "h": "H"}


def at(runs: pd.DataFrame, tower: str, start: str, label: str) -> pd.DataFrame:
    """The runs of a label on a backbone, from words or from random vectors."""
    from_words = runs["context"] != ""
    started = from_words if start == WORDS else ~from_words
    return where(runs[started], backbone=tower, label=label)


def gaps(runs: pd.DataFrame, towers: Sequence[str]) -> dict[Place, dict[str, Interval]]:
    """DIP minus CoOp for each backbone and start."""
    return {
        place: differences(at(runs, *place, "DIP"), at(runs, *place, "CoOp"))
        for place in product(towers, STARTS)
    }


def finding(gaps_of: Gaps, towers: Sequence[str]) -> str:
    """The page's finding: H, DIP minus CoOp, with the second backbone and with the first."""
    first, second = (gaps_of[tower, WORDS]["h"] for tower in (towers[0], towers[-1]))
    return (
        f"**Finding.** With the second image encoder ({towers[-1]}), DIP minus CoOp is "
        f"**{second.value:+.1f}** points of H (95 % interval {second.ends('+.1f')}); with "
        f"{towers[0]} it is {first.value:+.1f} ({first.ends('+.1f')})."
    )


def rows(gaps_of: Gaps) -> dict[str, Interval]:
    """Three rows for each backbone and start: base, new and H."""
    return {
        f"{tower}, {start}: {name}": gap[key]
        for (tower, start), gap in gaps_of.items()
        for key, name in NAMES.items()
    }


def breaks(gaps_of: Gaps) -> list[str]:
    """The rows that begin a backbone and start, but for the first."""
    return [f"{tower}, {start}: base" for tower, start in [*gaps_of][1:]]


def averages_table(runs: pd.DataFrame, towers: Sequence[str]) -> pd.DataFrame:
    """Averages with each backbone: the hand-written prompt, then CoOp and DIP from each start."""
    groups = {}
    for tower in towers:
        groups[f"{tower}: zero-shot"] = where(runs, backbone=tower, label="zero-shot")
        for start, label in product(STARTS, ("CoOp", "DIP")):
            groups[f"{tower}: {label}, {start}"] = at(runs, tower, start, label)
    return summary(groups)


def numbers(gaps_of: Gaps, towers: Sequence[str]) -> dict[str, Interval]:
    """The page's numbers: the second backbone and the first from words, the first at random."""
    first, second = towers[0], towers[-1]
    places = {"second": (second, WORDS), "first": (first, WORDS), "random": (first, RANDOM)}
    return {
        f"{name}_dip_minus_coop_{key}": value
        for name, place in places.items()
        for key, value in gaps_of[place].items()
    }
