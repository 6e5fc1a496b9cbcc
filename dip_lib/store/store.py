"""The run store: one JSON file a run, named by the run's key, with what it learned beside it.

Files are written atomically. Committed exports lie beneath the live store and are never
written; a damaged file is named, set aside and counts as missing, so its run is measured again.
Runs of earlier code stay where they are, are never read as today's, and are counted by
:meth:`Store.outdated`.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from dip_lib.data.dataset import check_open
from dip_lib.files import sweep, write_atomic
from dip_lib.store.export import read_export
from dip_lib.store.records import Record, fault, is_flat, is_outdated, plain
from dip_lib.training.record import FAILED
from dip_lib.training.run import Run

LAYOUT = ".layout"
"""File that says in which layout the live store's records are; one without it may be older."""


CHECKPOINTS = b'\n "checkpoints": ['
"""Where those of a record begin in its file."""
HEAD = {"key", "recipe", "code", "run", "status"}
"""What a record says before them."""


class Store:
    """Finished runs: a live folder over read-only exports.

    Args:
        live: folder of this machine's runs; created by the first ``put``.
        layers: exports (:func:`dip_lib.store.export.export`) beneath it, the first wins; one that
            is absent is empty.
    """

    def __init__(self, live: Path, layers: Sequence[Path] = ()) -> None:
        self.live = live
        self.committed: dict[str, Record] = {}
        for layer in reversed(layers):
            self.committed |= {record["key"]: record for record in read_export(layer)}
        sweep(live)
        self._has_layout = self._check_layout()

    def _check_layout(self) -> bool:
        """Whether the live store declares its layout; warns of one that holds flat records."""
        if (self.live / LAYOUT).is_file():
            return True
        if older := any(is_flat(load_record(path)) for path in self.live.glob("*.json")):
            warnings.warn(
                f"{self.live} holds runs in an earlier layout, which are not read: bring them over "
                "with `dip store migrate`",
                stacklevel=3,
            )
        return older  # until then it is named each time

    def get(self, run: Run) -> Record | None:
        """The run's record, or None when it has to be measured."""
        return _read(self.live / f"{run.key()}.json") or self.committed.get(run.key())

    def missing(self, runs: Iterable[Run], failed: bool = False) -> list[Run]:
        """The runs without a record, in their order, each once; ``failed``: or with one that says
        that the run could not be measured, as when memory ran out."""
        wanted = []
        for run in dict.fromkeys(runs):
            record = self.get(run)
            if record is None or (failed and record["status"].startswith(FAILED)):
                wanted.append(run)
        return wanted

    def records(self) -> list[Record]:
        """Every run of the present code, live before committed, sorted by key."""
        live = [_read(path) for path in self.live.glob("*.json")]
        current = self.committed | {record["key"]: record for record in live if record}
        return [current[key] for key in sorted(current)]

    def outdated(self) -> list[Record]:
        """Live runs whose method, or recipe, was another than the present code's."""
        live = [load_record(path) for path in sorted(self.live.glob("*.json"))]
        return [record for record in live if isinstance(record, dict) and is_outdated(record)]

    def tensors(self, run: Run) -> dict[str, Tensor] | None:
        """What a live run has learned, by name; None when it has to be trained (again)."""
        path = self.live / f"{run.key()}.safetensors"
        try:
            return load_file(path) if path.is_file() and self.get(run) else None
        except SafetensorError as error:
            warn_damaged(path, str(error))
            return None

    def put(self, record: Record, learned: Mapping[str, Tensor] | None = None) -> None:
        """Keep a run; what it has learned, if anything, is on disk before its record is.

        Numbers that are not finite are stored as null.

        Raises:
            ValueError: the record is not one of the present code, or its key not its run's; a run
                of a sealed dataset.
            OSError: no space or no permission, naming the file; nothing half-written stays.
        """
        if reason := fault(record):
            raise ValueError(f"not a run record: {reason}")
        for dataset in (record["run"]["data"][each] for each in ("dataset", "target")):
            check_open(dataset)
        kept = {
            name: each.detach().float().cpu().contiguous() for name, each in (learned or {}).items()
        }
        write_record(self.live, record, save(kept) if kept else b"")
        if not self._has_layout:
            write_atomic(self.live / LAYOUT, b"2\n")
            self._has_layout = True


def write_record(folder: Path, record: Record, tensors: bytes = b"") -> None:
    """Write a record under its key, and before it the file of what the run has learned, if any."""
    if tensors:
        write_atomic(folder / f"{record['key']}.safetensors", tensors)
    write_atomic(folder / f"{record['key']}.json", record_text(record))


def record_text(record: Record) -> bytes:
    """A record as its file holds it."""
    return (json.dumps(plain(record), indent=1, allow_nan=False) + "\n").encode()


def load_record(path: Path) -> object:
    """A live file's JSON; None where it cannot be read."""
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None


def load_head(path: Path) -> object:
    """The same up to its checkpoints, for which an empty list stands: most of a file follows there.

    A file that does not begin and end as one that was written whole is read as a whole.
    """
    with suppress(OSError, ValueError):
        text = path.read_bytes()
        before, found, _ = text.partition(CHECKPOINTS)
        if found and text.endswith(b"\n}\n"):
            head = json.loads(before + CHECKPOINTS + b"]}")
            if head.keys() >= HEAD:
                return head
    return load_record(path)


def _read(path: Path) -> Record | None:
    """A live record; None when there is none, when it is outdated, or damaged (set aside)."""
    try:
        record = json.loads(path.read_bytes())
        reason = fault(record) or ("" if record["key"] == path.stem else "named by another key")
    except FileNotFoundError:
        return None
    except ValueError as error:
        record, reason = None, str(error)
    if not reason:
        return dict(record)
    if not (is_outdated(record) or is_flat(record)):
        aside = path.with_name(f"{path.name}.damaged")
        with suppress(OSError):
            path.replace(aside)
        warn_damaged(path, f"{reason}; set aside as {aside.name}")
    return None


def warn_damaged(path: Path, reason: str) -> None:
    """Say that a file's runs count as missing."""
    text = f"{path} is damaged ({reason}); its runs count as missing and are measured again"
    warnings.warn(text, stacklevel=4)
