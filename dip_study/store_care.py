"""Looking after stored runs: what is whole, two machines' runs in one store, what nobody reads."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file

from dip_lib.files import write_atomic
from dip_lib.store.records import Record, fault, is_flat, is_outdated
from dip_lib.store.store import load_record, write_record
from dip_lib.training.record import FAILED
from dip_study.rekey import differences

CONFLICTS = "conflicts"
"""Folder in a store for other machines' results of runs that the store has otherwise."""
UNDER_WAY = 3600.0
"""Seconds in which tensors without a record may belong to a run that is just being kept."""


def state(record: Any) -> str:
    """Of a stored record: "current", "failed", "outdated", "earlier layout" or "damaged"."""
    if is_flat(record):
        return "earlier layout"
    if not fault(record):
        return "failed" if record["status"].startswith(FAILED) else "current"
    return "outdated" if is_outdated(record) else "damaged"


# ---- check --------------------------------------------------------------------------------------


def check(live: Path) -> tuple[Counter[str], dict[str, str]]:
    """Read every file of a live store; nothing is changed.

    Returns:
        How many records have each state; and path -> what is wrong with the file.
    """
    states, wrong = Counter[str](), dict[str, str]()
    for path in sorted(live.glob("*.json")):
        record = load_record(path)
        said = state(record)
        states[said] += 1
        if said == "damaged":
            wrong[str(path)] = fault(record) if record is not None else "it is no JSON"
        elif said != "earlier layout" and isinstance(record, dict) and record["key"] != path.stem:
            wrong[str(path)] = f"it is named by another key than its own, {record['key']}"
    for path in sorted(live.glob("*.safetensors")):
        try:
            load_file(path)
        except (SafetensorError, OSError) as error:
            wrong[str(path)] = str(error)
    return states, wrong


# ---- merge --------------------------------------------------------------------------------------


@dataclass
class Merged:
    """What a merge did.

    Attributes:
        added: runs that the store has from the other one now.
        same: runs that both had, with equal results.
        conflicts: key -> which run, and in what the two differ; the store keeps its own result,
            and the other one in its folder of conflicts.
        refused: path of a file that was not taken -> why.
    """

    added: int = 0
    same: int = 0
    conflicts: dict[str, list[str]] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)


def merge(other: Path, live: Path) -> Merged:
    """Take the runs of another machine's live store into this one, with what they have learned.

    Nothing in either is lost; the other one is only read. Can be interrupted and called again. A
    result of today's code replaces one that says that the run failed, never another result.

    Raises:
        OSError: a file cannot be read or written.
    """
    done = Merged()
    for path in sorted(other.glob("*.json")):
        theirs = load_record(path)
        said = state(theirs)
        if not isinstance(theirs, dict) or said in ("damaged", "earlier layout"):
            done.refused[str(path)] = said
        elif theirs.get("key") != path.stem:  # which would be the name of the file written here
            done.refused[str(path)] = "it is named by another key than its own"
        else:
            tensors = path.with_suffix(".safetensors")
            learned = tensors.read_bytes() if tensors.is_file() else b""
            merge_record(done, theirs, path.read_bytes(), live, learned)
    return done


def merge_record(
    done: Merged, theirs: Record, text: bytes, live: Path, learned: bytes = b""
) -> None:
    """Take one record of a merge in, or say in ``done`` why not.

    Args:
        theirs: not damaged; its key is the name of a file.
        text: its file, kept as it is where the two differ.
        learned: its safetensors, if there are any.
    """
    key = theirs["key"]
    mine = load_record(live / f"{key}.json")
    if is_new(theirs, live):
        write_record(live, theirs, learned)
        done.added += 1
    elif state(theirs) == "failed" or not (differ := _differences(mine, theirs)):
        done.same += 1
    else:
        done.conflicts[key] = [theirs.get("label", ""), *differ]
        name = f"{key}-{sha256(text).hexdigest()[:8]}"
        if learned:
            write_atomic(live / CONFLICTS / f"{name}.safetensors", learned)
        write_atomic(live / CONFLICTS / f"{name}.json", text)


def is_new(theirs: Record, live: Path) -> bool:
    """Whether a store lacks a record, or has one in its place that says that the run failed."""
    held = state(load_record(live / f"{theirs['key']}.json"))  # nothing counts as damaged, too
    return held == "damaged" or (held == "failed" and state(theirs) == "current")


def _differences(mine: Any, theirs: Any) -> list[str]:
    """In what the results of one run differ by more than rounding, whichever holds less of it."""
    shorter, longer = sorted((mine, theirs), key=lambda each: len(each["checkpoints"]))
    return differences(shorter, longer)


# ---- gc -----------------------------------------------------------------------------------------


def unread(live: Path, outdated: bool = False, now: float | None = None) -> dict[str, list[Path]]:
    """Files of a live store that nothing reads, by kind.

    "set aside": damaged records; "no record": tensors whose run was never finished, but those of
    the last hour; if asked for, "outdated": runs of earlier code, which `dip store rekey` can keep.
    """
    now = time.time() if now is None else now
    kinds: dict[str, Callable[[], Iterator[Path]]] = {
        "set aside": lambda: live.glob("*.damaged"),
        "no record": lambda: (
            path
            for path in live.glob("*.safetensors")
            if not path.with_suffix(".json").is_file() and now - path.stat().st_mtime > UNDER_WAY
        ),
    }
    if outdated:
        kinds["outdated"] = lambda: _outdated(live)
    return {kind: sorted(files()) for kind, files in kinds.items()}


def _outdated(live: Path) -> Iterator[Path]:
    for path in live.glob("*.json"):
        if state(load_record(path)) == "outdated":
            yield path
            if (tensors := path.with_suffix(".safetensors")).is_file():
                yield tensors
