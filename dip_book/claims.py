"""The paper's claims, and what a measured interval says about one, by rules fixed beforehand.

``book/claims.toml`` holds the claims with thresholds and tolerances, committed before measuring;
:mod:`dip_book.scoreboard` puts them beside what each world has measured.
"""

from __future__ import annotations

import math
import tomllib
from dataclasses import dataclass
from pathlib import Path

from dip_book.interval import Interval
from dip_book.significance import equivalence
from dip_lib.errors import one_of

DIRECTIONS = (">=", ">", "<=", "<", "==")
WORLDS = ("embedded", "photos", "paper")
"""Glyph World, Photo World and real CLIP, in the order in which the book shows them."""
ANY = "any"
"""In place of worlds: a count, which is the same in every one."""
CLAIMED = {"Glyph World": "embedded", "Photo World": "photos", "photos": "paper"}
"""A profile's world -> what claims call it; a claim takes no number of another world."""
ESTIMANDS = ("new datasets", "these datasets", "repetitions")
"""What the interval of a claim's number is over; see ``dip_book/estimates.py``."""
VERDICTS = (
    "reproduced",
    "not reproduced",
    "equivalent",
    "inconclusive",
    "cannot judge",
    "not measured",
    "by construction",
)
PRIMARY = 4
"""At most so many claims of a world are primary: they alone are corrected for each other."""
FEWEST = 6
"""Fewer datasets are shown and not judged: no test of signs could reach 5 % with them."""
SURE = 0.05
"""Below it a p-value decides."""
PAPER_COST = "the eleven datasets (about 200 GB with ImageNet), a GPU; time not known yet"


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One claim; the fields are explained at the top of ``book/claims.toml``.

    Raises:
        ValueError: an unknown direction; worlds that are unknown, none, named twice, or "any"
            beside others; a negative tolerance; a margin that is not above 0; an unknown estimand;
            a margin, an estimand or a reason to be primary of a count; a primary claim that is
            part of another or not about new datasets; a claim about real CLIP alone without command
            and cost.
    """

    id: str
    text: str
    source: str
    statistic: str
    key: str
    notebook: str
    worlds: tuple[str, ...]
    direction: str
    threshold: float
    tolerance: float
    why: str
    margin: float = 0.0
    estimand: str = ""
    primary: str = ""
    part_of: str = ""
    seen: str = ""
    command: str = ""
    cost: str = ""

    def __post_init__(self) -> None:
        one_of(f"direction of claim {self.id!r}:", self.direction, DIRECTIONS)
        self._check_worlds()
        if not self.tolerance >= 0:
            raise ValueError(f"claim {self.id!r}: tolerance {self.tolerance} is below 0")
        if self.same_everywhere:
            self._check_count()
        else:
            one_of(f"estimand of claim {self.id!r}:", self.estimand, ESTIMANDS)
        if not self.same_everywhere and not 0 < self.margin < math.inf:
            raise ValueError(
                f"claim {self.id!r}: margin {self.margin} must be the smallest difference that "
                "would matter, above 0"
            )
        if self.primary and (self.part_of or self.estimand != "new datasets"):
            raise ValueError(
                f"claim {self.id!r} cannot be primary: it must be about new datasets and not "
                "part_of another"
            )
        if self.worlds == ("paper",) and not (self.command and self.cost):
            raise ValueError(f"claim {self.id!r}: command and cost of measuring it are missing")

    def _check_count(self) -> None:
        for name in ("margin", "estimand", "primary"):
            if value := getattr(self, name):
                raise ValueError(
                    f"claim {self.id!r}: a count has no {name}, but {value!r} is given"
                )

    def _check_worlds(self) -> None:
        if isinstance(self.worlds, str) or not self.worlds:
            raise ValueError(f"claim {self.id!r}: worlds = {self.worlds!r} must be a list of names")
        for world in self.worlds:
            one_of(f"world of claim {self.id!r}:", world, (*WORLDS, ANY))
        if len(set(self.worlds)) < len(self.worlds) or (ANY in self.worlds and self.worlds[1:]):
            raise ValueError(
                f"claim {self.id!r}: worlds {list(self.worlds)} must name each world once, "
                f"or {ANY!r} alone"
            )

    @property
    def counts(self) -> bool:
        """Whether this is an exact count, which needs no interval."""
        return self.direction == "==" and self.tolerance == 0

    @property
    def same_everywhere(self) -> bool:
        """Whether it is a count, which holds by construction and is said once for all worlds."""
        return self.worlds == (ANY,)

    @property
    def bound(self) -> float:
        """The threshold, loosened by the tolerance; of "==" the threshold."""
        loosened = {">": -1, ">=": -1, "<": 1, "<=": 1, "==": 0}[self.direction] * self.tolerance
        return self.threshold + loosened

    @property
    def of_difference(self) -> bool:
        """Whether it asks for a sign, so that its threshold is where there is no difference."""
        return self.direction in (">", "<")

    @property
    def asked(self) -> str:
        """What would confirm it, in every world: "> 0", ">= 0.9 with tolerance 0.05"."""
        loosened = f" with tolerance {self.tolerance:g}" if self.tolerance else ""
        return f"{self.direction} {self.threshold:g}{loosened}"

    def to_measure(self, world: str) -> str:
        """The command that measures it in one of its worlds, with what that costs where it is much.

        ``command`` and ``cost`` are those of real CLIP.
        """
        make = f"make book NOTEBOOK={self.notebook.partition('_')[0]}"
        if world == "paper":
            command = self.command or f"{make} PROFILE=paper DEVICE=cuda DATA=/pictures"
            return f"{command} ({self.cost or PAPER_COST})"
        return make if world == ANY else f"{make} PROFILE={world}"


def load_claims(path: Path) -> list[Claim]:
    """The claims of a TOML file.

    Raises:
        ValueError: two claims with the same id, a claim with a wrong value, more than PRIMARY
            primary claims of a world, or one that is part of an unknown claim or of a part.
        TypeError: a claim with a missing or an unknown field, naming it.
    """
    entries = tomllib.loads(path.read_text("utf-8"))["claim"]
    for each in entries:
        if isinstance(each.get("worlds"), list):
            each["worlds"] = tuple(each["worlds"])
    claims = [Claim(**each) for each in entries]
    ids = [claim.id for claim in claims]
    if twice := sorted({each for each in ids if ids.count(each) > 1}):
        raise ValueError(f"{path}: duplicate claim ids {twice}")
    for world in WORLDS:
        primary = [claim.id for claim in claims if claim.primary and world in claim.worlds]
        if len(primary) > PRIMARY:
            raise ValueError(f"{path}: more than {PRIMARY} primary claims of {world}: {primary}")
    whole = [claim.id for claim in claims if not claim.part_of]
    for claim in claims:
        if claim.part_of:
            one_of(f"what claim {claim.id!r} is part of:", claim.part_of, whole)
    return claims


def verdict(claim: Claim, interval: Interval | None, holm: float | None = None) -> str:
    """What an interval says about a claim.

    With the threshold loosened by the tolerance: "reproduced" if the whole interval satisfies the
    claim, "not reproduced" if none of it does; of a primary claim only if the corrected p-value
    decides, too. Otherwise "equivalent" if a claim of a difference is within its margin, and
    "inconclusive" (also when an end is not a number); "not measured" without an interval. For "=="
    the claim is the range threshold +- tolerance, so an interval wider than that range is never
    "reproduced".

    Args:
        holm: the p-value of a primary claim, corrected for the others of its world.
    """
    if interval is None:
        return "not measured"
    if interval.endless or math.isnan(interval.value):
        return "inconclusive"
    whole, none = _met(claim, interval)
    if (whole or none) and (holm is None or holm < SURE):
        return "reproduced" if whole else "not reproduced"
    return "equivalent" if is_equivalent(claim, interval) else "inconclusive"


def _met(claim: Claim, interval: Interval) -> tuple[bool, bool]:
    """Whether the whole interval satisfies the claim, and whether none of it does."""
    low, high = interval.low, interval.high
    bottom, top = claim.threshold - claim.tolerance, claim.threshold + claim.tolerance
    return {
        ">=": (low >= bottom, high < bottom),
        ">": (low > bottom, high <= bottom),
        "<=": (high <= top, low > top),
        "<": (high < top, low >= top),
        "==": (bottom <= low and high <= top, high < bottom or low > top),
    }[claim.direction]


def is_equivalent(claim: Claim, interval: Interval) -> bool:
    """Whether a claim of a difference is shown to lie within its margin, by two one-sided tests.

    Without units the whole 95 % interval must lie inside, which asks for more.
    """
    if not claim.of_difference:
        return False
    if interval.units:
        return equivalence(interval.units, claim.threshold, claim.margin) < SURE
    bottom, top = claim.threshold - claim.margin, claim.threshold + claim.margin
    return bottom < interval.low and interval.high < top
