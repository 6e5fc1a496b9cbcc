"""Keeping a method's runs after an edit of its code that changes no result.

A run's key holds an identity of its method's code, so an edit of a method's file makes its runs
outdated. Whether the edit changed results is measured: a sample of the runs is measured again with
the present code, in a store of its own. Only if every one is equal do all get the present key. Runs
of different earlier code are compared separately.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from dip_lib.data.splits import VAL_SHOTS
from dip_lib.methods import METHODS
from dip_lib.store import Store
from dip_lib.store.export import every_record, export
from dip_lib.store.store import load_record, write_record
from dip_lib.training.record import FAILED, Record
from dip_lib.training.run import RECIPE, Run
from dip_study.loaded import NO_FOLDERS
from dip_study.measure import measure

ACCURACIES = ("base", "new", "val", "joint", "ece")
POINTS = 0.5
"""Points by which accuracies may differ: last digits differ between processors."""
RELATIVE = 1e-3
"""Share of its largest value by which any other quantity may differ; exports have 5 digits."""
ROUNDING = 1e-6
"""By which it may differ in any case: drift is 1 minus a cosine of float32, zero at the start."""


@dataclass(frozen=True)
class Outdated:
    """A record that other code of its method made, and the live folder or export that holds it."""

    run: Run
    record: Record
    place: Path


def outdated(method: str, live: Path, exports: Sequence[Path]) -> list[Outdated]:
    """The stored runs of a method whose settings the present code has, but not their code."""
    stored: list[tuple[Any, Path]]
    stored = [(load_record(path), live) for path in sorted(live.glob("*.json"))]
    stored += [(record, path) for path in exports for record in every_record(path)]
    records = []
    for record, place in stored:
        run = _run_of(record)
        if run and run.method.name == method and record["code"] != type(run.method).identity():
            records.append(Outdated(run, record, place))
    return records


def _run_of(record: Any) -> Run | None:
    """The run of a record; None where it is none of the present recipe and settings, or failed."""
    try:
        whole = record["recipe"] == RECIPE and not record["status"].startswith(FAILED)
        return Run.from_dict(record["run"]) if whole else None
    except (AttributeError, KeyError, TypeError, ValueError):
        return None


def sample(runs: Sequence[Run], count: int) -> list[Run]:
    """At most ``count`` of the runs, spread over backbones, low-rank updates, schedules, and
    whether a run starts from another.

    On as few datasets as possible, whose images have to be encoded.
    """

    def kind(run: Run) -> str:
        schedule = replace(run.schedule, lr=0.0) if run.schedule else None
        return repr((run.tower, run.low_rank, run.source() == run, schedule))

    def order(run: Run) -> tuple[str, str, bool, str]:
        return kind(run), run.data.dataset, run.data.style != "default", run.key()

    ordered = sorted(dict.fromkeys(runs), key=order)
    kinds = [list(same) for _, same in groupby(ordered, kind)]
    chosen = list[Run]()
    while len(chosen) < min(count, len(ordered)):
        # of as many kinds as there are places, evenly; then again of what is left
        left, places = [each for each in kinds if each], count - len(chosen)
        step = max(1.0, len(left) / places)
        chosen += [left[int(i * step)].pop(0) for i in range(min(places, len(left)))]
    return chosen


def measured_again(
    runs: Sequence[Run], device: str = "cpu", folders: Mapping[str, Path] = NO_FOLDERS
) -> list[Record]:
    """Records of the runs by the present code, in their order; this machine's store is left alone.

    Args:
        folders: as for :func:`dip_study.measure.measure`.
    """
    with TemporaryDirectory(prefix="dip-rekey-") as folder:
        store = Store(Path(folder))
        measure(runs, store, device, folders)
        return [record for run in runs if (record := store.get(run))]


def differing(records: Sequence[Outdated], again: Sequence[Record]) -> dict[str, list[str]]:
    """Key of each record that differs from its run measured again -> which run, and in what."""
    measured = {record["key"]: record for record in again}
    differ = dict[str, list[str]]()
    for each in records:
        new = measured.get(each.run.key())
        if new and (said := differences(each.record, new)):
            differ[each.record["key"]] = [str(each.run), *said]
    return differ


def differences(old: Record, new: Record) -> list[str]:
    """What two records of one run do not have alike, in words; [] where they are equal.

    Accuracies may be 0.5 points or one image apart, other quantities a thousandth of the largest
    of their kind. An export may keep the last checkpoint alone.
    """
    reasons = [] if old["status"] == new["status"] else [f"{old['status']}, now {new['status']}"]
    by_epoch = {point["epoch"]: point for point in new["checkpoints"]}
    for point in old["checkpoints"]:
        for name, was, now in _pairs(point, by_epoch.get(point["epoch"], {})):
            if not _close(name.split(".")[-1], was, now, old):
                reasons.append(f"epoch {point['epoch']}, {name}: {was}, now {now}")
    return reasons


def _pairs(old: Any, new: Any, name: str = "") -> Iterator[tuple[str, Any, Any]]:
    """The values of two nested mappings under their dotted names."""
    if not isinstance(old, Mapping):
        yield name, old, new
        return
    other = new if isinstance(new, Mapping) else {}
    for key in sorted({*old, *other}):
        yield from _pairs(old.get(key), other.get(key), f"{name}.{key}" if name else key)


def _close(name: str, was: Any, now: Any, record: Record) -> bool:
    old, new = ([each] if not isinstance(each, list) else each for each in (was, now))
    if not all(isinstance(each, int | float) for each in (*old, *new)):
        return bool(was == now)
    if name in ACCURACIES:
        limit = max(POINTS, 100 / _images(name, record) + 1e-3)
    else:
        limit = RELATIVE * max(map(abs, old), default=0.0) + ROUNDING
    return len(old) == len(new) and all(abs(a - b) <= limit for a, b in zip(old, new, strict=True))


def _images(name: str, record: Record) -> int:
    """How many images an accuracy counts at least."""
    if name == "val":
        images = record["classes"][0] * min(VAL_SHOTS, record["run"]["data"]["shots"])
    else:
        images = min(count for count in record["test_images"] if count)
    return max(1, images)


def rekey(records: Sequence[Outdated]) -> None:
    """Give records the key of the present code: those of exports in place, live ones by new files.

    Can be interrupted and called again. A run that the present code has measured already keeps its
    new record.
    """
    for place, same in groupby(records, lambda each: each.place):
        here = list(same)
        if not place.is_dir():
            renamed = {each.record["key"]: _renamed(each) for each in here}
            export([renamed.get(each["key"], each) for each in every_record(place)], place)
            continue
        for each in here:
            old = place / f"{each.record['key']}.json"
            tensors, new = old.with_suffix(".safetensors"), _renamed(each)
            if not (place / f"{new['key']}.json").is_file():
                write_record(place, new, tensors.read_bytes() if tensors.is_file() else b"")
            tensors.unlink(missing_ok=True)
            old.unlink()


def _renamed(outdated: Outdated) -> Record:
    run = outdated.run
    names = {"key": run.key(), "code": METHODS[run.method.name].identity(), "label": run.label}
    # settings that came later are written down as well, with what the run did
    return outdated.record | names | {"run": run.to_dict()}
