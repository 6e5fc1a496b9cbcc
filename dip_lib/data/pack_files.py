"""Feature packs on disk: written whole, checked when read, found in the search path.

A pack is a safetensors file whose metadata has one entry, ``pack``: the header as JSON. The search
path is every folder that an installed package declares by an entry point "dip_lib.packs" (the
object is a ``pathlib.Path``), then ``packs`` in the folder of measurements
(:func:`dip_lib.paths.home`).
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import fields
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save

from dip_lib.data.names import Twin
from dip_lib.data.packs import FORMAT, FeaturePack, Header, as_json, content_hash, split_hash
from dip_lib.errors import PackError
from dip_lib.fetch.resume import fetch
from dip_lib.files import write_atomic
from dip_lib.paths import home
from dip_lib.plugins import plugins

AGAIN = "Fetch it again with `dip features get`, or make it again with `dip features pack`"
KEPT = 32
"""Packs that a process keeps open; their tensors are mapped from the file, not copied."""


def write_pack(path: Path, made: FeaturePack) -> None:
    """Write a pack: the file is complete or absent, also when the process is killed."""
    tensors = {name: tensor.contiguous() for name, tensor in made.tensors.items()}
    write_atomic(path, save(tensors, metadata={"pack": as_json(made.header)}))


# ---- reading ------------------------------------------------------------------------------------


def read_header(path: Path) -> Header:
    """The header of a pack, without its features; kept while the file stays as it is.

    Raises:
        PackError: a damaged or half-written file, one that is no pack, or of a newer format.
    """
    return _read_header(*file_state(path))


def read_pack(path: Path) -> FeaturePack:
    """A pack, checked: its contents have the hashes that it declares; kept as its header is.

    Raises:
        PackError: as :func:`read_header`; contents other than those that were written, labels of
            another split than the header's.
    """
    return _read_pack(*file_state(path))


def file_state(path: Path) -> tuple[Path, int, int, int]:
    """The path of a pack, its inode, time and size: the same, and its contents are."""
    try:
        about = path.stat()
    except OSError as error:
        raise PackError(str(path), str(error.strerror), AGAIN) from error
    return path, about.st_ino, about.st_mtime_ns, about.st_size


@lru_cache(maxsize=1024)
def _read_header(path: Path, *state: int) -> Header:
    try:
        with safe_open(path, "pt") as file:
            values: Any = json.loads((file.metadata() or {})["pack"])
        newest = int(values["format"])
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise PackError(str(path), f"it is cut, damaged or no pack ({error!r})", AGAIN) from error
    if newest > FORMAT:
        reason = f"its format is {newest}, and this version reads {FORMAT}"
        raise PackError(str(path), reason, "Update dip-lib: pip install --upgrade dip-lib")
    try:
        names = values["class_names"]
        # a name that a published list gives twice stays as it is
        names = [Twin(name) if name in names[:i] else name for i, name in enumerate(names)]
        return Header(**values | {"class_names": (*names,), "groups": (*values["groups"],)})
    except (KeyError, TypeError) as error:
        expected = ", ".join(each.name for each in fields(Header))
        raise PackError(str(path), f"its header has not the fields {expected}", AGAIN) from error


@lru_cache(maxsize=KEPT)
def _read_pack(path: Path, *state: int) -> FeaturePack:
    header = _read_header(path, *state)
    try:
        tensors = load_file(path)
        found, split = content_hash(header, tensors), split_hash(header.class_names, tensors)
    except (SafetensorError, OSError, KeyError) as error:
        raise PackError(str(path), f"it is cut or damaged ({error!r})", AGAIN) from error
    if found != header.sha256:
        declared = f"its contents have sha256 {found[:12]}, not {header.sha256[:12]} as declared"
        raise PackError(str(path), declared, AGAIN)
    if split != header.split_sha256:
        declared = f"its labels are of split {split[:12]}, not {header.split_sha256[:12]}"
        raise PackError(str(path), f"{declared} as declared: it is of another split", AGAIN)
    return FeaturePack(header, tensors)


# ---- where they are -----------------------------------------------------------------------------


def own_packs() -> Path:
    """The folder of this machine's own packs: made here, or fetched."""
    return home() / "packs"


def pack_paths() -> list[Path]:
    """Every pack in the search path, in its order; unread, so that some may be damaged."""
    folders = [*plugins("dip_lib.packs"), own_packs()]
    return [path for folder in folders for path in sorted(folder.glob("*.safetensors"))]


def pack_name(header: Header) -> str:
    """The file name of a pack, "DATASET.ENCODER.safetensors"."""
    encoder = re.sub(r"[^A-Za-z0-9._-]+", "-", header.encoder)
    return f"{header.dataset}.{encoder}.safetensors"


def headers_of(dataset: str, but: Path | None = None) -> dict[Path, Header]:
    """The packs of a dataset in the search path, and their headers.

    Args:
        but: a file that is to be replaced, and is not looked at.

    Raises:
        PackError: a file that cannot be read and is named as a pack of this dataset.
    """
    found = {}
    for path in (each for each in pack_paths() if each != but):
        try:
            header = read_header(path)
        except PackError:
            if path.name.partition(".")[0] == dataset:
                raise
            continue
        if header.dataset == dataset:
            found[path] = header
    return found


def check_agreement(packs: Mapping[Path, Header]) -> None:
    """Raise PackError, naming both, for packs of a dataset that are not of one: its pictures, its
    split, its template; and its encoding, which a run's key tells once for all encoders.
    """
    (first, head), *others = packs.items()
    for path, header in others:
        for what in ("fingerprint", "split_sha256", "template", "encoding"):
            mine, its = getattr(head, what), getattr(header, what)
            if mine != its:
                reason = f"its {what} is {its!r}, and that of {first} is {mine!r}"
                remedy = f"Packs of {head.dataset} must agree: remove one, or make both again"
                raise PackError(str(path), reason, remedy)


def add_pack(made: FeaturePack, folder: Path | None = None) -> Path:
    """Write a pack into a folder, by default this machine's own, under its own name.

    Raises:
        PackError: it would disagree with another of its dataset in the search path.
    """
    path = (folder or own_packs()) / pack_name(made.header)
    if folder in (None, own_packs()):
        check_agreement(headers_of(made.header.dataset, but=path) | {path: made.header})
    write_pack(path, made)
    return path


def get_pack(source: str) -> Path:
    """Copy or download a pack into this machine's own; it appears there checked, or not at all.

    Args:
        source: a file, or an address that begins with https:// (http:// from this machine alone).

    Returns:
        Its path there, named by its header; a pack of the same name is replaced.

    Raises:
        PackError: what came is no pack, damaged, of a newer format, or disagrees with another of
            its dataset.
        InsecureAddressError: an address that is not https.
        OSError: the source is not there, or sends a web page; disk full.
    """
    scratch = own_packs() / "fetched"
    scratch.mkdir(parents=True, exist_ok=True)
    if source.startswith(("http://", "https://")):
        arrived = scratch / (Path(urlsplit(source).path).name or "pack")
        fetch(source, arrived)
    else:
        arrived = scratch / Path(source).name
        shutil.copyfile(Path(source).expanduser(), arrived)
    try:
        header = read_pack(arrived).header
        path = own_packs() / pack_name(header)
        check_agreement(headers_of(header.dataset, but=path) | {Path(source): header})
    except PackError as error:
        arrived.unlink()
        named = error.path.replace(str(arrived), source)
        raise PackError(named, error.reason, error.remedy) from error
    return arrived.replace(path)
