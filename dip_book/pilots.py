"""What a world's pilot says about how precise its numbers can be: ``book/pilot.toml``."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dip_book.claims import WORLDS, Claim
from dip_lib.errors import one_of

PILOT = "pilot.toml"
FEW = 8
"""Up to so many datasets a world may be unable to judge, and half-widths stand beside verdicts."""


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
