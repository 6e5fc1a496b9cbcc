"""How much hangs on which half of the classes is base: ten random halves beside the field's.

A split of one dataset has nothing to do with the split of that number of another, whose classes
are others: splits lie within datasets. Symbols: D datasets, K random splits, S seeds. The four
values of a run are base and new accuracy of DIP, then of CoOp.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd

from dip_book.estimates import jackknife, over_seeds
from dip_book.frame import finished
from dip_book.interval import Interval
from dip_book.tables import Array
from dip_book.worlds import disagreement, paragraphs
from dip_lib.data import harmonic_mean
from dip_lib.training.record import FINISHED

FIELDS = "field's"
"""Row of the field's split."""
COLUMNS = {"base": "base", "new": "new", "h": "H"}
PARTS = ("dataset", "split", "seed", "split and seed")
"""What makes differences differ; the last is what neither split nor seed does alone."""


@dataclass(frozen=True)
class Splits:
    """DIP and CoOp on the same splits and seeds.

    Attributes:
        cells: dataset -> (1 + K, S, 4), the field's split first; S may differ between datasets.
    """

    cells: Mapping[str, Array]

    @classmethod
    def of(cls, runs: pd.DataFrame) -> Splits:
        """Of a frame of runs; a seed of which a run stopped leaves its dataset, with all splits."""
        ends = runs[runs["last"] & runs["label"].isin(["DIP", "CoOp"])]
        columns = [(half, label) for label in ("DIP", "CoOp") for half in ("base", "new")]
        cells = {}
        for dataset, rows in ends.groupby("dataset"):
            stopped = set(rows.loc[rows["status"] != FINISHED, "seed"])
            rows = rows[~rows["seed"].isin(stopped)]
            if rows.empty:
                continue
            index = ["class_split", "seed"]
            table = rows.pivot(index=index, columns="label", values=["base", "new"])[columns]
            splits = table.index.unique("class_split")
            cells[str(dataset)] = table.to_numpy(dtype=float).reshape(len(splits), -1, 4)
        return cls(cells)

    @cached_property
    def means(self) -> Array:
        """(D, 1 + K, 4) over seeds."""
        return np.stack([each.mean(1) for each in self.cells.values()])

    @property
    def random(self) -> Array:
        """(D, K, 4) over seeds, of the random splits."""
        return self.means[:, 1:]

    def of_runs(self, quantity: str) -> dict[str, Array]:
        """Dataset -> (K, S): "base", "new" or "h" of each pair of runs, DIP minus CoOp."""
        return {name: _difference(each[1:], quantity) for name, each in self.cells.items()}


def _difference(values: Array, quantity: str) -> Array:
    """(..., 4) -> (...) DIP minus CoOp."""
    if quantity == "h":
        dip, coop = (harmonic_mean(values[..., i], values[..., i + 1]) for i in (0, 2))
        return np.asarray(dip - coop)
    half = ("base", "new").index(quantity)
    return np.asarray(values[..., half] - values[..., half + 2])


def per_split(splits: Splits) -> pd.DataFrame:
    """DIP minus CoOp in each split: base, new and H of the averages over datasets.

    A row is what a paper would report whose halves these were.
    """
    average = splits.means.mean(0)  # (1 + K, 4)
    columns = {name: _difference(average, key) for key, name in COLUMNS.items()}
    rows = [FIELDS, *map(str, range(1, len(average)))]
    return pd.DataFrame(columns, index=pd.Index(rows, name="split"))


def gaps(splits: Splits) -> dict[str, Interval]:
    """DIP minus CoOp over the random splits: base, new and H, with 95 % intervals.

    Each estimates what would be reported on average over all halvings of the classes, of datasets
    like these: the average over datasets in each split (for H, that of the averages), then over
    splits. Datasets are the units, each with all its splits and seeds, so an interval says what
    other datasets would have given; ten splits of one dataset do not count as ten datasets. What
    splits and seeds do by chance is averaged out but for a rest that is in the datasets' scatter,
    and so in the interval. The field's split is left out: it is no random one. The second ends are
    those over other halves and seeds of the same datasets.
    """

    def over_splits(quantity: str) -> Interval:
        found = jackknife(splits.random, lambda m: _difference(m.mean(1), quantity).mean(-1))
        return replace(found, these=_these(splits, quantity, found.value))

    return {key: over_splits(key) for key in COLUMNS}


def _these(splits: Splits, quantity: str, value: float) -> tuple[float, float] | None:
    """The ends with the datasets as they are; None for a single seed.

    Halves and seeds are crossed in each dataset, so that the half-widths of both are added in
    squares. What a seed does in one half alone is in both: the interval is a little wide.
    """

    def half_width(axis: int) -> float | None:
        units = [each[1:].mean(axis) for each in splits.cells.values()]
        ends = over_seeds(units, lambda m: _difference(m.mean(1), quantity))
        return (ends[1] - ends[0]) / 2 if ends else None

    halves = [half_width(axis) for axis in (1, 0)]
    known = [half for half in halves if half is not None]
    if len(known) < len(halves):
        return None
    half = math.hypot(*known)
    return value - half, value + half


def spread(splits: Splits) -> pd.DataFrame:
    """How far the rows of :func:`per_split` are apart, and where the field's lies among them."""
    table = per_split(splits)
    field, others = table.loc[FIELDS], table.drop(FIELDS)
    rows = {
        "mean": others.mean(),
        "standard deviation": others.std(),
        "smallest": others.min(),
        "largest": others.max(),
        FIELDS: field,
        "random splits above the field's": (others > field).sum(),
    }
    return pd.DataFrame(rows).T


