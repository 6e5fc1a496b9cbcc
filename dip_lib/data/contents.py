"""What picture files hold, as a hash of all their bytes: kept, so that unchanged files stay quick.

An index in ``DIP_HOME`` has, for every file below a folder, its sha256 beside the size, both times
in nanoseconds and the inode that it had then. A file with the same of these is not read again: a
file's second time is set by every write, also by one that restores the first. A file that was
written less than two seconds before it was hashed is not kept, since a file system may give a
second write the same time.
"""

from __future__ import annotations

import hashlib
import os
import struct
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from tqdm import tqdm

from dip_lib.data.decode import unreadable
from dip_lib.errors import UnreadablePictureError
from dip_lib.files import write_atomic
from dip_lib.paths import home

RECORD = struct.Struct("<16sQqqQ32s")
"""Hash of the path below the folder; size, mtime, ctime, inode; sha256: 80 bytes a file."""
SETTLED = 2_000_000_000
"""Nanoseconds after which a write surely changes a file's time."""
THREADS = 8
KEEP_SECONDS = 30.0
"""An interrupted hashing loses at most about this much work."""

State = tuple[int, int, int, int]
Index = dict[bytes, tuple[State, bytes]]


def digests(root: Path, paths: Iterable[str], name: str = "pictures") -> dict[str, bytes]:
    """sha256 of each file below ``root``.

    Args:
        root: a folder; an index belongs to one.
        paths: below it.
        name: of the dataset, for the progress of a long reading.

    Raises:
        UnreadablePictureError: a file that cannot be read, by name.
    """
    place, found, changed = os.fspath(root), dict[str, bytes](), dict[str, State]()
    path_of_index, now = index_path(root), time.time_ns()
    index = _read(path_of_index)
    for path in paths:
        state = _state(place, path)
        known = index.get(_key(path))
        if known and known[0] == state:
            found[path] = known[1]
        else:
            changed[path] = state
    bar = tqdm(total=len(changed), desc=f"reading {name}", unit="picture", delay=2, leave=False)
    since, new = time.monotonic(), 0
    with bar, ThreadPoolExecutor(THREADS) as threads:
        hashes = threads.map(lambda path: _sha256(place, path), changed)
        for (path, state), digest in zip(changed.items(), hashes, strict=True):
            found[path] = digest
            bar.update()
            if max(state[1], state[2]) < now - SETTLED:
                index[_key(path)] = (state, digest)
                new += 1
            if new and time.monotonic() - since > KEEP_SECONDS:
                _write(path_of_index, index)
                since, new = time.monotonic(), 0
    if new:
        _write(path_of_index, index)
    return found


def alike(root: Path, paths: Sequence[str], name: str = "pictures") -> dict[str, bytes]:
    """sha256 of those files below ``root`` that have another's size: no other can be equal.

    Raises:
        UnreadablePictureError: a file that cannot be read, by name.
    """
    by_size: dict[int, list[str]] = defaultdict(list)
    for path in paths:
        by_size[_state(os.fspath(root), path)[0]].append(path)
    several = [path for same in by_size.values() if len(same) > 1 for path in same]
    return digests(root, several, name)


def index_path(root: Path) -> Path:
    """Where the index of the files below ``root`` is kept."""
    return home() / "contents" / f"{_key(os.path.realpath(root)).hex()}.index"


def _key(path: str) -> bytes:
    return hashlib.blake2b(os.fsencode(path), digest_size=16).digest()


def _state(root: str, path: str) -> State:
    """Size, mtime, ctime and inode."""
    try:
        about = os.stat(os.path.join(root, path))
    except (OSError, ValueError) as error:
        raise UnreadablePictureError(unreadable(Path(root, path), error)) from error
    return about.st_size, about.st_mtime_ns, about.st_ctime_ns, about.st_ino


def _sha256(root: str, path: str) -> bytes:
    whole = Path(root, path)
    try:
        if not whole.is_file():  # a pipe would never end
            raise OSError("it is no file")
        with open(whole, "rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError as error:
        raise UnreadablePictureError(unreadable(whole, error)) from error


def _read(path: Path) -> Index:
    """An index; an empty one where there is none, or a damaged one."""
    try:
        data = path.read_bytes()
    except OSError:
        return {}
    told, records = data[:32], data[32:]
    if len(records) % RECORD.size or hashlib.sha256(records).digest() != told:
        return {}
    return {key: ((*state,), digest) for key, *state, digest in RECORD.iter_unpack(records)}


def _write(path: Path, index: Index) -> None:
    """Keep an index; where it cannot be written the files are read again next time."""
    records = b"".join(RECORD.pack(key, *state, digest) for key, (state, digest) in index.items())
    with suppress(OSError):
        write_atomic(path, hashlib.sha256(records).digest() + records)
