"""The run store: one JSON file a run, named by the run's key, with what it learnt beside it.

Files appear whole or not at all. Committed exports lie beneath the live store and are never
written; a damaged file is named, set aside and counts as missing, so its run is measured again.
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from dip_lib.files import sweep, write_atomic
from dip_lib.spec import RECIPE, RunSpec

Record = dict[str, Any]
DIGITS = 5
"""Significant digits of measured numbers in an export."""


class Store:
    """Finished runs: a live folder over read-only exports.

    Args:
        live: folder of this machine's runs; created by the first ``put``.
        layers: exports (:func:`export`) beneath it, the first wins; one that is absent is empty.
    """

    def __init__(self, live: Path, layers: Sequence[Path] = ()) -> None:
        self.live = live
        self.committed: dict[str, Record] = {}
        for layer in reversed(layers):
            self.committed |= {record["key"]: record for record in _read_export(layer)}
        sweep(live)

    def get(self, spec: RunSpec) -> Record | None:
        """The run's record, or None when it has to be measured."""
        return _read(self.live / f"{spec.key()}.json") or self.committed.get(spec.key())

    def missing(self, specs: Iterable[RunSpec]) -> list[RunSpec]:
        """The specs without a record, in their order, each once."""
        return [spec for spec in dict.fromkeys(specs) if self.get(spec) is None]

    def records(self) -> list[Record]:
        """Every run of the current recipe, live before committed, sorted by key."""
        live = [_read(path) for path in self.live.glob("*.json")]
        found = self.committed | {record["key"]: record for record in live if record}
        return [found[key] for key in sorted(found)]

    def learnt(self, spec: RunSpec) -> dict[str, Tensor] | None:
        """What a live run has learnt, by name; None when it has to be trained (again)."""
        path = self.live / f"{spec.key()}.safetensors"
        try:
            return load_file(path) if path.is_file() and self.get(spec) else None
        except SafetensorError as error:
            _warn(path, str(error))
            return None

    def put(self, record: Record, learnt: Mapping[str, Tensor] | None = None) -> None:
        """Keep a run; what it has learnt, if anything, is on disk before its record is.

        Numbers that are not finite are stored as null.

        Raises:
            ValueError: the record is not one of the current recipe, or its key not its spec's.
            OSError: no space or no permission, naming the file; nothing half-written stays.
        """
        if reason := _fault(record):
            raise ValueError(f"not a run record: {reason}")
        if learnt:
            kept = {name: each.detach().float().cpu().contiguous() for name, each in learnt.items()}
            write_atomic(self.live / f"{record['key']}.safetensors", save(kept))
        text = json.dumps(_plain(record), indent=1, allow_nan=False) + "\n"
        write_atomic(self.live / f"{record['key']}.json", text.encode())


def export(records: Iterable[Record], path: Path, ends: bool = False) -> None:
    """Write runs as one compact, diffable file: what all share once, then one line a run.

    Measured numbers are rounded to 5 significant digits, specs are not, so keys stay valid.
    ``ends`` keeps of each run only its last checkpoint.
    """
    rows = [_plain(record, DIGITS) | {"spec": record["spec"]} for record in records]
    for row in rows if ends else ():
        row["checkpoints"] = row["checkpoints"][-1:]
    rows.sort(key=lambda row: json.dumps(row["spec"], sort_keys=True))
    common = _shared(rows) | {"spec": _shared([row["spec"] for row in rows])}
    lines = [
        json.dumps(_without(row, common) | {"spec": _without(row["spec"], common["spec"])})
        for row in rows
    ]
    runs = ",\n".join(lines)
    write_atomic(path, f'{{"common": {json.dumps(common)},\n"runs": [\n{runs}\n]}}\n'.encode())


def _shared(rows: list[Record]) -> Record:
    """Entries that all rows have alike, but for what names and fills a run."""
    return {
        name: value
        for name, value in (rows[0] if rows else {}).items()
        if name not in ("key", "spec", "checkpoints")
        and len({json.dumps(row.get(name), sort_keys=True) for row in rows}) == 1
    }


def _without(row: Record, common: Record) -> Record:
    return {name: value for name, value in row.items() if name not in common}


def _read_export(path: Path) -> list[Record]:
    """The sound records of an export; what is damaged is named in a warning."""
    if not path.is_file():
        return []
    sound: list[Record] = []
    try:
        saved = json.loads(path.read_bytes())
        for row in saved["runs"]:
            record = saved["common"] | row | {"spec": saved["common"]["spec"] | row["spec"]}
            if reason := _fault(record):
                if not _outdated(record):
                    _warn(path, f"run {record.get('key')}: {reason}")
            else:
                sound.append(record)
    except (ValueError, KeyError, TypeError) as error:
        _warn(path, f"{type(error).__name__}: {error}")
    return sound


def _read(path: Path) -> Record | None:
    """A live record; None when there is none, when it is outdated, or damaged (set aside)."""
    try:
        record = json.loads(path.read_bytes())
        reason = _fault(record) or ("" if record["key"] == path.stem else "named by another key")
    except FileNotFoundError:
        return None
    except ValueError as error:
        record, reason = None, str(error)
    if not reason:
        return dict(record)
    if not _outdated(record):
        aside = path.with_name(f"{path.name}.damaged")
        with suppress(OSError):
            path.replace(aside)
        _warn(path, f"{reason}; set aside as {aside.name}")
    return None


def _fault(record: Any) -> str:
    """Why this is not a sound record of the current recipe; "" when it is."""
    try:
        key = RunSpec.from_dict(record["spec"]).key()
        if record["recipe"] != RECIPE:
            return f"recipe {record['recipe']} is not the current {RECIPE}"
        if not isinstance(record["checkpoints"], list) or not record["status"]:
            return "no checkpoints or no status"
        return "" if record["key"] == key else f"key {record['key']} is not its spec's, {key}"
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        return f"{type(error).__name__}: {error}"


def _outdated(record: Any) -> bool:
    """Whether a record is whole, but of another recipe or of a later RunSpec."""
    if not isinstance(record, dict) or not isinstance(record.get("spec"), dict):
        return False
    names = {field.name for field in fields(RunSpec)}
    return record.get("recipe") != RECIPE or not record["spec"].keys() <= names


def _warn(path: Path, reason: str) -> None:
    text = f"{path} is damaged ({reason}); what it held counts as missing and is measured again"
    warnings.warn(text, stacklevel=4)


def _plain(value: Any, digits: int | None = None) -> Any:
    """Strict JSON: no NaN or infinity; floats rounded to ``digits`` significant digits if given."""
    if isinstance(value, dict):
        return {name: _plain(each, digits) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each, digits) for each in value]
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        return float(f"{value:.{digits}g}") if digits else value
    return value
