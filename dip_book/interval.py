"""A measured value with its interval: the statistics' result, which claims are compared with."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Interval:
    """A measured value with its 95 % interval; f"{gap:+.1f}" is "+3.0 [+1.9, +4.3]"."""

    value: float
    low: float
    high: float

    def __format__(self, digits: str) -> str:
        return f"{self.value:{digits}} [{self.low:{digits}}, {self.high:{digits}}]"

    def ends(self, digits: str) -> str:
        """The interval in words: "+1.9 to +4.3"."""
        return f"{self.low:{digits}} to {self.high:{digits}}"

    @property
    def sign(self) -> int:
        """1 or -1 where the whole interval lies above or below 0, else 0."""
        return int(self.low > 0) - int(self.high < 0)
