"""From a frame of runs (:mod:`dip_book.frame`) to the arrays and tables that the pages show.

Symbols: D datasets, S seeds, T points of a trajectory, F fields.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dip_book.estimates import estimate
from dip_book.frame import finished
from dip_book.interval import Interval
from dip_book.statistics import (
    average_h,
    average_h_difference,
    paired,
    paired_difference,
)
from dip_lib.data import harmonic_mean
from dip_lib.training.record import FINISHED

Array = NDArray[np.float64]


def trajectories(runs: pd.DataFrame, fields: Sequence[str]) -> dict[str, Array]:
    """Dataset -> (S, T, F): the columns at every checkpoint of every seed, seeds ascending.

    Runs that stopped are left out; the frame holds each run's last checkpoint.
    """
    arrays = {}
    for dataset, rows in finished(runs).groupby("dataset"):
        rows = rows.sort_values("seed", kind="stable")
        ends = np.flatnonzero(rows["last"]) + 1
        values = np.ascontiguousarray(rows[[*fields]].to_numpy(dtype=float))
        arrays[str(dataset)] = np.stack(np.split(values, ends[:-1]))
    return arrays


def final(runs: pd.DataFrame, *fields: str) -> dict[str, Array]:
    """Dataset -> (S, F) values of the trained prompt, or (S,) for a single column."""
    ends = finished(runs)
    ends = ends[ends["last"].astype(bool)].sort_values("seed", kind="stable")
    if ends.empty:  # a frame without runs lacks the columns of what is measured
        return {}
    values, of = ends[[*fields]].to_numpy(dtype=float), ends["dataset"].to_numpy()
    chosen = values[:, 0] if len(fields) == 1 else values
    return {str(dataset): chosen[of == dataset] for dataset in np.unique(of)}


def finished_pairs(*sides: pd.DataFrame) -> list[pd.DataFrame]:
    """The sides without the datasets and seeds in which a run of any of them stopped.

    What was paired stays paired. A dataset of which a side then has nothing leaves all sides.
    """
    stopped = pd.concat([runs[runs["status"] != FINISHED] for runs in sides])
    if stopped.empty:
        return [*sides]
    pairs = set(zip(stopped["dataset"], stopped["seed"], strict=True))

    def kept(runs: pd.DataFrame) -> pd.DataFrame:
        each = zip(runs["dataset"], runs["seed"], strict=True)
        return runs[np.array([pair not in pairs for pair in each], dtype=bool)]

    rest = [kept(runs) for runs in sides]
    everywhere = set.intersection(*(set(runs["dataset"]) for runs in rest))
    lost = set(stopped["dataset"]) - everywhere
    return [runs[~runs["dataset"].isin(lost)] for runs in rest]


# ---- base to new ------------------------------------------------------------------------------


def subset(values: dict[str, Array], datasets: Iterable[str] | None) -> dict[str, Array]:
    """Only these datasets, or all of them."""
    return values if datasets is None else {d: values[d] for d in datasets if d in values}


def averages(runs: pd.DataFrame, datasets: Iterable[str] | None = None) -> dict[str, Interval]:
    """Average base and new accuracy over datasets and H of the averages, with intervals."""
    both = subset(final(runs, "base", "new"), datasets)
    return {
        "base": estimate(_column(both, 0)),
        "new": estimate(_column(both, 1)),
        "h": estimate(both, average_h),
    }


def _same_seeds(a: dict[str, Array], b: dict[str, Array]) -> None:
    """Refuse (S, F) rows of other seeds, the last column; seed 0, which draws nothing, is any."""
    for name in sorted(a.keys() & b.keys()):
        x, y = (side[name][:, -1].astype(int) for side in (a, b))
        if x.any() and y.any() and not np.array_equal(x, y):
            raise ValueError(f"not paired: {name!r} has seeds {x} against {y}")


def differences(
    ours: pd.DataFrame, theirs: pd.DataFrame, datasets: Iterable[str] | None = None
) -> dict[str, Interval]:
    """Ours minus theirs, paired by dataset and seed: base, new and H of the averages."""
    ours, theirs = finished_pairs(ours, theirs)
    a, b = (subset(final(side, "base", "new", "seed"), datasets) for side in (ours, theirs))
    _same_seeds(a, b)
    four = {d: np.hstack([a[d][:, :2], b[d][:, :2] + 0 * a[d][:, :2]]) for d in paired(a, b)}
    return {
        "base": paired_difference(_column(a, 0), _column(b, 0)),
        "new": paired_difference(_column(a, 1), _column(b, 1)),
        "h": estimate(four, average_h_difference),
    }


def _column(values: dict[str, Array], index: int) -> dict[str, Array]:
    return {d: v[:, index] for d, v in values.items()}


def rate_table(runs: pd.DataFrame) -> pd.DataFrame:
    """Learning rate -> average base, new and validation accuracy, over datasets and seeds."""
    ends = finished(runs[runs["last"]])
    means = ends.groupby(["lr", "dataset"])[["base", "new", "val"]].mean()
    return means.groupby("lr").mean().rename_axis(None)


# ---- any study --------------------------------------------------------------------------------


def average_of(runs: pd.DataFrame, field: str) -> Interval:
    """The average of one column at the last checkpoint over datasets, with its interval."""
    return estimate(final(runs, field))


def gap(ours: pd.DataFrame, theirs: pd.DataFrame, field: str = "base") -> Interval:
    """Ours minus theirs in one column, paired by dataset and seed."""
    ours, theirs = finished_pairs(ours, theirs)
    a, b = final(ours, field, "seed"), final(theirs, field, "seed")
    _same_seeds(a, b)
    return paired_difference(_column(a, 0), _column(b, 0))


def over_seeds(values: Array) -> Interval:
    """Mean and range over seeds, (S,): what is said of a single dataset."""
    return Interval(float(values.mean()), float(values.min()), float(values.max()))


def over_datasets(values: Mapping[str, Array]) -> Interval:
    """The average of (S,) values with its interval; of a single dataset :func:`over_seeds`."""
    return over_seeds(next(iter(values.values()))) if len(values) == 1 else estimate(values)


def sweep(runs: pd.DataFrame, setting: str, field: str) -> pd.DataFrame:
    """A column's average at every value of a setting: index the value; value, low, high.

    The band is a 95 % interval over datasets; of a single dataset it is the range over seeds.
    """
    rows = {
        value: over_datasets(final(group, field)).columns
        for value, group in finished(runs).groupby(setting)
    }
    return pd.DataFrame.from_dict(rows, orient="index")


def sweep_h(runs: pd.DataFrame, setting: str) -> pd.DataFrame:
    """As :func:`sweep`, of H of the averages; of a single dataset the interval over its seeds."""
    rows = {
        value: estimate(final(group, "base", "new"), average_h).columns
        for value, group in finished(runs).groupby(setting)
    }
    return pd.DataFrame.from_dict(rows, orient="index")


def h_of(runs: pd.DataFrame) -> dict[str, Array]:
    """Dataset -> (S,) harmonic mean of each run's base and new accuracy."""
    return {d: harmonic_mean(v[:, 0], v[:, 1]) for d, v in final(runs, "base", "new").items()}


