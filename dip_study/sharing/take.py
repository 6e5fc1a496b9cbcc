"""Take a shared folder in: all of it verified first, then packs, where they come from, and runs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from dip_lib.data.dataset import check_open
from dip_lib.data.pack_files import get_pack, own_packs, pack_name, read_pack
from dip_lib.errors import PackError
from dip_lib.store.export import every_record
from dip_lib.store.records import Record, fault
from dip_lib.store.store import record_text
from dip_study.sharing.files import (
    EXPORT,
    PACK,
    Manifest,
    digest,
    read_manifest,
    unlisted,
    verify,
)
from dip_study.store_care import Merged, is_new, merge_record, state
from dip_study.taken import Taken, keep


@dataclass
class TakenIn(Merged):
    """What taking a share in did, beside what a merge does.

    Attributes:
        share: its name.
        packs: feature packs that are here now and were not.
        ignored: files that the manifest does not list; they were not opened.
    """

    share: str = ""
    packs: list[str] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)


def take_in(folder: Path, live: Path) -> TakenIn:
    """Take the runs and feature packs of a share into this machine's store and packs.

    Every file is verified before the first is taken. Nothing that is here is replaced, but for runs
    that had failed. Can be interrupted and called again.

    Raises:
        ShareError: the manifest or a file is damaged, of a newer format, or belongs to no share.
        DamagedFileError: an export that holds no runs.
        OSError: a file cannot be read or written.
    """
    manifest = read_manifest(folder)
    verify(folder, manifest)
    done = TakenIn(share=manifest.share, ignored=unlisted(folder, manifest))
    exported = {name: every_record(folder / name) for name in manifest.named(EXPORT)}
    for name in manifest.named(PACK):
        _take_pack(folder, name, manifest, done)
    sound = [
        record
        for name, records in exported.items()
        for record in _sound(name, records, manifest, done)
    ]
    runs = {
        record["key"]: str(record.get("finished_at")) for record in sound if is_new(record, live)
    }
    keep(
        Taken(share=manifest.share, versions=manifest.versions, machine=manifest.machine, runs=runs)
    )
    for record in sound:  # after what says where they come from
        merge_record(done, record, record_text(record), live)
    return done


def _sound(name: str, records: list[Record], manifest: Manifest, done: TakenIn) -> Iterator[Record]:
    """The records of today's code, of text that is mere text; others are refused by name."""
    for record in records:
        if reason := _objection(record, manifest):
            about = record if isinstance(record, dict) else {}
            done.refused[f"{name}: {about.get('key')} ({about.get('label')})"] = reason
        else:
            yield record


def _objection(record: Record, manifest: Manifest) -> str:
    """Why a record is not taken; "" if it is."""
    if (said := state(record)) not in ("current", "failed"):
        other = f"; it was made with {manifest.code}" if said == "outdated" else ""
        return f"{said}: {fault(record)}{other}"
    if "<" in json.dumps(record):
        return "it holds markup, which no run has"
    try:
        for dataset in (record["run"]["data"][each] for each in ("dataset", "target")):
            check_open(dataset)
    except ValueError as error:
        return str(error)
    return ""


def _take_pack(folder: Path, name: str, manifest: Manifest, done: TakenIn) -> None:
    path = folder / name
    try:
        here = own_packs() / pack_name(read_pack(path).header)
        if not here.is_file():
            get_pack(str(path))
            done.packs.append(name)
        elif digest(here) != manifest.files[name]:
            done.refused[name] = f"another pack is here by that name, and stays: {here}"
    except PackError as error:
        done.refused[name] = str(error)
