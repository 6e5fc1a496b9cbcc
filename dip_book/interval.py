"""A measured value with its interval: the statistics' result, which claims are compared with."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Interval:
    """A measured value with its 95 % interval; f"{gap:+.1f}" is "+3.0 [+1.9, +4.3]".

    Attributes:
        value, low, high: the value and its ends over new datasets, unless its maker says otherwise.
        these: the ends over what was drawn within the datasets, with the datasets as they are; None
            where nothing was repeated.
        units: what each dataset contributes, such that the mean is the value and the ends are those
            of Student's interval of these numbers; () where the ends come from elsewhere.
    """

    value: float
    low: float
    high: float
    these: tuple[float, float] | None = None
    units: tuple[float, ...] = ()

    def __format__(self, digits: str) -> str:
        if self.endless:
            return f"{self.value:{digits}}"
        return f"{self.value:{digits}} [{self.low:{digits}}, {self.high:{digits}}]"

    def ends(self, digits: str) -> str:
        """The interval in words: "+1.9 to +4.3"; "not known" without ends."""
        return "not known" if self.endless else f"{self.low:{digits}} to {self.high:{digits}}"

    @property
    def endless(self) -> bool:
        """Whether an end is not a number: too little was measured for an interval."""
        return math.isnan(self.low) or math.isnan(self.high)

    @property
    def columns(self) -> dict[str, float]:
        """Value and ends by name, as a row of a table has them."""
        return {"value": self.value, "low": self.low, "high": self.high}

    def ends_hold(self, value: float) -> bool:
        """Whether a value lies within the ends."""
        return self.low <= value <= self.high

    @property
    def sign(self) -> int:
        """1 or -1 where the whole interval lies above or below 0, else 0."""
        return int(self.low > 0) - int(self.high < 0)
