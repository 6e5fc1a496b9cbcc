"""Exports: many runs as one compact, diffable file, the form in which results are committed."""

from __future__ import annotations

import json
import warnings
from collections.abc import Container, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from dip_lib.errors import DamagedFileError
from dip_lib.files import write_atomic
from dip_lib.store.records import Record, fault, is_flat, is_outdated, plain

DIGITS = 5
"""Significant digits of measured numbers."""
OWN = ("key", "checkpoints")
"""Entries that stay with each run and are never moved to the common part."""


def export(records: Iterable[Record], path: Path, ends: Container[str] = ()) -> None:
    """Write runs as one file: their common entries once, then a line for each run.

    Measured numbers are rounded to 5 significant digits, settings are not, so keys stay valid.

    Args:
        ends: keys of runs of which only the last checkpoint is kept.
    """
    rounded = (plain(record, DIGITS) | {"run": record["run"]} for record in records)
    # in one order, so that what was read from an export is written as it was
    rows = [{"key": row["key"], **_sorted(row)} for row in rounded]
    for row in (row for row in rows if row["key"] in ends):
        row["checkpoints"] = row["checkpoints"][-1:]
    rows.sort(key=lambda row: json.dumps(row["run"], sort_keys=True))
    common = _shared([{k: v for k, v in row.items() if k not in OWN} for row in rows])
    lines = ",\n".join(json.dumps(_without(row, common)) for row in rows)
    write_atomic(path, f'{{"common": {json.dumps(common)},\n"runs": [\n{lines}\n]}}\n'.encode())


def every_record(path: Path) -> list[Record]:
    """The records of an export as they stand, of whatever code or layout.

    Raises:
        OSError: a file that is not there.
        DamagedFileError: one that is no export.
    """
    try:
        saved = json.loads(path.read_bytes())
        return [_merged(saved["common"], row) for row in saved["runs"]]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedFileError(str(path), f"{type(error).__name__}: {error}") from error


def read_export(path: Path) -> list[Record]:
    """The sound records of an export; what is damaged is named in a warning."""
    if not path.is_file():
        return []
    try:
        records = every_record(path)
    except DamagedFileError as error:
        _warn(path, f"it is damaged ({error.reason})")
        return []
    if any(map(is_flat, records)):
        _warn(path, "it is of an earlier layout: bring it over with `dip store migrate`")
        return []
    sound = []
    for record in records:
        if not (reason := fault(record)):
            sound.append(record)
        elif not is_outdated(record):
            _warn(path, f"it is damaged (run {record.get('key')}: {reason})")
    return sound


def _sorted(value: Any) -> Any:
    """Mappings, also inside mappings, in the order of their names."""
    if not isinstance(value, dict):
        return value
    return {name: _sorted(each) for name, each in sorted(value.items())}


def _shared(rows: Sequence[Mapping[str, Any]]) -> Record:
    """Entries that all rows have alike, also inside entries that are mappings in all."""
    common: Record = {}
    for name in rows[0] if rows else ():
        values = [row.get(name) for row in rows]
        nested = [value for value in values if isinstance(value, dict)]
        if len(nested) == len(values):
            if inner := _shared(nested):
                common[name] = inner
        elif len({json.dumps(value, sort_keys=True) for value in values}) == 1:
            common[name] = values[0]
    return common


def _without(row: Record, common: Record) -> Record:
    """What :func:`_merged` needs beside ``common`` to give ``row`` again."""
    left = {}
    for name, value in row.items():
        if name not in common:
            left[name] = value
        elif isinstance(value, dict) and (inner := _without(value, common[name])):
            left[name] = inner
    return left


def _merged(common: Record, row: Record) -> Record:
    merged = common | row
    for name, value in common.items():
        if isinstance(value, dict) and isinstance(row.get(name), dict):
            merged[name] = _merged(value, row[name])
    return merged


def _warn(path: Path, reason: str) -> None:
    text = f"{path}: {reason}; its runs count as missing and are measured again"
    warnings.warn(text, stacklevel=4)
