"""Unpacking archives from the internet: whole or not at all, and never outside their folder."""

from __future__ import annotations

import posixpath
import shutil
import tarfile
import zlib
from collections.abc import Iterator
from gzip import BadGzipFile
from lzma import LZMAError
from pathlib import Path
from tarfile import TarError
from typing import IO
from zipfile import BadZipFile, ZipFile, is_zipfile

from tqdm import tqdm

SCRATCH = ".dip"
"""Folder inside a dataset's folder for what is not finished yet."""
DAMAGE = (
    *(TarError, BadZipFile, BadGzipFile, LZMAError, zlib.error, EOFError, ValueError),
    *(RuntimeError, KeyError),  # an encrypted zip or a link to itself, a link to nothing
)


def present(path: Path) -> bool:
    """Whether a file with content, or a folder with anything in it, is there."""
    return any(path.iterdir()) if path.is_dir() else path.is_file() and path.stat().st_size > 0


def amount(size: int) -> str:
    """A number of bytes for people: "39.2GB"."""
    return tqdm.format_sizeof(size, "B")


def require(folder: Path, size: int) -> None:
    """Refuse to begin what cannot end for lack of disk.

    Raises:
        OSError: fewer than ``size`` bytes are free; says how many are needed.
    """
    if (free := shutil.disk_usage(folder).free) < size:
        raise OSError(f"{folder} needs {amount(size)} of disk, {amount(free)} are free")


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
        ValueError: an archive that is damaged, tries to write elsewhere or lacks ``take``.
        OSError: disk full.
    """
    staging, target = folder / SCRATCH / f"{archive.name}~", folder / into
    shutil.rmtree(staging, ignore_errors=True)  # what a killed process left
    try:
        extract(archive, staging)
        wanted = staging / (inner or take)
        if not wanted.exists():
            raise ValueError(f"{archive} is not the archive it should be: no {inner or take} in it")
        if inner:
            unpack(wanted, folder, take, into)
        elif not present(target):
            wanted.replace(target)
        else:
            for path in wanted.iterdir():
                if not present(target / path.name):
                    path.replace(target / path.name)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def extract(archive: Path, folder: Path) -> None:
    """Write the files of an archive under a new folder; links become copies of their target.

    Raises:
        ValueError: a damaged archive; a name or link that leads outside ``folder``; a device.
        OSError: disk full.
    """
    folder.mkdir(parents=True)
    require(folder, archive.stat().st_size)
    try:
        members = _zip if is_zipfile(archive) else _tar
        bar = tqdm(members(archive), f"unpacking {archive.name}", unit=" files", mininterval=1)
        for name, content in bar:
            path = folder / name
            (path.parent if content else path).mkdir(parents=True, exist_ok=True)
            if content:
                with content, open(path, "wb") as file:
                    shutil.copyfileobj(content, file, 1 << 20)
    except DAMAGE as error:
        why = str(error).partition("\n")[0].strip(":")  # tarfile lists all that it tried
        raise ValueError(f"{archive} is damaged or not safe to unpack ({why})") from error


def _zip(archive: Path) -> Iterator[tuple[str, IO[bytes] | None]]:
    with ZipFile(archive) as file:
        for member in file.infolist():
            yield _inside(member.filename), None if member.is_dir() else file.open(member)


def _tar(archive: Path) -> Iterator[tuple[str, IO[bytes] | None]]:
    with tarfile.open(archive) as file:
        for member in file:
            content = file.extractfile(
                member
            )  # of a link: the member that it leads to, or an error
            if content is None and not member.isdir():
                raise ValueError(f"{member.name!r} is neither a file nor a folder")
            yield _inside(member.name), content
        while file.fileobj.read(1 << 20):  # to its end, where gzip keeps the checksum
            continue


def _inside(name: str) -> str:
    """The name without detours, if it stays inside the folder the archive is unpacked to."""
    plain = posixpath.normpath(name)
    if plain.startswith("/") or plain.split("/")[0] == ".." or "\\" in plain:
        raise ValueError(f"{name!r} leads outside")
    return plain
