"""Page 12: DIP and CoOp on every family in every style.

Symbols: D families, K styles, S seeds. The four values of a run are base and new accuracy of DIP,
then of CoOp.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dip_book.estimates import crossed, estimate
from dip_book.frame import where
from dip_book.interval import Interval
from dip_book.statistics import average_h_difference
from dip_book.tables import Array, final
from dip_lib import harmonic_mean
from dip_lib.training.record import FINISHED
from glyph_world.styles import PAIRING, SYSTEMATIC


@dataclass(frozen=True)
class Rotation:
    """Every pair of a family and a style.

    Attributes:
        families: D names; a style is called after the family that it is paired with elsewhere.
        cells: (D, K, S, 4).
    """

    families: tuple[str, ...]
    cells: Array

    @classmethod
    def of(cls, runs: pd.DataFrame, families: Sequence[str]) -> Rotation:
        """The pairs of ``families`` with each other's styles, of seeds of which no run stopped."""
        stopped = runs.loc[runs["status"] != FINISHED, "seed"]
        runs = runs[~runs["seed"].isin(stopped)]

        def cell(family: str, style: str) -> Array:
            own = "default" if style == PAIRING[family] else style
            drawn = where(runs, dataset=family, style=own)
            both = (final(where(drawn, label=m), "base", "new")[family] for m in ("DIP", "CoOp"))
            return np.concatenate([*both], 1)

        cells = [[cell(family, PAIRING[other]) for other in families] for family in families]
        return cls(tuple(families), np.array(cells))

    @property
    def styles(self) -> list[str]:
        """K names, in the order of the families that they are paired with."""
        return [PAIRING[family] for family in self.families]

    @property
    def systematic(self) -> NDArray[np.bool_]:
        """(K,) whether each style leaves a lot to learn on base classes."""
        return np.array([family in SYSTEMATIC for family in self.families])

    @cached_property
    def means(self) -> Array:
        """(D, K, 4) over seeds."""
        return np.asarray(self.cells.mean(2))

    @property
    def new(self) -> Array:
        """(D, K) new-class accuracy, DIP minus CoOp."""
        return self.means[..., 1] - self.means[..., 3]

    @property
    def h(self) -> Array:
        """(D, K) H of the averages over seeds, DIP minus CoOp."""
        return _h_difference(self.means)


def _h_difference(values: Array) -> Array:
    """(..., 4) -> (...) H of DIP minus H of CoOp."""
    dip, coop = (harmonic_mean(values[..., i], values[..., i + 1]) for i in (0, 2))
    return np.asarray(dip - coop)


def gaps(pairs: Rotation) -> dict[str, Interval]:
    """DIP minus CoOp over all pairs, of new families in new styles: base, new, H of averages."""

    def mean_of(half: int) -> Interval:
        return crossed(pairs.cells, lambda m: (m[..., half] - m[..., half + 2]).mean((1, 2)))

    h = crossed(pairs.cells, lambda m: average_h_difference(m.reshape(len(m), -1, 4)))
    return {"base": mean_of(0), "new": mean_of(1), "h": h}


def explained(pairs: Rotation) -> tuple[float, float]:
    """Shares of the variance of H's difference over pairs: by the style, and by the family."""
    away = pairs.h - pairs.h.mean()
    total = max((away**2).sum(), 1e-12)
    by_style, by_family = (len(away) * (away.mean(axis) ** 2).sum() / total for axis in (0, 1))
    return float(by_style), float(by_family)


def finding(pairs: Rotation) -> str:
    """The page's finding: DIP minus CoOp over all pairs, and what decides it."""
    gap, (by_style, by_family) = gaps(pairs), explained(pairs)
    return (
        f"**Finding.** Over all {pairs.h.size} pairs, DIP minus CoOp is "
        f"**{gap['base'].value:+.1f}** points on base classes, **{gap['new'].value:+.1f}** on new "
        f"ones (95 % interval {gap['new'].ends('+.1f')}) and **{gap['h'].value:+.2f}** in H "
        f"({gap['h'].ends('+.2f')}). DIP is ahead on new classes in {(pairs.new > 0).sum()} pairs, "
        f"and in H in {(pairs.h > 0).sum()}. Of the variance of H's difference over the pairs, the "
        f"style explains {100 * by_style:.0f} %, the family {100 * by_family:.0f} %."
    )


def h_map(pairs: Rotation) -> pd.DataFrame:
    """H, DIP minus CoOp: a row a family, a column a style."""
    return pd.DataFrame(pairs.h, list(pairs.families), pairs.styles)


def by_style(pairs: Rotation) -> dict[str, Interval]:
    """H, DIP minus CoOp, over the families in each style; systematic styles first, by name."""
    order = sorted(
        range(len(pairs.styles)), key=lambda k: (not pairs.systematic[k], pairs.styles[k])
    )
    return {
        pairs.styles[k]: estimate(
            dict(zip(pairs.families, pairs.cells[:, k], strict=True)), average_h_difference
        )
        for k in order
    }


def first_destructive(pairs: Rotation) -> list[str]:
    """The row of :func:`by_style` where the destructive styles begin; [] without any."""
    styles = zip(pairs.styles, pairs.systematic, strict=True)
    return sorted(style for style, systematic in styles if not systematic)[:1]


def averages_table(pairs: Rotation) -> pd.DataFrame:
    """Averages of both methods, and how many pairs DIP wins, over all pairs and parts of them."""
    own = np.arange(len(pairs.families))
    parts = {
        "all pairs": pairs.means.reshape(-1, 4),
        "own styles": pairs.means[own, own],
        "systematic styles": pairs.means[:, pairs.systematic].reshape(-1, 4),
        "destructive styles": pairs.means[:, ~pairs.systematic].reshape(-1, 4),
    }
    return pd.DataFrame({name: _row(part) for name, part in parts.items() if len(part)}).T


def _row(part: Array) -> dict[str, str]:
    """Of (M, 4) pairs."""
    base, new, coop_base, coop_new = part.mean(0)
    differences = _h_difference(part)
    values = {
        "DIP base": base,
        "DIP new": new,
        "DIP H": harmonic_mean(base, new),
        "CoOp base": coop_base,
        "CoOp new": coop_new,
        "CoOp H": harmonic_mean(coop_base, coop_new),
        "mean H, DIP − CoOp": differences.mean(),
    }
    ahead = {"pairs with H ahead": f"{(differences > 0).sum()} of {len(differences)}"}
    return {name: f"{value:.1f}" for name, value in values.items()} | ahead


def numbers(pairs: Rotation) -> dict[str, Interval | int]:
    """The page's numbers: DIP minus CoOp over all pairs, and how many pairs it wins."""
    counts = {
        "pairs": pairs.h.size,
        "pairs_new_ahead": int((pairs.new > 0).sum()),
        "pairs_h_ahead": int((pairs.h > 0).sum()),
    }
    return {f"dip_minus_coop_{key}": gap for key, gap in gaps(pairs).items()} | counts
