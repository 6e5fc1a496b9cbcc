"""Page 10, its last table: what the methods' authors set, and what the profile "paper" sets.

Theirs stand in ``peers.toml`` with the file that says so; ours are read from the profile and from
the methods' code, so that the table cannot say what is not run.
"""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from dip_lib.data.photos import PHOTOS
from dip_lib.methods import METHODS, PromptMethod
from dip_lib.training.parts import Schedule
from dip_study.profiles import Profile
from dip_study.runs import make_run

PEERS: Mapping[str, Any] = tomllib.loads(
    Path(__file__).parents[1].joinpath("peers.toml").read_text("utf-8")
)
"""Rows of settings, and templates by method and dataset; the file explains the fields."""
USUAL = "caltech101"
"""The dataset of a row that names none."""


def table(profile: Profile) -> pd.DataFrame:
    """Theirs beside ours: a row a setting, with the file that theirs comes from.

    Raises:
        ValueError: a row of ``peers.toml`` that speaks of all methods, where ours differ.
    """
    rows = [_shown(row, ours(profile, row)) for row in rows_of(profile)]
    return pd.DataFrame(rows).set_index(["method", "setting"])


def rows_of(profile: Profile) -> Iterator[Mapping[str, Any]]:
    """The rows of ``peers.toml``, and those of the templates that are not the dataset's own."""
    yield from PEERS["row"]
    for method, templates in PEERS["templates"].items():
        each = {"method": method, "file": templates["file"]}
        for dataset in profile.datasets:
            theirs = templates[dataset]
            if theirs != PHOTOS[dataset].template:
                yield each | {"setting": "template", "dataset": dataset, "theirs": theirs}
            words = theirs.replace(" {}.", "")
            if method == "prograd" and words != profile.context:
                yield each | {"setting": "context", "dataset": dataset, "theirs": words}


def ours(profile: Profile, row: Mapping[str, Any]) -> Any:
    """What the profile's run of the row's method has in place of theirs."""
    if constant := row.get("constant"):
        return getattr(sys.modules[METHODS[row["method"]].__module__], constant)
    dataset = row.get("dataset", USUAL)
    names = [row["method"]]
    if row["method"] == "all":
        kinds = (kind for kind in METHODS.values() if issubclass(kind, PromptMethod))
        names = [kind.name for kind in kinds if kind.name == "coop" or profile.has(kind.name)]
    values = {name: settings(profile, name, dataset)[row["setting"]] for name in names}
    if len(distinct := set(values.values())) > 1:
        raise ValueError(f"{row['setting']} is not the same for all methods: {values}")
    return distinct.pop()


def settings(profile: Profile, method: str, dataset: str) -> dict[str, Any]:
    """Every setting of a method's run on a dataset by name, and what follows from them."""
    run = make_run(profile, dataset, method, profile.seeds[0], fingerprint="")
    parts = run.to_dict()
    named = {n: v for part in parts.values() if isinstance(part, Mapping) for n, v in part.items()}
    if isinstance(schedule := run.schedule, Schedule):
        named["first epoch"] = schedule.warmup_lr or schedule.lr * schedule.warmup
    named["template"] = named.get("template") or PHOTOS[dataset].template
    return named


def _shown(row: Mapping[str, Any], own: Any) -> dict[str, Any]:
    """A row of the table."""
    kind = METHODS.get(row["method"])
    setting = row.get("setting") or row["constant"]
    return {
        "method": kind.label if kind else row["method"],
        "setting": f"{setting}, {row['dataset']}" if "dataset" in row else setting,
        "theirs": _text(row["theirs"]),
        "ours": _text(own),
        "why not the same": row.get("differs", ""),
        "their file": row["file"],
    }


def _text(value: Any) -> str:
    """As a table has it: "1e-05" and not 0.00001, "random" for no words."""
    if value == "" and isinstance(value, str):
        return "random"
    return f"{value:g}" if isinstance(value, float) else str(value)
