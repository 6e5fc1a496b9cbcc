"""Runs as a tidy data frame: a row for each checkpoint of each run.

The pages filter and group this frame; only this file knows how a record is built.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd
import torch

from dip_lib.visual.attention import effective_rank

Record = Mapping[str, Any]

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

OF_THE_RUN = ("key", "status", "label", "trainable", "seconds", "machine")
"""Columns about the whole run, beside its settings."""
DERIVED = ("last", "rank_effective", "rank_numerical")
"""Columns that are computed from the others."""


def settings_of(record: Record) -> dict[str, Any]:
    """Every setting of the run by name, without nesting."""
    return dict(record["spec"])


def label_of(settings: Mapping[str, Any]) -> str:
    """ "CoOp", "DIP" (CoOp whose prompt has a low rank), "KgCoOp + DIP", ..."""
    method, low_rank = settings["method"], settings["rank"] > 0
    if method == "coop" and low_rank:
        return NAMES["dip"]
    dense = " + DIP" if low_rank and method != "dip" else ""
    return NAMES.get(method, method) + dense


def measured_at(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """What a checkpoint measured: each number, ID_k as ``id1``, ``id2``, ..., and two ranks.

    ``rank_effective`` is exp of the entropy of the singular values' shares; ``rank_numerical``
    counts singular values above rounding. What is nested stays an object.
    """
    found = {name: value for name, value in checkpoint.items() if name != "id"}
    found |= {f"id{k}": share for k, share in enumerate(checkpoint.get("id", ()), start=1)}
    if singular := checkpoint.get("singular"):
        found["rank_effective"] = float(effective_rank(torch.tensor(singular, dtype=torch.float64)))
        # singular values are stored with few digits
        found["rank_numerical"] = float(sum(value > 1e-5 * singular[0] for value in singular))
    return found


def frame(records: Iterable[Record]) -> pd.DataFrame:
    """A row for each checkpoint of each run, in their order.

    Columns: ``key``, ``status``, ``label`` ("CoOp", "DIP", "KgCoOp + DIP", ...), ``trainable``,
    ``seconds`` and ``machine`` ("processor, device") of the run; every setting; then ``epoch``,
    ``last`` (whether it is the run's last checkpoint) and what was measured there. A quantity that
    a checkpoint lacks is nan.
    """
    rows = []
    for record in records:
        settings = settings_of(record)
        machine = record["machine"]
        run = {
            "key": record["key"],
            "status": record["status"],
            "label": label_of(settings),
            "trainable": record["trainable"],
            "seconds": record["seconds"],
            "machine": f"{machine['cpu']}, {machine['device']}",
        }
        *earlier, end = record["checkpoints"]
        rows += [run | settings | measured_at(each) | {"last": False} for each in earlier]
        rows.append(run | settings | measured_at(end) | {"last": True})
    return pd.DataFrame(rows, columns=None if rows else [*OF_THE_RUN, "epoch", "last"])


def compact(runs: pd.DataFrame) -> pd.DataFrame:
    """The settings and numbers of a frame of runs that differ between its rows, as a CSV has them.

    Nested columns and ID beyond ``id2`` are left out; ``label`` stands for the method.
    """
    left_out = {*OF_THE_RUN, *DERIVED, "method"} - {"label"}
    scalar = [
        name
        for name in runs.columns.difference(left_out, sort=False)
        if not runs[name].map(lambda value: isinstance(value, list | dict)).any()
        and not (name.startswith("id") and name[2:].isdigit() and int(name[2:]) > 2)
    ]
    differing = [name for name in scalar if runs[name].nunique(dropna=False) > 1]
    return runs[differing].set_index(differing[0]) if differing else runs[scalar]


def where(runs: pd.DataFrame, **values: Any) -> pd.DataFrame:
    """The rows that have these values, such as ``label="DIP", dropout=0.5``."""
    for column, value in values.items():
        runs = runs[runs[column] == value]
    return runs
