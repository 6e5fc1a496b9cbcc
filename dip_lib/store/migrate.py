"""Records of the earlier layout, whose settings were one flat ``spec``, brought to the present one.

Its runs were made by the same mathematics (60 of all methods were measured before and after and
are equal to the last bit), so only their names change. Nothing is measured, and nothing is lost:
the old files are kept in a folder beside the new ones.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dip_lib.data.protocols import PROTOCOLS
from dip_lib.files import write_atomic
from dip_lib.methods import METHODS
from dip_lib.store.export import every_record, export
from dip_lib.store.records import Record, is_flat
from dip_lib.store.store import LAYOUT, write_record
from dip_lib.training.parts import Data, LowRank, Schedule, Tower, VisualSchedule
from dip_lib.training.run import RECIPE, Run, schedule_type

DEFAULTS: dict[str, Any] = {
    "style": "default",
    "protocol": PROTOCOLS[0],
    "context": "a photo of a",
    "vectors": 0,
    "rank": 0,
    "dropout": 0.0,
    "site": "update",
    "weight": 0.0,
    "depth": 1,
    "shots": 16,
    "epochs": 40,
    "batch": 128,
    "lr": 0.03,
    "momentum": 0.9,
    "weight_decay": 5e-4,
    "warmup": 1 / 200,
    "views": 4,
    "checkpoints": 10,
    "precision": "fp32",
    "backbone": "glyph-resnet",
    **dict.fromkeys(("weights", "data", "target", "target_data"), ""),
    "keep": 0.0,
    "ranking": "global",
    "tuned": 0,
}
"""What a flat spec meant where a setting was left out."""
RENAMED = {"dip": "coop"}
"""DIP was a method of its own; it is CoOp with a low-rank update."""
ASIDE = "earlier-layout"
"""Folder for the files that were brought over."""


def run_of_spec(spec: Mapping[str, Any]) -> Run:
    """The run that a flat spec described.

    Raises:
        ValueError: an unknown method or value.
        KeyError: a setting is missing.
    """
    flat = {**DEFAULTS, **spec}
    kind = METHODS[RENAMED.get(flat["method"], flat["method"])]
    draws = kind.has_seed
    schedule = schedule_type(kind)
    return Run(
        data=Data(
            dataset=flat["dataset"],
            style=flat["style"],
            protocol=flat["protocol"],
            shots=flat["shots"] if draws else 0,
            views=flat["views"] if draws else 0,
            fingerprint=flat["data"],
            target=flat["target"],
            target_fingerprint=flat["target_data"],
        ),
        tower=Tower(**{name: flat[name] for name in ("backbone", "weights", "precision")}),
        method=kind.of(
            {**kind.earlier, **{name: flat[name] for name in kind.settings() if name in flat}}
        ),
        low_rank=_low_rank(flat),
        schedule=schedule(**_given(schedule, flat)) if schedule else None,
        seed=flat["seed"] if draws else 0,
    )


def _low_rank(flat: Mapping[str, Any]) -> LowRank | None:
    if not (flat["rank"] or flat["dropout"]):
        return None
    return LowRank(rank=flat["rank"] or None, dropout=flat["dropout"], site=flat["site"])


def _given(kind: type[Schedule] | type[VisualSchedule], flat: Mapping[str, Any]) -> dict[str, Any]:
    """What a flat spec says of a schedule; settings that came later keep their defaults."""
    return {name: flat[name] for name in kind.__dataclass_fields__ if name in flat}


def migrated(record: Record) -> Record:
    """A record of the earlier layout as one of the present.

    Raises:
        ValueError, KeyError: as :func:`run_of_spec`.
    """
    run = run_of_spec(record["spec"])
    rest = {name: value for name, value in record.items() if name not in ("key", "spec", "recipe")}
    names = {"key": run.key(), "recipe": record["recipe"], "code": type(run.method).identity()}
    if run.schedule is None:  # a probe's checkpoint named the epochs of the runs beside it
        rest["checkpoints"] = [each | {"epoch": 0} for each in rest["checkpoints"]]
    return names | {"label": run.label, "run": run.to_dict()} | rest


def migrate_live(folder: Path) -> int:
    """Bring a live store over; returns how many runs. Old files go to a folder inside it.

    Can be interrupted and called again. A file that cannot be brought over stays, and is named.
    Runs of another recipe, which are not read either way, only go to that folder.

    Raises:
        ValueError: files that cannot be brought over; the others are.
    """
    count, refused = 0, []
    if not folder.is_dir():
        return count
    for path in sorted(folder.glob("*.json")):
        try:
            record = json.loads(path.read_bytes())
            if not is_flat(record):
                continue
            new = migrated(record)
        except (ValueError, KeyError) as error:
            refused.append(f"{path.name} ({error})")
            continue
        tensors = path.with_suffix(".safetensors")
        if new["recipe"] == RECIPE:
            write_record(folder, new, tensors.read_bytes() if tensors.is_file() else b"")
            count += 1
        (folder / ASIDE).mkdir(exist_ok=True)
        for old in (tensors, path):
            if old.is_file():
                old.replace(folder / ASIDE / old.name)
    if refused:
        raise ValueError(f"{len(refused)} files of {folder} cannot be read: {'; '.join(refused)}")
    write_atomic(folder / LAYOUT, b"2\n")
    return count


def migrate_export(path: Path) -> int:
    """Rewrite an export of the earlier layout in place; returns how many runs.

    Raises:
        ValueError, KeyError: a record that cannot be brought over; the file is unchanged.
    """
    records = every_record(path)
    if not any(map(is_flat, records)):
        return 0
    export([migrated(record) for record in records], path)
    return len(records)
