"""Unpacking archives from the internet: whole or not at all, and never outside their folder."""

from __future__ import annotations

import posixpath
import shutil
import tarfile
import zlib
from collections.abc import Iterable
from lzma import LZMAError
from pathlib import Path
from tarfile import TarError, TarInfo
from typing import Any
from zipfile import BadZipFile, ZipFile, is_zipfile

from tqdm import tqdm

from dip_lib.errors import DamagedFileError, OutOfDiskError

SCRATCH = ".dip"
"""Folder inside a dataset's folder for what is not finished yet."""
DAMAGE = (
    *(TarError, BadZipFile, LZMAError, zlib.error, EOFError, ValueError),
    *(RuntimeError, KeyError),  # an encrypted zip, a link to nothing
)


def present(path: Path) -> bool:
    """Whether a file with content, or a folder with anything in it, is there."""
    return any(path.iterdir()) if path.is_dir() else path.is_file() and path.stat().st_size > 0


def amount(size: int) -> str:
    """A number of bytes for people: "39.2GB"."""
    return tqdm.format_sizeof(size, "B")


def require(folder: Path, size: int) -> None:
    """Check that ``size`` bytes fit on the disk before work begins.

    Raises:
        OutOfDiskError: fewer than ``size`` bytes are free.
    """
    if (free := shutil.disk_usage(folder).free) < size:
        raise OutOfDiskError(str(folder), amount(size), amount(free))


def unpack(archive: Path, folder: Path, take: str = ".", into: str = ".", inner: str = "") -> None:
    """Unpack a tar (plain or compressed) or zip beside its target, then move it into place.

    Whatever is interrupted leaves nothing half-unpacked: at most something in the scratch folder
    ``folder/.dip``, which the next call sweeps. What is already in its place is kept.

    Args:
        archive: told by its content, not by its name.
        folder: where it goes.
        take: folder of the archive whose content is wanted.
        into: folder, inside ``folder``, that this content becomes.
        inner: if given, the archive inside the archive to unpack instead.

    Raises:
        DamagedFileError: an archive that is damaged, tries to write elsewhere or lacks ``take``.
        OSError: disk full.
    """
    staging, target = folder / SCRATCH / f"{archive.name}~", folder / into
    shutil.rmtree(staging, ignore_errors=True)  # what a killed process left
    try:
        extract(archive, staging)
        wanted = staging / (inner or take)
        if not wanted.exists():
            raise DamagedFileError(str(archive), f"no {inner or take} in it")
        if inner:
            unpack(wanted, folder, take, into)
        elif not present(target):
            wanted.replace(target)
        else:
            _fill(wanted, target)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _fill(source: Path, target: Path) -> None:
    """Move into a folder what it lacks, however deep; what is there is kept."""
    for path in source.iterdir():
        place = target / path.name
        if not present(place):
            path.replace(place)
        elif path.is_dir() and place.is_dir():
            _fill(path, place)


def extract(archive: Path, folder: Path) -> None:
    """Write the files of an archive under a new folder; links become the file they lead to.

    Raises:
        DamagedFileError: a damaged archive; a name or link that leads outside ``folder``; a device.
        OSError: disk full.
    """

    def bar(members: Iterable[Any]) -> Iterable[Any]:
        return tqdm(members, f"unpacking {archive.name}", unit=" files", mininterval=1)

    folder.mkdir(parents=True)
    require(folder, archive.stat().st_size)
    try:
        if is_zipfile(archive):
            with ZipFile(archive) as file:
                file.extractall(folder, bar(file.namelist()))
        else:
            with tarfile.open(archive) as tar:
                tar.extractall(folder, bar(tar), filter=without_links)
                while tar.fileobj.read(1 << 20):  # to its end, where gzip keeps the checksum
                    continue
    except (OSError, *DAMAGE) as error:
        if isinstance(error, OSError) and error.errno:  # the disk's; gzip and bz2 give no number
            raise
        why = str(error).partition("\n")[0].strip(":")  # tarfile lists all that it tried
        raise DamagedFileError(str(archive), why) from error


def without_links(member: TarInfo, folder: str) -> TarInfo:
    """Python's own filter for data, and for each symbolic link a hard link to the same file.

    So the folder that is taken from an archive can be moved away from the rest of it.

    Raises:
        TarError: a name or link that leads outside, a device.
        ValueError: a link to a folder.
    """
    kept = tarfile.data_filter(member, folder)
    if kept.issym():
        kept.linkname = posixpath.join(posixpath.dirname(kept.name), kept.linkname)
        kept.type, kept.linkname = tarfile.LNKTYPE, posixpath.normpath(kept.linkname)
    if kept.islnk() and Path(folder, kept.linkname).is_dir():
        raise ValueError(f"{kept.name!r} is a link to a folder")
    return kept
