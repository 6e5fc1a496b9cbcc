"""Reading one picture file, and saying what is wrong with one that cannot be read.

The remedy fits the cause: a telephone's HEIC needs a package, a pointer of Git LFS needs its file,
a picture of too many pixels a smaller copy.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from dip_lib.data.views import rgb

BROKEN = (OSError, ValueError, SyntaxError, RuntimeError, Image.DecompressionBombError)
"""What PIL's readers raise over a damaged file, each in its own way."""
HEIC = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
"""Brands of ISO media files with HEIF pictures, at byte 8."""
SIGNATURES = (
    (b"version https://git-lfs", "it is a pointer of Git LFS. `git lfs pull` brings the picture"),
    (b"\xff\x0a", "it is JPEG XL, which Pillow does not read. Save it as JPEG or PNG"),
    (b"\0\0\0\x0cJXL ", "it is JPEG XL, which Pillow does not read. Save it as JPEG or PNG"),
    (b"%PDF", "it is a PDF. Save its pictures as JPEG or PNG"),
    (b"PK\3\4", "it is a zip archive. Unpack it"),
)
"""First bytes of files that are taken for pictures, and what to do about them."""
WEB_PAGE = "it is a web page: a download saved the host's notice in its place. Download it again"
THREADS = 4
AGAIN = "Copy or download the file again, or take it off the list of pictures"


@contextmanager
def opened(path: Path) -> Iterator[Image.Image]:
    """An open picture, whose pixels are not read yet; HEIC where pillow-heif is installed.

    Raises:
        One of ``BROKEN``: no file, or none that is a picture.
    """
    if not stat.S_ISREG(os.stat(path).st_mode):  # a pipe would never answer
        raise OSError("it is no file")
    try:
        picture = Image.open(path)
    except UnidentifiedImageError:
        if not (_is_heic(_start(path)) and _register_heif()):
            raise
        picture = Image.open(path)
    with picture:
        yield picture


def read_picture(path: Path) -> Image.Image:
    """The picture as PIL converts it to RGB: see :func:`dip_lib.data.views.rgb`.

    Raises:
        One of ``BROKEN``: see :func:`cause`.
    """
    with opened(path) as picture:
        return rgb(picture)


def fault(path: Path, whole: bool = True) -> str:
    """What is wrong with a picture file and the remedy, or ""; reads its pixels if ``whole``."""
    try:
        with opened(path) as picture:
            _ = rgb(picture) if whole else None
    except BROKEN as error:
        return cause(path, error)
    return ""


def faults(paths: Iterable[Path]) -> dict[Path, str]:
    """What is wrong with each file that is no readable picture; decodes all of them."""
    listed = list(paths)
    with ThreadPoolExecutor(THREADS) as threads:
        found = threads.map(fault, listed)
        return {path: why for path, why in zip(listed, found, strict=True) if why}


def unreadable(path: Path, error: Exception) -> str:
    """The message about a picture that ``error`` was raised over."""
    return f"cannot read the picture {path}: {cause(path, error)}"


def cause(path: Path, error: Exception) -> str:
    """Why a picture cannot be read, and a remedy; the same words for the same cause."""
    if isinstance(error, Image.DecompressionBombError):
        return (
            f"it has more pixels than Pillow opens, {2 * (Image.MAX_IMAGE_PIXELS or 0):,}, so as "
            "not to fill the memory. Save a smaller copy in its place"
        )
    if (start := _start(path)) is None:
        reason = getattr(error, "strerror", None) or error
        return f"{reason}. {AGAIN}"
    if not start:
        return f"it is empty. {AGAIN}"
    if _is_heic(start) and isinstance(error, UnidentifiedImageError):
        return (
            "it is HEIC, as telephones write it. `pip install pillow-heif`, and it is read; or "
            "save it as JPEG"
        )
    if start.lstrip().lower().startswith((b"<!doctype", b"<html")):
        return WEB_PAGE
    for signature, said in SIGNATURES:
        if start.startswith(signature):
            return said
    if isinstance(error, UnidentifiedImageError):
        return f"it is no picture that Pillow can identify. {AGAIN}"
    return f"{error}. {AGAIN}"


def _start(path: Path) -> bytes | None:
    """The first bytes of a file; None for what is no file or cannot be opened."""
    try:
        if not os.path.isfile(path):
            return None
        with open(path, "rb") as file:
            return file.read(64)
    except OSError:
        return None


def _is_heic(start: bytes | None) -> bool:
    return start is not None and start[4:8] == b"ftyp" and start[8:12] in HEIC


def _register_heif() -> bool:
    """Let PIL read HEIC by the package pillow-heif; whether it is installed."""
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        return False
    register_heif_opener()
    return True