def variances(values: Mapping[str, Array]) -> dict[str, float]:
    """The variance of a run's value by its cause, in squared points.

    Splits and seeds are crossed in each dataset: a seed draws the same images of a class and the
    same first factors in every split. Estimates from mean squares, pooled over datasets; a negative
    one counts as 0. With one seed "split" has what seeds do too, and the others are nan; with one
    dataset, "dataset" is nan.

    Args:
        values: dataset -> (K, S), such as :meth:`Splits.of_runs`; two splits at least.
    """
    arrays = list(values.values())
    splits = len(arrays[0])
    seeds = np.array([each.shape[1] for each in arrays])
    rows = sum(seeds[i] * ((a.mean(1) - a.mean()) ** 2).sum() for i, a in enumerate(arrays))
    of_split = rows / (len(arrays) * (splits - 1))  # mean squares
    of_seed, rest = math.nan, math.nan
    if more := (seeds - 1).sum():
        of_seed = sum(splits * ((a.mean(0) - a.mean()) ** 2).sum() for a in arrays) / more
        left = (a - a.mean(1, keepdims=True) - a.mean(0) + a.mean() for a in arrays)
        rest = sum((each**2).sum() for each in left) / (more * (splits - 1))
    parts = {
        "split": max(0.0, (of_split - np.nan_to_num(rest)) / seeds.mean()),
        "seed": max(0.0, (of_seed - rest) / splits) if more else math.nan,
        "split and seed": rest,
    }
    within = parts["split"] / splits + np.nan_to_num(
        (parts["seed"] + rest / splits) * (1 / seeds).mean()
    )
    means = [each.mean() for each in arrays]
    between = max(0.0, np.var(means, ddof=1) - within) if len(means) > 1 else math.nan
    return {name: float(({"dataset": between} | parts)[name]) for name in PARTS}


def shares(splits: Splits) -> pd.DataFrame:
    """Of the variance of DIP minus CoOp over runs, the per cent that each cause has."""
    columns = {name: pd.Series(variances(splits.of_runs(key))) for key, name in COLUMNS.items()}
    table = pd.DataFrame(columns)
    return 100 * table / table.sum().clip(lower=1e-12)


def finding(found: Mapping[str, Splits]) -> str:
    """The page's finding: whether the worlds disagree, then what was found in each."""
    h = {world: gaps(splits)["h"] for world, splits in found.items()}
    said = {world: _found(splits) for world, splits in found.items()}
    return disagreement(h, "DIP minus CoOp in H", "+.2f") + paragraphs(said, "Finding")


def _found(splits: Splits) -> str:
    """DIP minus CoOp over random halves, and how much hangs on these."""
    gap, far, part = gaps(splits), spread(splits), shares(splits)
    count = len(per_split(splits)) - 1
    return (
        f"Over {count} random halvings of the classes, DIP minus CoOp is "
        f"**{gap['base'].value:+.1f}** points on base classes, **{gap['new'].value:+.1f}** on new "
        f"ones (95 % interval {gap['new'].ends('+.1f')}) and **{gap['h'].value:+.2f}** in H "
        f"({gap['h'].ends('+.2f')}). By the choice of the half alone, the average over datasets "
        f"moves between {far.loc['smallest', 'H']:+.2f} and {far.loc['largest', 'H']:+.2f} in H; "
        f"with the field's half it is {far.loc[FIELDS, 'H']:+.2f}. Of the variance of H's "
        f"difference over runs the dataset makes {part.loc['dataset', 'H']:.0f} %, the half "
        f"{part.loc['split', 'H']:.0f} %, the seed {part.loc['seed', 'H']:.0f} %."
    )


def shown(splits: Splits) -> tuple[pd.DataFrame, dict[str, Interval]]:
    """What the figure shows: the rows of :func:`per_split`, and the interval of each column."""
    return per_split(splits), {COLUMNS[key]: gap for key, gap in gaps(splits).items()}


def averages_table(runs: pd.DataFrame) -> pd.DataFrame:
    """Averages over datasets in each split of each method: base, new and H of these."""
    ends = finished(runs[runs["last"]])
    of_datasets = ends.groupby(["class_split", "label", "dataset"])[["base", "new"]].mean()
    table = of_datasets.groupby(["class_split", "label"]).mean()
    table["H"] = harmonic_mean(table["base"].to_numpy(), table["new"].to_numpy())
    wide = table.unstack("label").swaplevel(axis=1)
    labels = [name for name in ("zero-shot", "CoOp", "DIP") if name in wide]
    wide = wide[[(label, column) for label in labels for column in ("base", "new", "H")]]
    return wide.rename(index={0: FIELDS}).rename_axis("split")


def numbers(splits: Splits) -> dict[str, Interval | float | int]:
    """The page's numbers: differences over random splits, their spread, and shares of variance."""
    table, far, part = per_split(splits), spread(splits), shares(splits)
    found: dict[str, Interval | float | int] = {"random_splits": len(table) - 1}
    for key, gap in gaps(splits).items():
        name = COLUMNS[key]
        found[f"dip_minus_coop_{key}"] = gap
        found[f"field_dip_minus_coop_{key}"] = float(table.loc[FIELDS, name])
        found[f"spread_{key}"] = float(far.loc["standard deviation", name])
        for cause in PARTS[:3]:
            found[f"{cause}_share_{key}"] = float(part.loc[cause, name])
    return found
