"""From run records to the arrays and tables that the pages show. Pure functions.

Symbols: D datasets, S seeds, T points of a trajectory, F fields.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dip_book.statistics import (
    Interval,
    average_h,
    average_h_difference,
    hierarchical_bootstrap,
    paired,
    paired_difference,
    spearman,
)

Record = dict[str, Any]
Array = NDArray[np.float64]


def where(records: Iterable[Record], **spec: Any) -> list[Record]:
    """The records whose spec has these values, such as ``method="coop", lr=0.03``."""
    return [r for r in records if all(r["spec"][k] == v for k, v in spec.items())]


def _field(checkpoint: dict[str, Any], field: str) -> float:
    """ "new", "base", "epoch", ... or "id1", "id2" for ID_k."""
    if field.startswith("id") and field[2:].isdigit():
        return float(checkpoint["id"][int(field[2:]) - 1])
    return float(checkpoint[field])


def trajectories(records: Iterable[Record], fields: Sequence[str]) -> dict[str, Array]:
    """Dataset -> (S, T, F): the fields at every checkpoint of every seed, seeds ascending."""
    rows: dict[str, list[Array]] = {}
    for record in sorted(records, key=lambda r: (r["spec"]["dataset"], r["spec"]["seed"])):
        if record["status"] != "finished":
            continue
        points = [[_field(c, f) for f in fields] for c in record["checkpoints"]]
        rows.setdefault(record["spec"]["dataset"], []).append(np.array(points))
    return {dataset: np.stack(found) for dataset, found in rows.items()}


def final(records: Iterable[Record], *fields: str) -> dict[str, Array]:
    """Dataset -> (S, F) values of the trained prompt, or (S,) for a single field."""
    last = {d: t[:, -1] for d, t in trajectories(records, fields).items()}
    return {d: v[:, 0] for d, v in last.items()} if len(fields) == 1 else last


# ---- correlation with information density -----------------------------------------------------

CORRELATED = ("id1", "id2", "epoch")


def rho(means: Array) -> Array:
    """Spearman of new-class accuracy with ID_1, ID_2 and minus epoch.

    ``means`` is (..., T, 4) with the fields new, id1, id2, epoch; the result is (..., 3).
    """
    new = means[..., 0]
    signs = (1, 1, -1)
    found = [spearman(new, sign * means[..., i + 1]) for i, sign in enumerate(signs)]
    # a dataset whose accuracy never moves has no rank order: it counts as no correlation
    return np.nan_to_num(np.stack(found, -1))


def correlation_table(records: Iterable[Record]) -> pd.DataFrame:
    """Spearman's rho of each dataset on its seed-averaged trajectory: columns of CORRELATED."""
    paths = trajectories(records, ("new", *CORRELATED))
    rows = {dataset: rho(path.mean(0)) for dataset, path in paths.items()}
    return pd.DataFrame.from_dict(rows, orient="index", columns=list(CORRELATED))


def correlation_numbers(records: Iterable[Record]) -> dict[str, Interval]:
    """The claims' statistics: medians over datasets, and how much ID_1 says beyond the epoch."""
    paths = trajectories(records, ("new", *CORRELATED))

    def median(column: int) -> Callable[[Array], Array]:
        return lambda means: np.median(rho(means)[..., column], axis=1)

    def beyond(means: Array) -> Array:
        found = np.abs(rho(means))
        return (found[..., 0] - found[..., 2]).mean(1)

    return {
        "median_rho_id1": hierarchical_bootstrap(paths, median(0), n=2000),
        "median_rho_id2": hierarchical_bootstrap(paths, median(1), n=2000),
        "median_rho_epoch": hierarchical_bootstrap(paths, median(2), n=2000),
        "rho_id1_minus_rho_epoch": hierarchical_bootstrap(paths, beyond, n=2000),
    }


# ---- base to new ------------------------------------------------------------------------------


def subset(values: dict[str, Array], datasets: Iterable[str] | None) -> dict[str, Array]:
    """Only these datasets, or all of them."""
    return values if datasets is None else {d: values[d] for d in datasets if d in values}


def averages(
    records: Iterable[Record], datasets: Iterable[str] | None = None
) -> dict[str, Interval]:
    """Average base and new accuracy over datasets and H of the averages, with intervals."""
    both = subset(final(records, "base", "new"), datasets)
    return {
        "base": hierarchical_bootstrap({d: v[:, 0] for d, v in both.items()}),
        "new": hierarchical_bootstrap({d: v[:, 1] for d, v in both.items()}),
        "h": hierarchical_bootstrap(both, average_h),
    }


def differences(
    ours: Iterable[Record], theirs: Iterable[Record], datasets: Iterable[str] | None = None
) -> dict[str, Interval]:
    """Ours minus theirs, paired by dataset and seed: base, new and H of the averages."""
    a = subset(final(ours, "base", "new"), datasets)
    b = subset(final(theirs, "base", "new"), datasets)
    gap = paired(a, b)
    four = {d: np.concatenate([a[d], b[d] + np.zeros_like(a[d])], 1) for d in gap}
    return {
        "base": paired_difference({d: v[:, 0] for d, v in a.items()}, _column(b, 0)),
        "new": paired_difference({d: v[:, 1] for d, v in a.items()}, _column(b, 1)),
        "h": hierarchical_bootstrap(four, average_h_difference),
    }


def _column(values: dict[str, Array], index: int) -> dict[str, Array]:
    return {d: v[:, index] for d, v in values.items()}


def rate_table(records: Iterable[Record]) -> pd.DataFrame:
    """Learning rate -> average base, new and validation accuracy, over datasets and seeds."""
    records = list(records)
    rows = {}
    for rate in sorted({r["spec"]["lr"] for r in records}):
        found = np.stack(
            [v.mean(0) for v in final(where(records, lr=rate), "base", "new", "val").values()]
        )
        rows[rate] = found.mean(0)
    return pd.DataFrame.from_dict(rows, orient="index", columns=["base", "new", "val"])