def summary(groups: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """A row for each group of base-to-new runs: averages over datasets, and what a run trains.

    A group of which no run has finished has no row.
    H is that of the averages, as the field has it; "mean H" is the average of each dataset's.
    """
    rows = {}
    for name, group in groups.items():
        if not (both := final(group, "base", "new")):
            continue
        base, new = np.mean([v.mean(0) for v in both.values()], axis=0)
        means = [harmonic_mean(*v.mean(0)) for v in both.values()]
        rows[name] = {
            "base": base,
            "new": new,
            "H": harmonic_mean(base, new),
            "mean H": np.mean(means),
            "joint": average_of(group, "joint").value,
            "ECE new": average_of(group, "ece").value,
            "numbers": int(finished(group[group["last"]])["trainable"].mean()),
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def shrunk(runs: pd.DataFrame) -> pd.DataFrame:
    """CoOp's prompts made smaller after training: a row for each way; base, new, H of averages."""
    ends = finished(runs[runs["last"]])
    rows = {(run.dataset, run.seed): pd.DataFrame(run.shrunk).T for run in ends.itertuples()}
    groups = pd.concat(rows, names=["dataset", "seed", "way"]).groupby(
        ["way", "dataset"], sort=False
    )
    table = groups.mean().groupby("way", sort=False).mean().rename_axis(None)
    return table.assign(H=harmonic_mean(table["base"], table["new"]))


def published() -> pd.DataFrame:
    """Averages as their authors print them: method, base, new, H, source."""
    file = Path(__file__).with_name("published.toml")
    return pd.DataFrame(tomllib.loads(file.read_text("utf-8"))["row"])
