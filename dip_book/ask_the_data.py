"""Every committed run as one compact table of columns, for the page *Ask the data*.

A run is a row: its settings, and what its last checkpoint measured. The table is made when the book
is built, from ``results/`` alone and by the standard library alone: ``make site`` has no pandas.
"""

from __future__ import annotations

import base64
import json
import tomllib
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from dip_book.ask_columns import COLUMNS, NO_COLUMN, Column

Row = Mapping[str, Any]

AT_THE_END = (
    *("base", "new", "val", "joint", "ece", "drift_words", "drift_base", "drift_new"),
    *("update_norm", "loss", "sharpness"),
)
"""What a checkpoint holds by the name of its column."""
GRIDS = ("fronts", "beyond")
"""Studies of many settings, from which methods choose: most of all runs, which the page loads when
they are asked for."""
LATER = {"class_split": 0, "held_out": 0}
"""Settings of the data that runs of before they were there do not name, with what these had."""
LATER_LOW_RANK = {"p0": True}
"""The same of a low-rank update."""


@dataclass(frozen=True)
class Source:
    """A file of committed runs: its path in the repository, its world and its runs, a row each."""

    path: str
    world: str
    rows: Sequence[Row]


def profiles() -> Path:
    """The folder of the profiles, found without importing them, which would need torch."""
    spec = find_spec("dip_study")
    assert spec and spec.origin
    return Path(spec.origin).with_name("profiles")


def world_of(profile: str) -> str:
    """The world of a profile, "Glyph World"; that of the profile it is like, if it names none.

    Raises:
        OSError: there is no such profile.
        KeyError: neither has a world.
    """
    settings = tomllib.loads((profiles() / f"{profile}.toml").read_text("utf-8"))
    if "world" not in settings:
        return world_of(settings["like"])
    return str(settings["world"])


def merged(common: Row, own: Row) -> dict[str, Any]:
    """A run of an export: what all its runs share, with what is the run's own."""
    whole = {**common, **own}
    for name, value in common.items():
        if isinstance(value, dict) and isinstance(own.get(name), dict):
            whole[name] = merged(value, own[name])
    return whole


def harmonic_mean(base: float | None, new: float | None) -> float | None:
    """H of two accuracies; None where one was not measured."""
    if base is None or new is None:
        return None
    return 2 * base * new / (base + new) if base + new else 0.0


