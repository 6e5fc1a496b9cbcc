"""The commands ``dip store``: what is stored and whole, runs of earlier layouts, code, machines."""

from __future__ import annotations

import argparse
import os
from collections import Counter
from pathlib import Path
from typing import Any

from dip_lib.errors import one_of
from dip_lib.methods import METHODS
from dip_lib.paths import home, results_dir
from dip_lib.store.export import every_record
from dip_lib.store.migrate import migrate_export, migrate_live
from dip_lib.store.store import load_head
from dip_study import store_care
from dip_study.answer import Answer
from dip_study.engine.identity import code_identity
from dip_study.loaded import NO_FOLDERS
from dip_study.profiles import load_profile
from dip_study.rekey import differing, measured_again, outdated, rekey, sample
from dip_study.runs import is_present
from dip_study.sharing.files import is_share
from dip_study.sharing.take import take_in
from dip_study.store_care import CONFLICTS, state
from dip_study.store_index import looked_up
from dip_study.taken import DIGITS

SAMPLE = 4
"""Runs that are measured again before a method's are re-keyed."""


def add_commands(commands: Any, **look: Any) -> list[argparse.ArgumentParser]:
    """Add ``store status``, ``check``, ``merge``, ``gc``, ``migrate`` and ``rekey`` to the parser's
    commands; ``look`` is the parsers' own (its epilog)."""
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
    check = actions.add_parser("check", help="read every run and say what is damaged", **look)
    merge = actions.add_parser("merge", help="take in another machine's runs, or a share", **look)
    merge.add_argument(
        "folder",
        type=Path,
        help="its DIP_HOME, the store in it, or what `dip share` made; only read",
    )
    unread = actions.add_parser("gc", help="remove files that nothing reads", **look)
    unread.add_argument("--outdated", action="store_true", help="runs of earlier code, too")
    unread.add_argument("--yes", action="store_true", help="else they are only counted")
    each = (status, _status), (migrate, _migrate), (again, _rekey), (check, _check)
    for action, run in (*each, (merge, _merge), (unread, _gc)):
        action.set_defaults(run=run)
    return [status, migrate, again, check, merge, unread]


def exports(folder: Path) -> list[Path]:
    """The exports in a folder."""
    files = sorted(folder.glob("*.json"))
    return [path for path in files if path.read_bytes().startswith(b'{"common"')]


def committed() -> list[Path]:
    """The exports of every profile."""
    return [path for folder in sorted(results_dir().glob("*/")) for path in exports(folder)]


def _live() -> Path:
    return home() / "store"


def _found_live(path: Path) -> list[str]:
    """Of a live file, its state and method."""
    return _about(load_head(path))


def _found_exported(path: Path) -> list[list[str]]:
    """Of each run of an export the same."""
    return [_about(record) for record in every_record(path)]


def _about(record: Any) -> list[str]:
    said = state(record)
    outdated = said == "outdated"
    return [said, record["run"].get("method", {}).get("name", "unknown") if outdated else ""]


def _status(options: argparse.Namespace) -> Answer:
    index, code = home() / "store-index.json", code_identity()
    live = (
        [each for each in os.scandir(_live()) if each.name.endswith(".json")]
        if (_live().is_dir())
        else []
    )
    found = {str(_live()): list(looked_up(live, _found_live, index, code).values())}
    for path, runs in looked_up(committed(), _found_exported, index, code).items():
        found.setdefault(str(Path(path).parent), []).extend(runs)
    rows: list[dict[str, Any]] = []
    for place, runs in found.items():
        old = Counter(method for said, method in runs if said == "outdated")
        counts = Counter(said for said, _ in runs)
        rows.append({"place": place, **counts, "outdated_methods": dict(old)})
    return Answer(rows, [_line(each) for each in rows])


def _line(row: dict[str, Any]) -> str:
    names = ("current", "failed", "outdated", "earlier layout", "damaged")
    parts = [f"{row[name]:,} {name}" for name in names if row.get(name)]
    methods = ", ".join(f"{name} {count:,}" for name, count in row["outdated_methods"].items())
    tail = f" (outdated: {methods})" if methods else ""
    return f"{row['place']}: {', '.join(parts) or 'no runs'}{tail}"


def _check(options: argparse.Namespace) -> Answer:
    states, wrong = store_care.check(_live())
    lines = [_line({"place": str(_live()), **states, "outdated_methods": {}})]
    lines += [f"{path}: {reason}" for path, reason in wrong.items()]
    return Answer({"states": dict(states), "wrong": wrong}, lines, int(bool(wrong)))


def _merge(options: argparse.Namespace) -> Answer:
    if is_share(options.folder):
        taken = take_in(options.folder, _live())
        lines = [f"share {taken.share[:DIGITS]}: {len(taken.packs)} feature packs added"]
        lines += [f"  {name}: ignored, it is none of the share's" for name in taken.ignored]
        return _merged(taken, options.folder, lines)
    other = options.folder / "store" if (options.folder / "store").is_dir() else options.folder
    if not other.is_dir():
        raise ValueError(f"{other} is no folder: give another machine's DIP_HOME, or its store")
    if other.resolve() == _live().resolve():
        raise ValueError(f"{other} is this machine's own store: give another machine's")
    return _merged(store_care.merge(other, _live()), other, [])


def _merged(done: store_care.Merged, other: Path, before: list[str]) -> Answer:
    lines = [
        *before,
        f"{other}: {done.added:,} runs added, {done.same:,} the same, "
        f"{len(done.conflicts):,} in conflict, {len(done.refused):,} not taken",
    ]
    for key, (label, *reasons) in done.conflicts.items():
        lines.append(f"  {key} ({label}): {'; '.join(reasons)}")
    lines += [f"  {path}: {reason}" for path, reason in done.refused.items()]
    if done.conflicts:
        lines.append(f"this machine's results stay; the others are in {_live() / CONFLICTS}")
    return Answer(vars(done), lines, int(bool(done.conflicts or done.refused)))


def _gc(options: argparse.Namespace) -> Answer:
    kinds = store_care.unread(_live(), options.outdated)
    lines, said = list[str](), dict[str, Any]()
    for kind, paths in kinds.items():
        size = sum(path.stat().st_size for path in paths)
        said[kind] = {"files": len(paths), "bytes": size}
        lines.append(f"{kind}: {len(paths):,} files, {size:,} bytes")
        for path in paths if options.yes else ():
            path.unlink(missing_ok=True)
    lines.append("removed" if options.yes else "nothing was removed: --yes removes them")
    return Answer({"removed": options.yes, **said}, lines)


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
