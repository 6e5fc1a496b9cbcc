"""Getting the photo datasets: what is there, what is missing, and how it gets to its place.

A download goes to the scratch folder of its dataset (``dip_lib.fetch.resume``), is checked,
unpacked and only then moved to where it belongs.
"""

from __future__ import annotations

import fcntl
import json
import shutil
import tomllib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import file_digest
from pathlib import Path
from typing import Any

from dip_lib.errors import DamagedFileError, MissingDownloadError
from dip_lib.fetch.archives import SCRATCH, amount, present, unpack
from dip_lib.fetch.resume import fetch
from dip_lib.files import write_atomic

LEDGER = ".dip-downloads.json"
"""The sha256 of every file fetched, under $DATA."""


@dataclass(frozen=True, kw_only=True)
class File:
    """A file of a dataset, as ``sources.toml`` declares it, which explains the fields."""

    name: str
    url: str = ""
    gives: Sequence[str] = ()
    size: int = 0
    about: int = 0
    sha256: str = ""
    take: str = "."
    into: str = "."
    inner: str = ""

    def missing(self, folder: Path) -> list[Path]:
        """What the file gives and is not there."""
        return [folder / name for name in self.gives or [self.name] if not present(folder / name)]

    def lacking(self, folder: Path, listed: Iterable[str]) -> list[Path]:
        """Of the listed pictures, paths below ``folder``, those that the file gives and that are
        not there, though something of what it gives is."""
        given = tuple(f"{name}/" for name in self.gives if present(folder / name))
        paths = (folder / each for each in listed if given and each.startswith(given))
        return [path for path in paths if not present(path)]


@dataclass(frozen=True)
class Photos:
    """Where a photo dataset comes from and where it lies under $DATA."""

    name: str
    folder: str
    files: tuple[File, ...]
    by_hand: str = ""


def sources() -> dict[str, Photos]:
    """The declared datasets by name."""
    text = Path(__file__).with_name("sources.toml").read_text("utf-8")
    return {
        name: Photos(name, **(each | {"files": tuple(File(**file) for file in each["files"])}))
        for name, each in tomllib.loads(text).items()
    }


def status(photos: Photos, data: Path, listed: Sequence[str] = ()) -> dict[str, Any]:
    """What of a dataset is missing and where it is expected, as plain values.

    Args:
        listed: paths of the pictures that the dataset lists, below its folder: any of these that
            are not there are missing, too.

    Returns:
        folder; missing, a list of path, bytes (of the file that gives it), by_hand and, of one
        picture that stands for others beside it, how many lack (pictures); download, the bytes that
        :func:`get` would fetch; begun, the bytes of half-finished downloads.
    """
    folder, missing, download = (data / photos.folder).absolute(), list[Any](), 0
    for file in photos.files:
        size, lacking = file.size or file.about, file.lacking(folder, listed)
        own: list[dict[str, Any]] = [{"path": str(path)} for path in file.missing(folder)]
        if lacking:
            own.append({"path": str(lacking[0]), "pictures": len(lacking)})
        missing += [{**each, "bytes": size, "by_hand": not file.url} for each in own]
        download += size if own and file.url else 0
    begun = sum(path.stat().st_size for path in (folder / SCRATCH).glob("*.part"))
    return {"folder": str(folder), "missing": missing, "download": download, "begun": begun}


def get(
    photos: Photos,
    data: Path,
    mirror: str = "",
    wait: tuple[float, float] = (60, 1),
    listed: Callable[[], Sequence[str]] = list,
) -> None:
    """Fetch, check and unpack what is missing of a dataset; what is there is left alone.

    A file that somebody put into the dataset's folder by hand is used, checked and kept. Where
    single pictures are missing, their archive is fetched again, and fills the gaps.

    Args:
        data: the folder of all datasets; created if need be.
        mirror: base of URLs to use instead of the published ones: ``mirror/folder/name``.
        wait: seconds of silence after which a connection counts as dead, and seconds before the
            second try (doubled each time).
        listed: gives the paths of the pictures that the dataset lists, below its folder; asked when
            all files are there, the list among them.

    Raises:
        MissingDownloadError: a file has to be fetched by hand; says from where, to where.
        InsecureAddressError: a file without a declared checksum would come over plain http.
        DamagedFileError: a wrong size or sha256, or a bad archive (kept as NAME.bad).
        OSError: the source is dead, has changed or sends a web page; disk full, no permission;
            another process at work on the same dataset. What has arrived is kept.
    """
    folder = data / photos.folder
    (folder / SCRATCH).mkdir(parents=True, exist_ok=True)
    with open(folder / SCRATCH / "lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise OSError(f"another process works on {folder}: wait for it or end it") from error
        except OSError:
            pass  # some network drives cannot lock

        def get_files(pictures: Sequence[str]) -> None:
            for file in photos.files:
                url = f"{mirror}/{photos.folder}/{file.name}" if mirror else file.url
                by_hand = bool(file.gives) and present(folder / file.name)
                lacks = file.missing(folder) or file.lacking(folder, pictures)
                if lacks and (file.url or by_hand):
                    _get(file, folder, "" if by_hand else url, data / LEDGER, wait)

        get_files(())
        wanted = listed()
        get_files(wanted)
        shutil.rmtree(folder / SCRATCH)
    if gone := [str(path) for file in photos.files for path in file.missing(folder)]:
        raise MissingDownloadError(gone, photos.by_hand.format(folder=folder))
    if gone := [str(path) for file in photos.files for path in file.lacking(folder, wanted)]:
        how = photos.by_hand.format(folder=folder) or f"Compare the list in {folder} with them."
        where = f"{len(gone)} listed pictures came with no archive"
        raise MissingDownloadError(gone[:3], f"{where}. {how}")


def _get(file: File, folder: Path, url: str, ledger: Path, wait: tuple[float, float]) -> None:
    """Fetch one file, unless it was put there by hand (``url`` ""), check it, put it in place."""
    path = folder / SCRATCH / file.name if url else folder / file.name
    key, bad = f"{folder.name}/{file.name}", folder / f"{file.name}.bad"
    try:
        known = json.loads(ledger.read_text("utf-8")) if ledger.exists() else {}
    except ValueError as error:
        raise DamagedFileError(str(ledger), f"{error}; delete it") from error
    try:
        if url:
            fetch(url, path, file.size, *wait, checked=bool(file.sha256))
        with open(path, "rb") as opened:
            size, digest = path.stat().st_size, file_digest(opened, "sha256").hexdigest()
        expected = file.sha256 or known.get(key, digest)
        if digest != expected or size != (file.size or size or 1):
            wanted = f"{file.size or size} and {expected} (declared, or kept in {ledger})"
            fault = f"it has {size} bytes and sha256 {digest}, not {wanted}"
            raise DamagedFileError(str(path), fault)
        if not file.gives:
            path.replace(folder / file.name)
        else:
            unpack(path, folder, file.take, file.into, file.inner)
            if gone := file.missing(folder):
                raise DamagedFileError(str(path), f"it did not bring {gone[0]}")
    except OSError as error:
        free = amount(shutil.disk_usage(folder).free)
        remedy = f"run this again to resume, or fetch {file.name} with a browser into {folder}"
        raise OSError(f"{error}. {free} of disk are free in {folder}; {remedy}.") from error
    except DamagedFileError as error:
        path.replace(bad)
        kept = f"{error.reason}. It is kept as {bad}; run this again to fetch it anew"
        raise DamagedFileError(error.path, kept) from error
    write_atomic(ledger, json.dumps(known | {key: digest}, indent=1, sort_keys=True).encode())
