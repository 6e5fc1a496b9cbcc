"""A claim's measured number in one world, as its notebook wrote it, and what it rests on.

Each notebook writes its numbers to ``<numbers>/<notebook>.json``: those of its first world under
plain keys, those of a further one under keys with that world before them, "photos/key".
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from dip_book.claims import ANY, FEWEST, Claim
from dip_book.interval import Interval
from dip_book.significance import sign_flip, skew, t_test

Record = dict[str, Any]


def find_number(claim: Claim, world: str, numbers_dir: Path) -> Record | None:
    """The claim's entry in its notebook's numbers, if measured in that world.

    It is looked for under "world/key" first: there a page of several worlds has those of the
    second and later ones. A count takes the plain key, whatever its world.
    """
    notebook, _, key = claim.key.partition("/")
    path = numbers_dir / f"{notebook}.json"
    if not path.is_file():
        return None
    numbers = json.loads(path.read_text("utf-8"))
    for number in (numbers.get(f"{world}/{key}"), numbers.get(key)):
        if number is None or number.get("value") is None:
            continue
        if world in (ANY, number.get("world", "embedded")):
            return dict(number)
    return None


def interval_of(claim: Claim, number: Record) -> Interval:
    """The number's interval over what the claim names, its estimand; units are new datasets'.

    Without an interval a count is exact and anything else boundless.
    """
    value, these = float(number["value"]), number.get("these")
    if claim.counts:
        return Interval(value, value, value)
    if claim.estimand == "these datasets":
        low, high = these or (-math.inf, math.inf)
        return Interval(value, low, high)
    low, high = number.get("low"), number.get("high")
    if low is None or high is None:
        return Interval(value, -math.inf, math.inf)
    ends = (these[0], these[1]) if these else None
    return Interval(value, float(low), float(high), ends, tuple(number.get("units", ())))


def half_width(interval: Interval) -> float | None:
    """Half the width of an interval; of one without bounds None."""
    half = (interval.high - interval.low) / 2
    return half if math.isfinite(half) else None


def too_few(claim: Claim, number: Record) -> str:
    """Why a number rests on too few datasets to be judged; or ""."""
    if claim.same_everywhere:
        return ""
    if reason := number.get("undecided"):
        return f"decides nothing: {reason}"
    n = number.get("n")
    if n is None or n >= FEWEST:
        return ""
    return f"rests on {n} dataset{'s' if n > 1 else ''}, fewer than {FEWEST}"


def p_values(claim: Claim, interval: Interval) -> Record:
    """p of Student's test and of the sign flips against the claim's bound, and the units' skew.

    None without units.
    """
    if len(interval.units) < 2:
        return dict.fromkeys(("p", "sign_flip", "skew"))
    units, bound = interval.units, claim.bound
    return {"p": t_test(units, bound), "sign_flip": sign_flip(units, bound), "skew": skew(units)}
