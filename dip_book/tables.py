"""From run records to the arrays and tables that the pages show. Pure functions.

Symbols: D datasets, S seeds, T points of a trajectory, F fields.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from dip_book.statistics import (
    Interval,
    average_h,
    average_h_difference,
    detectable_effect,
    hierarchical_bootstrap,
    paired,
    paired_difference,
)
from dip_lib.data import harmonic_mean
from dip_lib.training.attention import effective_rank

Record = dict[str, Any]
Array = NDArray[np.float64]


def where(records: Iterable[Record], **spec: Any) -> list[Record]:
    """The records whose spec has these values, such as ``method="coop", lr=0.03``."""
    return [r for r in records if all(r["spec"][k] == v for k, v in spec.items())]


def value_of(checkpoint: dict[str, Any], field: str) -> float:
    """ "new", "epoch", ...; "id1", "id2" for ID_k; "rank", "full_rank": effective, numerical."""
    if field == "rank":
        return float(effective_rank(torch.tensor(checkpoint["singular"], dtype=torch.float64)))
    if field.startswith("id") and field[2:].isdigit():
        return float(checkpoint["id"][int(field[2:]) - 1])
    if field == "full_rank":  # singular values above rounding; stored with few digits
        return float(sum(s > 1e-5 * checkpoint["singular"][0] for s in checkpoint["singular"]))
    return float(checkpoint[field])


def trajectories(records: Iterable[Record], fields: Sequence[str]) -> dict[str, Array]:
    """Dataset -> (S, T, F): the fields at every checkpoint of every seed, seeds ascending."""
    rows: dict[str, list[Array]] = {}
    for record in sorted(records, key=lambda r: (r["spec"]["dataset"], r["spec"]["seed"])):
        if record["status"] != "finished":
            continue
        points = [[value_of(record["spec"] | c, f) for f in fields] for c in record["checkpoints"]]
        rows.setdefault(record["spec"]["dataset"], []).append(np.array(points))
    return {dataset: np.stack(found) for dataset, found in rows.items()}


def final(records: Iterable[Record], *fields: str) -> dict[str, Array]:
    """Dataset -> (S, F) values of the trained prompt, or (S,) for a single field."""
    last = {d: t[:, -1] for d, t in trajectories(records, fields).items()}
    return {d: v[:, 0] for d, v in last.items()} if len(fields) == 1 else last


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


def _same_seeds(a: dict[str, Array], b: dict[str, Array]) -> None:
    """Refuse (S, F) rows of other seeds, the last column; seed 0, which draws nothing, is any."""
    for name in sorted(a.keys() & b.keys()):
        x, y = (side[name][:, -1].astype(int) for side in (a, b))
        if x.any() and y.any() and not np.array_equal(x, y):
            raise ValueError(f"not paired: {name!r} has seeds {x} against {y}")


def differences(
    ours: Iterable[Record], theirs: Iterable[Record], datasets: Iterable[str] | None = None
) -> dict[str, Interval]:
    """Ours minus theirs, paired by dataset and seed: base, new and H of the averages."""
    a, b = (subset(final(side, "base", "new", "seed"), datasets) for side in (ours, theirs))
    _same_seeds(a, b)
    four = {d: np.hstack([a[d][:, :2], b[d][:, :2] + 0 * a[d][:, :2]]) for d in paired(a, b)}
    return {
        "base": paired_difference(_column(a, 0), _column(b, 0)),
        "new": paired_difference(_column(a, 1), _column(b, 1)),
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


# ---- any study --------------------------------------------------------------------------------

NAMES = {
    "zero-shot": "zero-shot",
    "ensemble": "zero-shot, ensemble",
    "probe": "linear probe",
    "coop": "CoOp",
    "dip": "DIP",
    "do": "DO",
    "pp": "PP",
    "kgcoop": "KgCoOp",
    "prograd": "ProGrad",
    "dept": "DePT",
    "cocoop": "CoCoOp",
    "maple": "MaPLe",
    "promptsrc": "PromptSRC",
    "vpt": "VPT",
    "spt": "SPT",
    "cvpt": "CVPT",
}
"""Method -> how the field writes it."""


def label(record: Record) -> str:
    """ "CoOp", "DIP", "KgCoOp + DIP", ..."""
    spec = record["spec"]
    dense = " + DIP" if spec["rank"] and spec["method"] != "dip" else ""
    return NAMES.get(spec["method"], spec["method"]) + dense


def by(records: Iterable[Record], name: Callable[[Record], Any]) -> dict[Any, list[Record]]:
    """Records in groups, in the order in which the groups first appear."""
    found: dict[Any, list[Record]] = {}
    for record in records:
        found.setdefault(name(record), []).append(record)
    return found


def average_of(records: Iterable[Record], field: str, n: int = 2000) -> Interval:
    """The average of one field of the last checkpoint over datasets, with its interval."""
    return hierarchical_bootstrap(final(records, field), n=n)


def gap(ours: Iterable[Record], theirs: Iterable[Record], field: str = "base") -> Interval:
    """Ours minus theirs in one field, paired by dataset and seed."""
    a, b = final(ours, field, "seed"), final(theirs, field, "seed")
    _same_seeds(a, b)
    return paired_difference(_column(a, 0), _column(b, 0))


def over_seeds(values: Array) -> Interval:
    """Mean and range over seeds, (S,): what is said of a single dataset."""
    return Interval(float(values.mean()), float(values.min()), float(values.max()))


def sweep(records: Iterable[Record], setting: str, field: str) -> pd.DataFrame:
    """A field's average at every value of a setting: index the value; value, low, high.

    The band is a 95 % interval over datasets; of a single dataset it is the range over seeds.
    """
    rows = {}
    for at, found in sorted(by(records, lambda record: record["spec"][setting]).items()):
        values = final(found, field)
        single = over_seeds(next(iter(values.values())))
        rows[at] = vars(single if len(values) == 1 else hierarchical_bootstrap(values, n=2000))
    return pd.DataFrame.from_dict(rows, orient="index")


def sweep_h(records: Iterable[Record], setting: str) -> pd.DataFrame:
    """As :func:`sweep`, of H of the averages, with a 95 % interval even of one dataset."""
    rows = {}
    for at, found in sorted(by(records, lambda record: record["spec"][setting]).items()):
        rows[at] = vars(hierarchical_bootstrap(final(found, "base", "new"), average_h, n=2000))
    return pd.DataFrame.from_dict(rows, orient="index")


def detectable(ours: Iterable[Record], theirs: Iterable[Record], field: str = "h") -> float:
    """The smallest true difference in a field, or in H, that as many datasets would find."""

    def values(records: Iterable[Record]) -> dict[str, Array]:
        if field != "h":
            return final(records, field)
        both = final(records, "base", "new")
        return {name: harmonic_mean(v[:, 0], v[:, 1]) for name, v in both.items()}

    return detectable_effect(paired(values(ours), values(theirs)))


def summary(groups: Mapping[str, Sequence[Record]]) -> pd.DataFrame:
    """A row for each group of base-to-new runs: averages over datasets, and what a run trains.

    H is that of the averages, as the field has it; "mean H" is the average of each dataset's.
    """
    rows = {}
    for name, found in groups.items():
        both = final(found, "base", "new")
        base, new = np.mean([v.mean(0) for v in both.values()], axis=0)
        means = [harmonic_mean(*v.mean(0)) for v in both.values()]
        rows[name] = {
            "base": base,
            "new": new,
            "H": harmonic_mean(base, new),
            "mean H": np.mean(means),
            "joint": average_of(found, "joint", 1).value,
            "ECE new": average_of(found, "ece", 1).value,
            "numbers": int(np.mean([record["trainable"] for record in found])),
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def shrunk(records: Iterable[Record]) -> pd.DataFrame:
    """CoOp's prompts made smaller after training: a row for each way; base, new, H of averages."""
    rows = {
        (r["spec"]["dataset"], r["spec"]["seed"]): pd.DataFrame(r["checkpoints"][-1]["shrunk"]).T
        for r in records
        if r["status"] == "finished"
    }
    each = pd.concat(rows, names=["dataset", "seed", "way"]).groupby(["way", "dataset"], sort=False)
    table = each.mean().groupby("way", sort=False).mean().rename_axis(None)
    return table.assign(H=harmonic_mean(table["base"], table["new"]))


def published() -> pd.DataFrame:
    """Averages as their authors print them: method, base, new, H, source."""
    file = Path(__file__).with_name("published.toml")
    return pd.DataFrame(tomllib.loads(file.read_text("utf-8"))["row"])
