"""Paths under a slider (:mod:`dip_book.slider`): each as far as it has come at a position."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

Point = tuple[float, float]
LOOKS = ("#d55e00", "#0072b2", "#009e73", "#b0568e", "#9a7420")
"""Colours of paths by their ``look``; ``companion.css`` has the same for the built book."""


@dataclass(frozen=True)
class Path:
    """One path: where it is at each position.

    Attributes:
        name: for the legend.
        look: which of :data:`LOOKS` it has.
        dashed: whether it is a dashed line with a square at its end, not a line with a dot.
        points: (x, y) at each position.
    """

    name: str
    look: int
    dashed: bool
    points: Sequence[Point]


@dataclass(frozen=True)
class Paths:
    """Paths in one plane, under one title.

    Attributes:
        title: of the panel.
        axes: what x and y are.
        paths: all of the same length.
        fronts: at each position the indices of the paths that no other beats, by x.
        said: what a line below says at each position.
    """

    title: str
    axes: tuple[str, str]
    paths: Sequence[Path]
    fronts: Sequence[Sequence[int]]
    said: Sequence[str]

    @property
    def lengths(self) -> set[int]:
        """How many positions its parts are for; one number if they agree."""
        return {len(self.fronts), len(self.said), *(len(each.points) for each in self.paths)}


def front(points: Sequence[Point]) -> list[int]:
    """Indices of the points that no other beats: is as good in both coordinates and better in one.

    They are in the order of x.
    """

    def beaten(point: Point) -> bool:
        return any(a >= point[0] and b >= point[1] and (a, b) != point for a, b in points)

    kept = [i for i, point in enumerate(points) if not beaten(point)]
    return sorted(kept, key=lambda i: points[i])
