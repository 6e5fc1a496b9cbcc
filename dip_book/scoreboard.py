"""The claims beside what was measured: a verdict for each world that can judge a claim.

``dip_book/evidence.py`` finds what a claim's notebook measured, ``dip_book/pilots.py`` which claims
a world of few datasets cannot judge. Primary claims are decided by their p-values, corrected for
the other primary claims of the world by Holm's method; all others are exploratory.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from dip_book.claims import ANY, WORLDS, Claim, is_equivalent, load_claims, verdict
from dip_book.evidence import Record, find_number, half_width, interval_of, p_values, too_few
from dip_book.interval import Interval
from dip_book.pilots import NO_PILOT, PILOT, Pilot, load_pilots
from dip_book.significance import holm

TOLD = ("source", "statistic", "estimand", "notebook", "asked", "primary", "part_of", "seen")
"""What a row has from the claim itself, beside its id and text."""
NOTHING = dict.fromkeys(
    ("value", "interval", "half_width", "n", "these", "p", "sign_flip", "skew", "holm", "shared")
)


def scoreboard(claims_path: Path, numbers_dir: Path) -> list[Record]:
    """One row a claim, in the file's order, for the table in the book.

    A number counts only for the world that it is of (its entry "world", by default "embedded").
    One that rests on too few datasets, or that its entry "undecided" says decides nothing, is shown
    and not judged. Pilots are read from PILOT beside the claims.

    Returns:
        Rows with keys id, claim, source, statistic, estimand, notebook, asked (what would confirm
        it), primary (why it is; "" for an exploratory one), part_of (the claim that states the same
        fact, or ""), seen (of its number before it was written, or ""), disagree (whether it was
        reproduced in one world and not in another) and judged: each of the claim's worlds, in the
        book's order, or "any" alone -> value (or None), interval ((low, high) or None), half_width
        (of a bounded interval, else None), n (its units, or None), these (the ends over seeds, or
        None), p and sign_flip (two-sided, against the claim's bound, or None), skew (of the units),
        holm (p corrected, of a primary claim that the world judges), shared (which of its runs came
        with a share, from where; or None), verdict and detail (how to measure it, why it is not
        judged, or what a verdict lacks).
    """
    claims = load_claims(claims_path)
    pilots = load_pilots(claims_path.with_name(PILOT), claims)
    by_world = {
        world: _in_world(claims, world, numbers_dir, pilots.get(world, NO_PILOT))
        for world in (*WORLDS, ANY)
    }
    rows = []
    for claim in claims:
        judged = {world: each[claim.id] for world, each in by_world.items() if claim.id in each}
        verdicts = {each["verdict"] for each in judged.values()}
        rows.append(
            {
                **{"id": claim.id, "claim": claim.text},
                **{name: getattr(claim, name) for name in TOLD},
                "disagree": verdicts >= {"reproduced", "not reproduced"},
                "judged": judged,
            }
        )
    return rows


def _in_world(
    claims: Iterable[Claim], world: str, numbers_dir: Path, pilot: Pilot
) -> dict[str, Record]:
    """Claim id -> what the world says of it."""
    asked = {claim.id: claim for claim in claims if world in claim.worlds}
    found = {name: _found(claim, world, numbers_dir, pilot) for name, claim in asked.items()}
    tested = {
        name: record["p"]
        for name, (record, interval) in found.items()
        if asked[name].primary and interval and record["p"] is not None
    }
    corrected = holm(tested)
    return {
        name: record | _verdict(asked[name], interval, corrected.get(name), record["detail"])
        if interval
        else record
        for name, (record, interval) in found.items()
    }


def _found(
    claim: Claim, world: str, numbers_dir: Path, pilot: Pilot
) -> tuple[Record, Interval | None]:
    """A world's number for a claim, with its interval if that is to be judged."""
    number = find_number(claim, world, numbers_dir)
    if not number:
        detail = f"to measure: {claim.to_measure(world)}"
        return NOTHING | {"verdict": "not measured", "detail": detail}, None
    interval, n = interval_of(claim, number), number.get("n")
    bounded = half_width(interval) is not None and not claim.counts
    record = NOTHING | {
        "value": interval.value,
        "interval": (interval.low, interval.high) if bounded else None,
        "half_width": half_width(interval) if bounded else None,
        **{"n": n, "these": interval.these, "detail": _effect(interval, number)},
        "shared": number.get("shared"),
        **p_values(claim, interval),
    }
    if objection := too_few(claim, number) or pilot.objection(claim, n):
        return record | {"verdict": "cannot judge", "detail": objection}, None
    return record, interval


def _verdict(claim: Claim, interval: Interval, corrected: float | None, effect: str) -> Record:
    said = verdict(claim, interval, corrected)
    if claim.same_everywhere and said == "reproduced":
        said = "by construction"
    details: Mapping[str, str] = {
        "inconclusive": effect,
        "equivalent": f"shown to lie less than {claim.margin:g} from {claim.threshold:g}",
    }
    detail = details.get(said, "")
    if said == "reproduced" and is_equivalent(claim, interval):
        detail = f"though the difference is less than the margin {claim.margin:g}"
    return {"verdict": said, "detail": detail, "holm": corrected}


def _effect(interval: Interval, number: Record) -> str:
    """What an inconclusive number lacks."""
    if half_width(interval) is None:
        return "no interval was measured"
    if (effect := number.get("detectable")) is None:
        return "the interval holds what was asked and what was not"
    return f"smallest effect this study can detect: {effect:.2g}"