def told(value: Any) -> Any:
    """A setting as a reader sees it: yes and no, a list as JSON, nothing for an empty text."""
    if isinstance(value, list | dict):
        return json.dumps(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return None if value == "" else value


def study_of(path: str) -> str:
    """The study of a file of runs, as a reader sees it."""
    return Path(path).stem.replace("_", " ")


def row(world: str, study: str, record: Row) -> dict[str, Any]:
    """A run's settings and what its last checkpoint measured, each by the name of its column.

    A setting that the run does not have is absent or None.
    """
    run, end = record["run"], record["checkpoints"][-1]
    low_rank = LATER_LOW_RANK | run["low_rank"] if run["low_rank"] else {}
    parts = (run["data"], run["tower"], run["method"], low_rank, run["schedule"])
    settings = LATER | {name: told(v) for part in parts for name, v in (part or {}).items()}
    vectors, words = settings.get("vectors"), (settings.get("context") or "").split()
    measured = {name: end.get(name) for name in AT_THE_END}
    densities = {"id1": end.get("id"), "id1_read": end.get("id_read")}
    return {
        **{name: v for name, v in settings.items() if name not in NO_COLUMN},
        **measured,
        **{name: shares[0] if shares else None for name, shares in densities.items()},
        **{name: record[name] for name in ("status", "trainable", "seconds", "memory_mb")},
        "h": harmonic_mean(end["base"], end.get("new")),
        "length": len(words) if words and not vectors else vectors,
        "method": record["label"],
        **{"world": world, "study": study, "seed": run["seed"]},
    }


def committed(results: Path) -> Iterator[Source]:
    """The files of runs in ``results``: those in folders with the name of a profile."""
    known = {path.stem for path in profiles().glob("*.toml")}
    for path in sorted(results.glob("*/*.json")):
        if (profile := path.parent.name) in known:
            saved, world = json.loads(path.read_bytes()), world_of(profile)
            records = (merged(saved["common"], own) for own in saved["runs"])
            rows = [row(world, study_of(path.name), record) for record in records]
            yield Source(f"results/{profile}/{path.name}", world, rows)


def columns_of(rows: Sequence[Row]) -> list[Column]:
    """The columns in which runs differ, one or the other missing aside; a setting that is not
    described is called by its name."""
    distinct: dict[str, set[Any]] = {}
    for each in rows:
        for name, value in each.items():
            distinct.setdefault(name, set()).add(value)
    named = {column.name for column in COLUMNS}
    found = [*COLUMNS, *(Column(name, name) for name in sorted({*distinct} - named))]
    return [each for each in found if len(distinct.get(each.name, set()) - {None}) > 1]


def codes(column: Column, values: Sequence[Any]) -> tuple[dict[str, Any], list[int]]:
    """A column as whole numbers, 0 for none, and what is needed to read them."""
    some = [value for value in values if value is not None]
    about: dict[str, Any] = {"name": column.name, "title": column.title, "about": column.about}
    if column.per:
        low = min(round(value * column.per) for value in some)
        found = [0 if v is None else round(v * column.per) - low + 1 for v in values]
        return about | {"per": column.per, "low": low}, found
    distinct = sorted(set(some), key=lambda value: (isinstance(value, str), value))
    at = {value: i for i, value in enumerate(distinct, start=1)}
    return about | {"values": distinct}, [0 if v is None else at[v] for v in values]


def packed(sources: Iterable[Source]) -> dict[str, Any]:
    """The runs as the page's ``data.js`` reads them.

    Returns:
        columns: name, title and about of each, with ``values`` (code 1 is the first) or ``per`` and
        ``low`` (a number is (low + code - 1) / per), and the bytes of a code; parts: the runs of
        all studies but :data:`GRIDS`, then those of the grids, each with its ``sources`` ([path,
        world, study, runs] of each file, in the order of the rows, which is that of the files'
        lines) and its ``data`` (the columns' codes, the high bytes of a column first, compressed
        by zlib, in base64).
    """
    files = list(sources)
    parts = [
        [file for file in files if (Path(file.path).stem in GRIDS) == grids]
        for grids in (False, True)
    ]
    rows = [each for part in parts for file in part for each in file.rows]
    columns, data = [], [bytearray() for _ in parts]
    counts = [sum(len(file.rows) for file in part) for part in parts]
    for column in columns_of(rows):
        about, found = codes(column, [each.get(column.name) for each in rows])
        width = max(1, (max(found).bit_length() + 7) // 8)
        columns.append(about | {"bytes": width})
        for code_bytes, of_part in zip(data, (found[: counts[0]], found[counts[0] :]), strict=True):
            for byte in reversed(range(width)):
                code_bytes += bytes(code >> 8 * byte & 255 for code in of_part)
    return {
        "columns": columns,
        "parts": [
            {"sources": [_told(file) for file in part], "data": _compressed(codes_of_part)}
            for part, codes_of_part in zip(parts, data, strict=True)
        ],
    }


def _told(file: Source) -> list[Any]:
    return [file.path, file.world, study_of(file.path), len(file.rows)]


def _compressed(data: bytes | bytearray) -> str:
    return base64.b64encode(zlib.compress(bytes(data), 9)).decode()


def write_pack(results: Path, target: Path) -> None:
    """Write the runs of ``results`` to ``target``, as JSON; nothing where there are none."""
    if (pack := packed(committed(results)))["columns"]:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(json.dumps(pack, separators=(",", ":")), "utf-8")
