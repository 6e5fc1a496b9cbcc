"""What a folder of pictures holds: one set of rules for fit, predict and the readers of datasets.

Hidden files and folders never count. What systems, cameras and labelling tools leave beside
pictures is left out and counted. Every other file is taken for a picture, so that one that cannot
be read is named and not lost. Links are followed, each folder once, and never back to a folder
that holds them.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dip_lib.data.names import by_name

JUNK_FOLDERS = {
    *("__macosx", "@eadir", "#recycle", "#snapshot", "$recycle.bin", "lost+found", "__pycache__"),
    "system volume information",
}
"""Folders that systems and network drives leave, in lower case."""
JUNK_FILES = {
    *("thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "picasa.ini"),
    *("zbthumbnail.info", "icon\r"),
}
"""Files that systems leave, in lower case."""
BESIDE = "json jsonl xmp txt xml csv tsv md rst yaml yml toml ini cfg html htm log aae thm pp3"
FILMS = "mov mp4 m4v avi mkv webm 3gp mpg mpeg wav mp3 m4a"
ARCHIVES = "zip tar gz tgz bz2 xz 7z rar part crdownload tmp bak lock torrent md5 sha1 sha256"
DOCUMENTS = "pdf doc docx xls xlsx ppt pptx odt rtf py ipynb pyc js css sh bat exe lnk url webloc"
TENSORS = "db sqlite npy npz pt pth pkl safetensors h5 hdf5 mat parquet tfrecord"
NO_PICTURES = {*" ".join((BESIDE, FILMS, ARCHIVES, DOCUMENTS, TENSORS)).split()}
"""Endings of files that are no pictures, in lower case."""


@dataclass(frozen=True)
class Folder:
    """One folder, as it counts.

    Attributes:
        path: of the folder.
        files: names of what may be pictures, sorted; a link that leads nowhere is among them.
        folders: names of the folders in it, sorted, linked ones among them.
        links: the linked ones.
        left_out: kind of what is no picture ("*.json", "Thumbs.db", "@eaDir/") -> how many.
    """

    path: Path
    files: tuple[str, ...]
    folders: tuple[str, ...]
    links: frozenset[str] = frozenset()
    left_out: Counter[str] = field(default_factory=Counter)


def look(path: Path) -> Folder:
    """What is directly in a folder.

    Raises:
        ValueError: a folder that is not there or cannot be read.
    """
    files, folders, links, left_out = list[str](), list[str](), set[str](), Counter[str]()
    try:
        with os.scandir(path) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                kind, linked = _kind(entry), entry.is_symlink()
                if kind == "folder" and linked and _leads_back(path, Path(entry)):
                    kind = "links that lead back"
                if kind == "folder":
                    folders.append(entry.name)
                    links |= {entry.name} if linked else set()
                elif kind == "file":
                    files.append(entry.name)
                else:
                    left_out[kind] += 1
    except OSError as error:
        raise ValueError(
            f"cannot read the folder {path}: {error.strerror}. Check the path and its permissions"
        ) from error
    files.sort(key=by_name)
    folders.sort(key=by_name)
    return Folder(path, (*files,), (*folders,), frozenset(links), left_out)


def _kind(entry: os.DirEntry[str]) -> str:
    """ "folder", "file" (a picture, perhaps), or what it is left out as."""
    name = entry.name.lower()
    try:
        is_folder = entry.is_dir()
        is_file = entry.is_file() or (entry.is_symlink() and not os.path.exists(entry.path))
    except OSError:  # a link to itself, or into a closed folder
        is_folder, is_file = False, True
    if is_folder:
        return f"{entry.name}/" if name in JUNK_FOLDERS else "folder"
    if not is_file:
        return "pipes, sockets and devices"
    if name in JUNK_FILES:
        return entry.name.strip()
    ending = re.sub(r"^.*\.", "", name) if "." in name else ""
    return f"*.{ending}" if ending in NO_PICTURES else "file"


def _leads_back(path: Path, link: Path) -> bool:
    """Whether the link in ``path`` leads to ``path`` or to a folder that holds it."""
    target, here = os.path.realpath(link), os.path.realpath(path)
    return here == target or here.startswith(target.rstrip(os.sep) + os.sep)


def pictures_below(root: Path) -> tuple[list[Path], Counter[str]]:
    """All files below a folder that may be pictures, sorted, and what was left out.

    A folder that is reached twice counts once: at its own place before any link to it.

    Raises:
        ValueError: a folder that is not there or cannot be read.
    """
    seen, found, left_out = set[tuple[int, int]](), list[Path](), Counter[str]()
    folders, links = [root], list[Path]()
    while folders or links:
        path = (folders or links).pop()
        about = look(path)
        inode = path.stat()
        if (inode.st_dev, inode.st_ino) in seen:
            continue
        seen.add((inode.st_dev, inode.st_ino))
        left_out += about.left_out
        found += [path / name for name in about.files]
        for name in about.folders:
            (links if name in about.links else folders).append(path / name)
        links.sort(key=_by_parts, reverse=True)  # the first is followed first
    return sorted(found, key=_by_parts), left_out


def _by_parts(path: Path) -> list[tuple[str, str]]:
    return [by_name(part) for part in path.parts]


@dataclass(frozen=True)
class FoundPictures:
    """The picture files of what was asked for: ``files``, and what was ``left_out`` beside them."""

    files: list[Path]
    left_out: Counter[str]


def find_pictures(paths: str | Path | Iterable[str | Path]) -> FoundPictures:
    """The given files, and the pictures below given folders.

    A file that is given itself is never left out, whatever its name.

    Raises:
        ValueError: a folder that cannot be read; folders that hold no picture at all.
    """
    asked = [Path(p) for p in ([paths] if isinstance(paths, str | Path) else paths)]
    files, left_out = list[Path](), Counter[str]()
    for path in asked:
        if path.is_dir():
            below, left = pictures_below(path)
            files += below
            left_out += left
        else:
            files.append(path)
    if asked and not files:
        beside = f" ({told(left_out)})" if left_out else ""
        raise ValueError(f"no pictures in {', '.join(map(str, asked))}{beside}")
    return FoundPictures(files, left_out)


def told(left_out: Mapping[str, int]) -> str:
    """One line that says what was left out, the most frequent first; "" for nothing."""
    kinds = [f"{count} {kind}" for kind, count in Counter(left_out).most_common()]
    more: Sequence[str] = ["…"] if len(kinds) > 8 else []
    return f"left out, as no pictures: {', '.join([*kinds[:8], *more])}" if kinds else ""
