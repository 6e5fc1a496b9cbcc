"""Surgery on trained updates: other spectra, other directions, other norms; nothing is trained.

Symbols: W ways. A frame holds the last checkpoints of runs of
:class:`dip_lib.methods.surgery.Surgery`, whose column ``surgery`` has a row for each way.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from dip_book.estimates import estimate_known
from dip_book.frame import finished
from dip_book.interval import Interval
from dip_book.tables import differences, finished_pairs
from dip_lib.methods.surgery import DRAWS, FACTORS

AS_TRAINED = "x 1"
WAYS = {
    "sharper": ("sharper",),
    "flat": ("flat",),
    "rank 1": ("rank 1",),
    "random width directions": tuple(f"random width {i + 1}" for i in range(DRAWS)),
    "random directions": tuple(f"random {i + 1}" for i in range(DRAWS)),
}
"""What was done, at the norm of the trained update -> the evaluations that are averaged."""
MEASURED = ("base", "new", "val", "id1", "id1_read", "update_norm", "drift_words")


def ways(runs: pd.DataFrame) -> pd.DataFrame:
    """A row for each run and way: dataset, seed, way, and :data:`MEASURED`."""
    rows = [
        {"dataset": run.dataset, "seed": run.seed, "way": way, **each}
        for run in finished(runs[runs["last"]]).itertuples()
        if isinstance(run.surgery, Mapping)  # an update of zero has none
        for way, each in run.surgery.items()
    ]
    table = pd.DataFrame(rows, columns=["dataset", "seed", "way", *MEASURED])
    return table.set_index(["dataset", "seed", "way"]).sort_index()


def changes(runs: pd.DataFrame, column: str = "new") -> dict[str, Interval]:
    """A column after each operation minus as trained, averaged over draws: way -> interval."""
    values = ways(runs)[column].unstack("way")
    found = {}
    for name, same in WAYS.items():
        gaps = values[[*same]].mean(axis=1) - values[AS_TRAINED]
        found[name] = estimate_known({d: each.to_numpy() for d, each in gaps.groupby("dataset")})
    return found


SPECTRUM = ("sharper", "flat", "rank 1")
"""Operations that leave an update of rank 1 as it is."""


def figure_rows(operated: Mapping[str, pd.DataFrame]) -> dict[str, Interval]:
    """Change in new-class accuracy of each design and operation; none that cannot change it."""
    return {
        f"{design}, {way}": gap
        for design, runs in operated.items()
        for way, gap in changes(runs).items()
        if not (runs["rank"].eq(1).all() and way in SPECTRUM)
    }


def breaks(rows: Mapping[str, Interval]) -> list[str]:
    """The rows that begin a design, but for the first."""
    first: dict[str, str] = {}
    for name in rows:
        first.setdefault(name.split(",")[0], name)
    return [*first.values()][1:]


def table(runs: pd.DataFrame) -> pd.DataFrame:
    """Averages over datasets after each operation: accuracy, densities, drift."""
    means = ways(runs).groupby(["way", "dataset"]).mean().groupby("way").mean()
    rows = {"as trained": means.loc[AS_TRAINED]}
    rows |= {name: means.loc[[*same]].mean() for name, same in WAYS.items()}
    shown = pd.DataFrame(rows).T[["base", "new", "id1", "id1_read", "drift_words"]]
    named = {"id1": "ID1", "id1_read": "ID1 as read", "drift_words": "drift"}
    return shown.rename(columns=named)


def at_norm(runs: pd.DataFrame, norms: Mapping[tuple[str, int], float]) -> pd.DataFrame:
    """Accuracy of each run with its update scaled to a given norm, as rows of last checkpoints.

    Between two evaluated factors it is interpolated; runs whose norm lies beyond all of them have
    no row.

    Args:
        norms: (dataset, seed) -> norm.
    """
    scaled = {f"x {factor:g}": factor for factor in FACTORS}
    values, rows = ways(runs), list[dict[str, Any]]()
    for (dataset, seed), wanted in norms.items():
        if (dataset, seed) not in values.index.droplevel("way"):
            continue
        of_run = values.loc[(dataset, seed)].loc[[*scaled]]
        factor = wanted / float(of_run.loc[AS_TRAINED, "update_norm"])
        if not FACTORS[0] <= factor <= FACTORS[-1]:
            continue
        base, new = (float(np.interp(factor, FACTORS, of_run[c])) for c in ("base", "new"))
        rows.append({"dataset": dataset, "seed": seed, "base": base, "new": new, "factor": factor})
    columns = ["dataset", "seed", "base", "new", "factor"]
    return pd.DataFrame(rows, columns=columns).assign(status="finished", last=True)


def norms(runs: pd.DataFrame) -> dict[tuple[str, int], float]:
    """The norm of each run's trained update, by dataset and seed."""
    values = ways(runs)["update_norm"].xs(AS_TRAINED, level="way")
    return {(str(d), int(s)): float(v) for (d, s), v in values.items()}


def matched(ours: pd.DataFrame, theirs: pd.DataFrame) -> dict[str, Interval]:
    """Ours as trained minus theirs at the norm of ours: "base", "new", "h".

    {} where fewer than two datasets have a pair whose norm lies among the evaluated factors.
    """
    other = at_norm(theirs, norms(ours))
    if other["dataset"].nunique() < 2:
        return {}
    pairs = set(zip(other["dataset"], other["seed"], strict=True))
    ends = finished(ours[ours["last"]])
    kept = [(d, s) in pairs for d, s in zip(ends["dataset"], ends["seed"], strict=True)]
    return differences(*finished_pairs(ends[kept], other))


def share_matched(ours: pd.DataFrame, theirs: pd.DataFrame) -> float:
    """Share of the pairs whose norm lies among the evaluated factors."""
    wanted = norms(ours)
    return len(at_norm(theirs, wanted)) / max(1, len(wanted))
