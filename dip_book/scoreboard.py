"""The claims beside what was measured: a verdict for each world that can judge a claim.

Each notebook writes its numbers to ``<numbers>/<notebook>.json``: those of its first world under
plain keys, those of a further one under keys with that world before them, "photos/key".
``book/pilot.toml``, beside the claims, says how precise a world's numbers can be: where a pilot's
interval was wider than the claim's margin, a world of few datasets cannot judge the claim.
"""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dip_book.claims import ANY, WORLDS, Claim, load_claims, verdict
from dip_book.interval import Interval
from dip_lib.errors import one_of

PILOT = "pilot.toml"
FEW = 8
"""Up to so many datasets a world may be unable to judge, and half-widths stand beside verdicts."""
Record = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Pilot:
    """How precise one world's numbers were in a run made before those that are judged.

    Attributes:
        what: what the pilot was, in words.
        datasets: how many it had.
        half_width: claim id -> half the width of its number's 95 % interval.
    """

    what: str
    datasets: int = 0
    half_width: Mapping[str, float] = field(default_factory=dict)

    def objection(self, claim: Claim, n: int | None) -> str:
        """Why the world cannot judge the claim from ``n`` datasets (not known: the pilot's); or "".

        What the pilot has not measured can be judged: nothing says that it cannot.
        """
        half = self.half_width.get(claim.id)
        few = (self.datasets if n is None else n) <= FEW
        if half is None or not few or half <= claim.margin:
            return ""
        return f"the pilot's half-width {half:.2g} exceeds the margin {claim.margin:g}"


NO_PILOT = Pilot(what="none")


def load_pilots(path: Path, claims: Iterable[Claim]) -> dict[str, Pilot]:
    """World -> its pilot; without the file, no world has one.

    Raises:
        ValueError: an unknown world, a claim that is unknown or that the world does not judge, or
            a half-width that is no number from 0 on.
        TypeError: an unknown or a missing field, naming it.
    """
    entries = tomllib.loads(path.read_text("utf-8")) if path.is_file() else {}
    pilots = {
        one_of(f"world in {path.name}", world, WORLDS): Pilot(**each)
        for world, each in entries.items()
    }
    for world, pilot in pilots.items():
        judged = [claim.id for claim in claims if world in claim.worlds]
        for name, half in pilot.half_width.items():
            one_of(f"claim of {world} in {path.name}", name, judged)
            if not half >= 0:
                raise ValueError(f"{path}: half-width {half} of {name!r} is no number from 0 on")
    return pilots


def scoreboard(claims_path: Path, numbers_dir: Path) -> list[Record]:
    """One row a claim, in the file's order, for the table in the book.

    A number counts only for the world that it is of (its entry "world", by default "embedded"), and
    not when its entry "undecided" says why it decides nothing. Pilots are read from PILOT beside
    the claims.

    Returns:
        Rows with keys id, claim, source, statistic, notebook, asked (what would confirm it),
        disagree (whether it was reproduced in one world and not in another) and judged: each of the
        claim's worlds, in the book's order, or "any" alone -> value (or None), interval ((low,
        high) or None), half_width (of a bounded interval, else None), n (its units, or None),
        verdict and detail (how to measure it, or what is missing for a verdict; else "").
    """
    claims = load_claims(claims_path)
    pilots = load_pilots(claims_path.with_name(PILOT), claims)
    rows = []
    for claim in claims:
        judged = {
            world: _judge(claim, world, numbers_dir, pilots.get(world, NO_PILOT))
            for world in (*WORLDS, ANY)
            if world in claim.worlds
        }
        verdicts = {each["verdict"] for each in judged.values()}
        rows.append(
            {
                **{"id": claim.id, "claim": claim.text, "source": claim.source},
                **{"statistic": claim.statistic, "notebook": claim.notebook, "asked": claim.asked},
                "disagree": verdicts >= {"reproduced", "not reproduced"},
                "judged": judged,
            }
        )
    return rows


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
    """The number's interval; without one, a count is exact and anything else boundless."""
    value = float(number["value"])
    if claim.counts:
        return Interval(value, value, value)
    low, high = number.get("low"), number.get("high")
    if low is None or high is None:
        return Interval(value, -math.inf, math.inf)
    return Interval(value, float(low), float(high))


def half_width(interval: Interval) -> float | None:
    """Half the width of an interval; of one without bounds None."""
    half = (interval.high - interval.low) / 2
    return half if math.isfinite(half) else None


def _judge(claim: Claim, world: str, numbers_dir: Path, pilot: Pilot) -> Record:
    """What one world says of a claim."""
    number = find_number(claim, world, numbers_dir) or {}
    few = number.get("undecided", "")
    if not number or few:
        detail = f"to measure: {claim.to_measure(world)}"
        nothing = dict.fromkeys(("value", "interval", "half_width", "n"))
        more = {
            "verdict": "not measured",
            "detail": f"{detail}; decides nothing: {few}" if few else detail,
        }
        return nothing | more
    interval, n = interval_of(claim, number), number.get("n")
    bounded = half_width(interval) is not None and not claim.counts
    said, objection = verdict(claim, interval), pilot.objection(claim, n)
    return {
        "value": interval.value,
        "interval": (interval.low, interval.high) if bounded else None,
        "half_width": half_width(interval) if bounded else None,
        "n": n,
        "verdict": "cannot judge" if objection else said,
        "detail": objection or (_missing(interval, number) if said == "inconclusive" else ""),
    }


def _missing(interval: Interval, number: Record) -> str:
    """What an inconclusive number lacks."""
    if half_width(interval) is None:
        return "no interval was measured"
    effect = number.get("detectable")
    smallest = "not known" if effect is None else f"{effect:.2g}"
    return f"smallest effect this study can detect: {smallest}"
