"""``python -m dip_book.pilot NUMBERS`` writes ``book/pilot.toml`` from the numbers of a pilot.

Commit the file before the runs that are judged: it says which claims the world cannot judge.
"""

from __future__ import annotations

import argparse
import json
import sys
import tomllib
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dip_book.claims import CLAIMED, Claim, load_claims
from dip_book.evidence import find_number, half_width, interval_of
from dip_book.pilots import PILOT
from dip_lib.errors import one_of
from dip_lib.files import write_atomic
from dip_study.profiles import Profile, load_profile

HEAD = """\
# How precise a world's numbers are, from a pilot: half the width of each claim's 95 % interval.
# Written by `python -m dip_book.pilot`, and committed before the runs that are judged. Where it
# exceeds the claim's margin (claims.toml) and the world has at most eight datasets, the verdict
# is "cannot judge", whatever is measured. A claim without an entry here can be judged.
"""


def half_widths(claims: list[Claim], world: str, numbers_dir: Path) -> dict[str, float]:
    """Claim id -> the half-width of its number, of the claims that the world judges and measured.

    Numbers without an interval, or with one without bounds, have none.
    """
    found = {}
    for claim in claims:
        number = find_number(claim, world, numbers_dir) if world in claim.worlds else None
        if number and not claim.counts:
            found[claim.id] = half_width(interval_of(claim, number))
    return {name: half for name, half in found.items() if half is not None}


def described(profile: Profile) -> str:
    """What a pilot under a profile was, in words."""
    seeds = f"seed{'s' if len(profile.seeds) > 1 else ''} {', '.join(map(str, profile.seeds))}"
    return (
        f"profile {profile.name} ({', '.join(profile.datasets)}; {seeds}; {profile.epochs} "
        f"epochs; {profile.backbone}), written {datetime.now(UTC):%Y-%m-%d}"
    )


def text(pilots: Mapping[str, Mapping[str, Any]]) -> str:
    """The file: a table for each world, half-widths by claim in four digits."""
    lines = []
    for world, pilot in pilots.items():
        what, datasets = json.dumps(pilot["what"]), pilot["datasets"]
        lines += ["", f"[{world}]", f"what = {what}", f"datasets = {datasets}"]
        lines += ["", f"[{world}.half_width]"]
        lines += [f"{name} = {float(f'{half:.4g}')}" for name, half in pilot["half_width"].items()]
    return HEAD + "\n".join(lines) + "\n"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m dip_book.pilot", description=__doc__)
    parser.add_argument("numbers", type=Path, help="the folder of <notebook>.json of the pilot")
    parser.add_argument("--profile", default="photos-pilot", help="that measured it; %(default)s")
    parser.add_argument("--claims", type=Path, default=Path("book/claims.toml"))
    given = parser.parse_args(arguments)
    profile, claims = load_profile(given.profile), load_claims(given.claims)
    world = CLAIMED[one_of("world with claims", profile.world, CLAIMED)]
    if not (found := half_widths(claims, world, given.numbers)):
        print(f"{given.numbers} has no number with an interval of {profile.world}", file=sys.stderr)
        return 1
    path = given.claims.with_name(PILOT)
    others = tomllib.loads(path.read_text("utf-8")) if path.is_file() else {}
    own = {"what": described(profile), "datasets": len(profile.datasets), "half_width": found}
    write_atomic(path, text(others | {world: own}).encode())
    for claim in claims:
        if world in claim.worlds and claim.id not in found:
            print(f"{claim.id}: no interval in the pilot, can be judged", file=sys.stderr)
        elif (half := found.get(claim.id, 0.0)) > claim.margin:
            print(f"{claim.id}: {half:.2g} exceeds the margin {claim.margin:g}: cannot judge")
    return 0


if __name__ == "__main__":
    sys.exit(main())
