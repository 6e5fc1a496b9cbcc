"""A shared folder: its manifest, which lists every file with its SHA-256, and how it is verified.

    manifest.json                      this list; versions, machine
    results/PROFILE/STUDY.json         exports, as `dip export` writes them
    packs/DATASET.ENCODER.safetensors  feature packs that the runs rest on
    PROFILE.toml                       the profile, where it is a file of one's own

No other kind of file belongs to one. Files that the manifest does not list are never opened.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from hashlib import file_digest, sha256
from pathlib import Path
from typing import Any

from dip_lib.errors import ShareError
from dip_lib.files import write_atomic

MANIFEST = "manifest.json"
FORMAT = 1
EXPORT, PACK, PROFILE = (
    re.compile(pattern, re.ASCII)
    for pattern in (
        r"results/[\w.+-]*\w/[a-z_]+\.json",
        r"packs/\w[\w.-]*\.safetensors",
        r"\w[\w.+-]*\.toml",
    )
)
"""The files that belong to a share, by their names."""
AGAIN = "Fetch the folder again from where it came, whole"


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a share is of.

    Attributes:
        profile: its name.
        code: what :func:`dip_study.engine.identity.code_identity` said where it was made.
        versions: of Python, the library and packages there.
        machine: cpu (with its cores), gpu ("": none) and os there.
        files: name -> SHA-256 of every other file.
        format: of the folder.
    """

    profile: str
    code: str
    versions: Mapping[str, str]
    machine: Mapping[str, str]
    files: Mapping[str, str]
    format: int = FORMAT

    @property
    def share(self) -> str:
        """The share's name: 64 digits that change with anything in it."""
        return sha256(_plain(asdict(self)).encode()).hexdigest()

    def named(self, kind: re.Pattern[str]) -> list[str]:
        """The files of a kind, in their order."""
        return [name for name in sorted(self.files) if kind.fullmatch(name)]


def write_manifest(folder: Path, manifest: Manifest) -> None:
    write_atomic(folder / MANIFEST, _bytes(manifest))


def digest(path: Path) -> str:
    with open(path, "rb") as file:
        return file_digest(file, "sha256").hexdigest()


def is_share(folder: Path) -> bool:
    """Whether a folder is a share, or was one: it has a manifest, or results and no store."""
    was = (folder / "results").is_dir() and not (folder / "store").is_dir()
    return (folder / MANIFEST).is_file() or was


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a share; its files are not looked at.

    Raises:
        ShareError: there is none, a byte of it was changed, it is of a newer format, or it lists
            what belongs to no share, such as a notebook, a pickle, or a place outside.
    """
    path = folder / MANIFEST
    try:
        content = path.read_bytes()
        values: dict[str, Any] = json.loads(content)
        share, newest = values.pop("share"), int(values["format"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = f"it is missing, cut or damaged ({type(error).__name__})"
        raise ShareError(str(path), reason, AGAIN) from error
    if newest > FORMAT:
        reason = f"its format is {newest}, and this version reads {FORMAT}"
        raise ShareError(str(path), reason, "Update dip-lib: pip install --upgrade dip-lib")
    try:
        manifest = Manifest(**values)
        whole = manifest.share == share and _bytes(manifest) == content
        foreign = [name for name in manifest.files if not _belongs(name)]
    except (TypeError, AttributeError) as error:
        reason = f"its entries are not those of a share ({error})"
        raise ShareError(str(path), reason, AGAIN) from error
    if not whole:
        raise ShareError(str(path), "it was changed after it was written", AGAIN)
    if foreign:
        reason = "it belongs to no share: these hold exports, feature packs and a profile alone"
        raise ShareError(foreign[0], reason, "Take in nothing of this folder")
    return manifest


def verify(folder: Path, manifest: Manifest) -> None:
    """Read every file of a share and compare its SHA-256.

    Raises:
        ShareError: a file that is missing, damaged, or a link; names the first and counts them.
    """
    files = sorted(manifest.files.items())
    wrong = {name: reason for name, sha in files if (reason := _fault(folder, name, sha))}
    if wrong:
        first, reason = next(iter(wrong.items()))
        more = f" (and {len(wrong) - 1} more files)" if len(wrong) > 1 else ""
        raise ShareError(str(folder / first), f"{reason}{more}; nothing was taken", AGAIN)


def unlisted(folder: Path, manifest: Manifest) -> list[str]:
    """The files in a folder that are none of its share's; nobody opens them."""
    names = (path.relative_to(folder).as_posix() for path in folder.rglob("*"))
    known = {MANIFEST, *manifest.files}
    return sorted(name for name in names if name not in known and not (folder / name).is_dir())


def _belongs(name: str) -> bool:
    return any(kind.fullmatch(name) for kind in (EXPORT, PACK, PROFILE))


def _fault(folder: Path, name: str, expected: str) -> str:
    path = folder / name
    if any(each.is_symlink() for each in (path, *path.parents[: name.count("/")])):
        return "it is a link"
    try:
        found = digest(path)
    except OSError as error:
        return f"it cannot be read ({error.strerror})"
    if found != expected:
        return f"it is damaged: its sha256 is {found[:12]}, not {expected[:12]}"
    return ""


def _plain(values: Mapping[str, Any]) -> str:
    return json.dumps(values, indent=1, sort_keys=True)


def _bytes(manifest: Manifest) -> bytes:
    return f"{_plain(asdict(manifest) | {'share': manifest.share})}\n".encode()
