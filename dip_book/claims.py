"""The paper's claims against what was measured: one verdict each, by rules fixed beforehand.

``book/claims.toml`` holds the claims with thresholds and tolerances, committed before measuring;
each notebook writes its numbers to ``<numbers>/<notebook>.json``.
"""

from __future__ import annotations

import json
import math
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dip_book.interval import Interval
from dip_lib.errors import one_of

DIRECTIONS = (">=", ">", "<=", "<", "==")
WORLDS = ("embedded", "paper", "any")


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One claim; the fields are explained at the top of ``book/claims.toml``.

    Raises:
        ValueError: an unknown direction or world, a negative tolerance, or a claim measured in
            the world "paper" without command and cost.
    """

    id: str
    text: str
    source: str
    statistic: str
    key: str
    notebook: str
    world: str
    direction: str
    threshold: float
    tolerance: float
    why: str
    command: str = ""
    cost: str = ""

    def __post_init__(self) -> None:
        one_of(f"direction of claim {self.id!r}:", self.direction, DIRECTIONS)
        one_of(f"world of claim {self.id!r}:", self.world, WORLDS)
        if not self.tolerance >= 0:
            raise ValueError(f"claim {self.id!r}: tolerance {self.tolerance} is below 0")
        if self.world == "paper" and not (self.command and self.cost):
            raise ValueError(f"claim {self.id!r}: command and cost of measuring it are missing")

    @property
    def counts(self) -> bool:
        """Whether this is an exact count, which needs no interval."""
        return self.direction == "==" and self.tolerance == 0


def load_claims(path: Path) -> list[Claim]:
    """The claims of a TOML file.

    Raises:
        ValueError: two claims with the same id, or a claim with a wrong value.
        TypeError: a claim with a missing or an unknown field, naming it.
    """
    claims = [Claim(**each) for each in tomllib.loads(path.read_text("utf-8"))["claim"]]
    ids = [claim.id for claim in claims]
    if twice := sorted({each for each in ids if ids.count(each) > 1}):
        raise ValueError(f"{path}: duplicate claim ids {twice}")
    return claims


def verdict(claim: Claim, interval: Interval | None) -> str:
    """What an interval says about a claim.

    With the threshold loosened by the tolerance: "reproduced" if the whole interval satisfies the
    claim, "not reproduced" if none of it does, "inconclusive" otherwise (also when an end is not a
    number), "not measured" without an interval. For "==" the claim is the range threshold +-
    tolerance, so an interval wider than that range is never "reproduced".
    """
    if interval is None:
        return "not measured"
    low, high = interval.low, interval.high
    if math.isnan(low) or math.isnan(high) or math.isnan(interval.value):
        return "inconclusive"
    bottom, top = claim.threshold - claim.tolerance, claim.threshold + claim.tolerance
    whole, none = {
        ">=": (low >= bottom, high < bottom),
        ">": (low > bottom, high <= bottom),
        "<=": (high <= top, low > top),
        "<": (high < top, low >= top),
        "==": (bottom <= low and high <= top, high < bottom or low > top),
    }[claim.direction]
    return "reproduced" if whole else "not reproduced" if none else "inconclusive"


def scoreboard(claims_path: Path, numbers_dir: Path) -> list[dict[str, Any]]:
    """One row a claim, in the file's order, for the table in the book.

    A number counts only for claims of its own world (its entry "world", by default "embedded"), and
    not when its entry "undecided" says why it decides nothing.

    Returns:
        Rows with keys id, claim, source, world, value (or None), interval ((low, high) or None),
        verdict, notebook, detail (why: the rule, or how to measure it) and statistic.
    """
    rows = []
    for claim in load_claims(claims_path):
        number = _number(claim, numbers_dir)
        decides = number is not None and not number.get("undecided")
        interval = _interval(claim, number) if number and decides else None
        bounded = interval is not None and math.isfinite(interval.high - interval.low)
        rows.append(
            {
                "id": claim.id,
                "claim": claim.text,
                "source": claim.source,
                "world": claim.world,
                "value": interval.value if interval else None,
                "interval": (
                    (interval.low, interval.high)
                    if interval and bounded and not claim.counts
                    else None
                ),
                "verdict": verdict(claim, interval),
                "notebook": claim.notebook,
                "detail": _detail(claim, interval, number or {}),
                "statistic": claim.statistic,
            }
        )
    return rows


def _number(claim: Claim, numbers_dir: Path) -> dict[str, Any] | None:
    """The claim's entry in its notebook's numbers, if measured in the claim's world."""
    notebook, _, key = claim.key.partition("/")
    path = numbers_dir / f"{notebook}.json"
    if not path.is_file():
        return None
    number = json.loads(path.read_text("utf-8")).get(key)
    if number is None or number.get("value") is None:
        return None
    same_world = claim.world in ("any", number.get("world", "embedded"))
    return dict(number) if same_world else None


def _interval(claim: Claim, number: dict[str, Any]) -> Interval:
    """The number's interval; without one, a count is exact and anything else boundless."""
    value = float(number["value"])
    if claim.counts:
        return Interval(value, value, value)
    low, high = number.get("low"), number.get("high")
    if low is None or high is None:
        return Interval(value, -math.inf, math.inf)
    return Interval(value, float(low), float(high))


def _detail(claim: Claim, interval: Interval | None, number: dict[str, Any]) -> str:
    """What was asked for, and what is missing for a verdict."""
    loosened = f" with tolerance {claim.tolerance:g}" if claim.tolerance else ""
    asked = f"asked: {claim.direction} {claim.threshold:g}{loosened}"
    if interval is None:
        how = f"{claim.command} ({claim.cost})" if claim.command else f"run {claim.notebook}"
        few = number.get("undecided", "")
        return f"{asked}; to measure: {how}" + (f"; decides nothing: {few}" if few else "")
    if verdict(claim, interval) != "inconclusive":
        return asked
    if not math.isfinite(interval.high - interval.low):
        return f"{asked}; no interval was measured"
    effect = number.get("detectable")
    smallest = "not known" if effect is None else f"{effect:.2g}"
    return f"{asked}; smallest effect this study can detect: {smallest}"
