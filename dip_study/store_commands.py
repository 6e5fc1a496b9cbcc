"""The commands ``dip store``: what is stored, runs of an earlier layout, runs of edited methods."""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path
from typing import Any

from dip_lib.errors import one_of
from dip_lib.methods import METHODS
from dip_lib.paths import home, results_dir
from dip_lib.store.export import every_record
from dip_lib.store.migrate import migrate_export, migrate_live
from dip_lib.store.records import fault, is_flat, is_outdated
from dip_lib.store.store import load_record
from dip_study.answer import Answer
from dip_study.loaded import NO_FOLDERS
from dip_study.profiles import load_profile
from dip_study.rekey import differing, measured_again, outdated, rekey, sample
from dip_study.runs import is_present

SAMPLE = 4
"""Runs that are measured again before a method's are re-keyed."""


def add_commands(commands: Any, **look: Any) -> list[argparse.ArgumentParser]:
    """Add ``store status``, ``store migrate`` and ``store rekey`` to the parser's commands;
    ``look`` is the parsers' own (its epilog)."""
    store = commands.add_parser("store", help="the runs that are stored", **look)
    actions = store.add_subparsers(required=True, metavar="ACTION")
    status = actions.add_parser(
        "status", help="how many runs there are, and which are outdated", **look
    )
    migrate = actions.add_parser("migrate", help="bring runs of an earlier layout over", **look)
    migrate.add_argument("folder", nargs="?", type=Path, help="default: this machine's, results/")
    again = actions.add_parser(
        "rekey", help="keep a method's runs after an edit of its looks", **look
    )
    again.add_argument("method", help="the method whose file was edited, such as kgcoop")
    again.add_argument("--sample", type=int, default=SAMPLE, help=f"runs measured again, {SAMPLE}")
    again.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")
    again.add_argument("--profile", help="your profile, if runs are on the pictures in its folders")
    for action, run in ((status, _status), (migrate, _migrate), (again, _rekey)):
        action.set_defaults(run=run)
    return [status, migrate, again]


def exports(folder: Path) -> list[Path]:
    """The exports in a folder."""
    files = sorted(folder.glob("*.json"))
    return [path for path in files if path.read_bytes().startswith(b'{"common"')]


def committed() -> list[Path]:
    """The exports of every profile."""
    return [path for folder in sorted(results_dir().glob("*/")) for path in exports(folder)]


def _live() -> Path:
    return home() / "store"


def _state(record: Any) -> str:
    """Of a stored record: "current", "outdated", "earlier layout" or "damaged"."""
    if is_flat(record):
        return "earlier layout"
    if not fault(record):
        return "current"
    return "outdated" if is_outdated(record) else "damaged"


def _status(options: argparse.Namespace) -> Answer:
    places: dict[Path, list[Any]] = {
        _live(): [load_record(path) for path in sorted(_live().glob("*.json"))]
    }
    for path in committed():
        places.setdefault(path.parent, []).extend(every_record(path))
    rows: list[dict[str, Any]] = []
    for place, records in places.items():
        states = [_state(record) for record in records]
        old = Counter(
            record["run"].get("method", {}).get("name", "unknown")
            for record, state in zip(records, states, strict=True)
            if state == "outdated"
        )
        rows.append({"place": str(place), **Counter(states), "outdated_methods": dict(old)})
    return Answer(rows, [_line(each) for each in rows])


def _line(row: dict[str, Any]) -> str:
    names = ("current", "outdated", "earlier layout", "damaged")
    parts = [f"{row[name]:,} {name}" for name in names if row.get(name)]
    methods = ", ".join(f"{name} {count:,}" for name, count in row["outdated_methods"].items())
    tail = f" (outdated: {methods})" if methods else ""
    return f"{row['place']}: {', '.join(parts) or 'no runs'}{tail}"


def _migrate(options: argparse.Namespace) -> Answer:
    if options.folder and not options.folder.is_dir():
        raise ValueError(f"{options.folder} is no folder: give one of runs, or of exports")
    live = options.folder or _live()
    counts = {str(path): migrate_export(path) for path in exports(live)}
    if not counts:
        counts[str(live)] = migrate_live(live)
    if not options.folder:
        counts |= {str(path): migrate_export(path) for path in committed()}
    lines = [f"{place}: {count:,} runs brought over" for place, count in counts.items() if count]
    return Answer(counts, lines or ["no runs of an earlier layout"])


def _rekey(options: argparse.Namespace) -> Answer:
    method = one_of("method", options.method, METHODS)
    if options.sample < 1:
        raise ValueError(f"--sample {options.sample} must be at least 1")
    folders = load_profile(options.profile).folders if options.profile else NO_FOLDERS
    outdated_runs = outdated(method, _live(), committed())
    here = [each for each in outdated_runs if is_present(each.run, folders)]
    counts = {"outdated": len(outdated_runs), "sample": 0, "rekeyed": 0}
    differ, lines = dict[str, list[str]](), list[str]()
    for code in sorted({each.record["code"] for each in here}):
        same = [each for each in here if each.record["code"] == code]
        runs = sample([each.run for each in same], options.sample)
        reasons = differing(same, measured_again(runs, options.device, folders))
        counts["sample"] += len(runs)
        if reasons:
            lines.append(f"{method} of code {code} gave other results; its runs stay as they are:")
            lines += [f"  {key}: {'; '.join(texts)}" for key, texts in reasons.items()]
            differ |= reasons
        else:
            rekey(same)
            counts["rekeyed"] += len(same)
            lines.append(f"{method} of code {code}: {len(runs)} runs measured again are equal")
    if gone := len(outdated_runs) - len(here):
        lines.append(f"{gone:,} runs stay as they are: this machine lacks their weights or images")
    lines.append(
        f"{method}: {counts['rekeyed']:,} of {len(outdated_runs):,} outdated records re-keyed"
    )
    return Answer({"method": method, **counts, "differ": differ}, lines, int(bool(differ)))
