"""Runs as a tidy data frame: a row for each checkpoint of each run.

The pages filter and group this frame; only this file depends on the layout of records.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch

from dip_book.others import as_text
from dip_lib.training.attention import effective_rank
from dip_lib.training.record import FINISHED

Record = Mapping[str, Any]

OF_THE_RUN = ("key", "status", "label", "trainable", "seconds", "machine")
"""Columns about the whole run, beside its settings."""
DERIVED = ("last", "rank_effective", "rank_numerical")
"""Columns that are computed from the others."""


ABSENT: dict[str, Any] = {
    **dict.fromkeys(("dataset", "method"), ""),
    **dict.fromkeys(("seed",), 0),
    **dict.fromkeys(("backbone", "style", "protocol", "context"), ""),
    **dict.fromkeys(("class_split", "held_out"), 0),
    **{"vectors": 0, "rank": 0, "dropout": 0.0, "site": "update", "weight": 0.0, "depth": 1},
    **dict.fromkeys(("shots", "epochs", "batch"), 0),
    **dict.fromkeys(("lr", "momentum", "weight_decay", "warmup"), 0.0),
    **dict.fromkeys(("views", "checkpoints"), 0),
    **dict.fromkeys(("precision", "weights", "data", "target", "target_data"), ""),
    **{"keep": 0.0, "ranking": "global", "tuned": 0, "choice": "", "draw": 0},
    **{"class_position": "end", "class_specific": False, "template": "", "warmup_lr": 0.0},
    **{"own_template": True, "raw_teacher": False},
    **{"p0": True, "tokens": "", "start": ""},
    **{"bias": False, "prompt_dropout": 0.0, "drop_path": 0.0},
    **{"origin": "words", "loss_scale": 1.0, "held": False, "density": 0.0},
    **{"block": 0, "factor": 0, "optimiser": ""},
}
"""Columns of settings, in their order, with the value for runs that have no such setting."""
RENAMED = {"fingerprint": "data", "target_fingerprint": "target_data", "name": "method"}
"""Settings whose column has another name."""


def settings_of(record: Record) -> dict[str, Any]:
    """Every setting of the run by name, without nesting; of a method of yours also its own."""
    run = record["run"]
    low_rank = dict(run["low_rank"] or {})
    low_rank["rank"] = low_rank.get("rank") or 0  # a full matrix has none
    parts = (run["data"], run["tower"], run["method"], low_rank, run["schedule"] or {})
    named = {RENAMED.get(name, name): value for part in parts for name, value in part.items()}
    return ABSENT | named | {"seed": run["seed"]}


def measured_at(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """What a checkpoint measured: each number, ID_k as ``id1``, ``id2``, ..., and two ranks.

    ``id1_read``, ... are those of the prompt as the text encoder's first block reads it, centred.
    ``rank_effective`` is exp of the entropy of the singular values' shares; ``rank_numerical``
    counts singular values above rounding. What is nested stays an object.
    """
    densities = {"id": "id{}", "id_read": "id{}_read"}
    quantities = {name: value for name, value in checkpoint.items() if name not in densities}
    for name, column in densities.items():
        shares = enumerate(checkpoint.get(name, ()), start=1)
        quantities |= {column.format(k): share for k, share in shares}
    if singular := checkpoint.get("singular"):
        quantities["rank_effective"] = float(
            effective_rank(torch.tensor(singular, dtype=torch.float64))
        )
        # singular values are stored with few digits
        quantities["rank_numerical"] = float(sum(value > 1e-5 * singular[0] for value in singular))
    return quantities


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
            "label": record["label"],
            "trainable": record["trainable"],
            "seconds": record["seconds"],
            "machine": f"{machine['cpu']}, {machine['device']}",
        }
        *earlier, end = record["checkpoints"]
        rows += [run | settings | measured_at(each) | {"last": False} for each in earlier]
        rows.append(run | settings | measured_at(end) | {"last": True})
    return pd.DataFrame(rows, columns=None if rows else [*OF_THE_RUN, *ABSENT, "epoch", "last"])


def finished(runs: pd.DataFrame) -> pd.DataFrame:
    """The rows of the runs that did not stop."""
    return runs[runs["status"] == FINISHED]


def stopped_runs(runs: pd.DataFrame) -> str:
    """A line on the runs that stopped: how many, and why, by label; "" if none did."""
    once = runs.drop_duplicates("key")
    stopped = once[once["status"] != FINISHED]
    if stopped.empty:
        return ""
    reasons = [
        f"{label} ({len(same)}, {as_text(', '.join(sorted(set(same['status']))))})"
        for label, same in stopped.groupby("label", sort=False)
    ]
    return (
        f"**{len(stopped)} of {len(once)} runs stopped and are left out of every average:** "
        f"{'; '.join(reasons)}."
    )


def compact(runs: pd.DataFrame) -> pd.DataFrame:
    """The settings and numbers of a frame of runs that differ between its rows, as a CSV has them.

    Runs that stopped are left out, as of the figures; so are nested columns and ID beyond ``id2``.
    ``label`` stands for the method.
    """
    runs = finished(runs)
    left_out = {*OF_THE_RUN, *DERIVED, "method"} - {"label"}
    scalar = [
        name
        for name in runs.columns.difference(left_out, sort=False)
        if not runs[name].map(lambda value: isinstance(value, list | dict)).any()
        and not _beyond_second(name)
    ]
    differing = [name for name in scalar if runs[name].nunique(dropna=False) > 1]
    return runs[differing].set_index(differing[0]) if differing else runs[scalar]


def _beyond_second(name: str) -> bool:
    """Whether a column is ID_3, ID_4, ..., of the prompt or as it is read."""
    order = name.removeprefix("id").removesuffix("_read")
    return name.startswith("id") and order.isdigit() and int(order) > 2


def as_read(runs: pd.DataFrame) -> pd.DataFrame | None:
    """The runs with as-read ID_k in the place of ID_k, so that whatever is computed of one can be
    of the other; None if a run that finished does not hold it, as older records and CoCoOp's do."""
    held = [name for name in runs if re.fullmatch(r"id\d+_read", name)]
    if "id1_read" not in held or finished(runs)["id1_read"].isna().any():
        return None
    return runs.assign(**{name.removesuffix("_read"): runs[name] for name in held})


def where(runs: pd.DataFrame, **values: Any) -> pd.DataFrame:
    """The rows that have these values, such as ``label="DIP", dropout=0.5``."""
    inside = np.ones(len(runs), dtype=bool)  # every column first: frames are wide, and copied once
    for column, value in values.items():
        inside &= (runs[column] == value).to_numpy()
    return runs[inside]
