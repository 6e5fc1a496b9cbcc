"""Runs that were taken in from shared reproductions: which they are, and where they come from.

Their records lie in the store beside all others and are not changed. What is said of a share is
kept in ``shared/`` of the folder of measurements, a file a share, with the runs that were new here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from dip_lib.data.packed import pictures_fingerprint
from dip_lib.files import write_atomic
from dip_lib.paths import home
from dip_lib.store import Store
from dip_lib.training.record import Record
from dip_lib.training.run import Run

DIGITS = 8
"""Of a share's 64, so many name it to people."""


@dataclass(frozen=True, kw_only=True)
class Taken:
    """A share that was taken in.

    Attributes:
        share: its name (:attr:`dip_study.sharing.files.Manifest.share`).
        versions, machine: as its manifest has them.
        runs: key -> when it was finished, of the runs that were new here.
    """

    share: str
    versions: Mapping[str, str]
    machine: Mapping[str, str]
    runs: Mapping[str, str]

    def has(self, record: Record) -> bool:
        """Whether a record came with it: one that was measured here since has another time."""
        return self.runs.get(record["key"]) == record.get("finished_at")

    @property
    def told(self) -> str:
        """ "share 3f2a91c0 (dip-lib 0.1.0, torch 2.9.0; CPU, 8 cores, NVIDIA H200, Linux 6.1)"."""
        made = ", ".join(
            f"{name} {self.versions[name]}"
            for name in ("dip-lib", "torch")
            if name in self.versions
        )
        where = ", ".join(self.machine[n] for n in ("cpu", "gpu", "os") if self.machine.get(n))
        return f"share {self.share[:DIGITS]} ({made}; {where})"


def folder() -> Path:
    return home() / "shared"


def keep(taken: Taken) -> None:
    """Write what is said of a share; its runs are added to those that it brought before."""
    path = folder() / f"{taken.share}.json"
    before = next((each.runs for each in shares() if each.share == taken.share), {})
    runs = dict(sorted({**taken.runs, **before}.items()))
    text = json.dumps(asdict(replace(taken, runs=runs)), indent=1, sort_keys=True)
    write_atomic(path, f"{text}\n".encode())


def shares() -> list[Taken]:
    """Every share that was taken in; a file that cannot be read says nothing."""
    found = []
    for path in sorted(folder().glob("*.json")):
        try:
            values: dict[str, Any] = json.loads(path.read_bytes())
            found.append(Taken(**values))
        except (OSError, ValueError, TypeError):
            continue
    return found


def origins(records: Iterable[Record], of: Sequence[Taken]) -> dict[str, int]:
    """How many of the records came with a share: what is said of it -> their number."""
    counts = dict[str, int]()
    for record in records:
        if source := next((each for each in of if each.has(record)), None):
            counts[source.told] = counts.get(source.told, 0) + 1
    return counts


class SharedStore(Store):
    """A store in which a run on feature packs is answered by a shared one on their pictures.

    Whoever shares runs may have had the pictures, and whoever takes them in has the packs alone:
    the two have different keys. Only runs that came with a share answer so.
    """

    def __init__(self, live: Path, layers: Sequence[Path] = ()) -> None:
        super().__init__(live, layers)
        self._shared = {key for each in shares() for key in each.runs}

    def get(self, run: Run) -> Record | None:
        return super().get(run) or self._from_pictures(run)

    def _from_pictures(self, run: Run) -> Record | None:
        if not self._shared:
            return None
        data = run.data
        whole = replace(
            data,
            fingerprint=pictures_fingerprint(data.fingerprint),
            target_fingerprint=pictures_fingerprint(data.target_fingerprint),
        )
        if whole == data:
            return None
        other = replace(run, data=whole)
        return super().get(other) if other.key() in self._shared else None
