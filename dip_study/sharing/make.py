"""Make a shared folder: exports, feature packs, profile, manifest; whole and private, or not."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import torch

from dip_lib.errors import ShareError
from dip_lib.files import check_output
from dip_lib.machine import cpu_name
from dip_study.engine.group import PACKAGES
from dip_study.engine.identity import code_identity
from dip_study.exports import write_exports
from dip_study.profiles import Profile
from dip_study.sharing.files import (
    MANIFEST,
    Manifest,
    digest,
    read_manifest,
    unlisted,
    verify,
    write_manifest,
)
from dip_study.sharing.packs import write_packs
from dip_study.sharing.private import check_private


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What is shared: the studies of a profile (``given``: its name or file); whether with packs;
    the ``device`` that encodes pictures of which there is no pack."""

    profile: Profile
    given: str
    studies: Sequence[str]
    packs: bool = True
    device: str = "cpu"


def share(wanted: Wanted, folder: Path) -> Manifest:
    """Make the folder: it is there whole, checked and private, or it is as it was.

    A share of the same profile is replaced; one with the same content stays as it is.

    Raises:
        ShareError: the folder is something else; something in it would tell a path, a user or a
            machine.
        NotMeasuredError: runs are missing, with the command that measures them.
        PackError, ValueError, OSError: a damaged pack; weights that are not here; disk full.
    """
    check_output(folder / MANIFEST)
    before = _before(folder, wanted.profile.name)
    staged = folder.absolute().with_name(f".{folder.absolute().name}.partial")
    shutil.rmtree(staged, ignore_errors=True)  # what a killed process left
    try:
        (staged / "results").mkdir(parents=True)
        write_exports(wanted.profile, wanted.studies, staged / "results" / wanted.profile.name)
        if wanted.given.endswith(".toml"):
            shutil.copyfile(Path(wanted.given).expanduser(), staged / f"{wanted.profile.name}.toml")
        if wanted.packs:
            write_packs(wanted.profile, wanted.studies, staged / "packs", wanted.device)
        manifest = _manifest(wanted.profile.name, staged)
        write_manifest(staged, manifest)
        check_private(staged)
        verify(staged, read_manifest(staged))
        if before is None or before.share != manifest.share or not _whole(folder, before):
            _replace(folder, staged)
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    return manifest


def _before(folder: Path, profile: str) -> Manifest | None:
    """The manifest of a share of the same profile that is to be replaced; None of a new folder."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return None
    remedy = "Give another folder, or remove this one"
    try:
        before = read_manifest(folder)
    except ShareError as error:
        raise ShareError(str(folder), "it is there, and no whole share", remedy) from error
    if before.profile != profile:
        reason = f"it is a share of the profile {before.profile}, not of {profile}"
        raise ShareError(str(folder), reason, remedy)
    if others := unlisted(folder, before):
        raise ShareError(str(folder), f"it holds other files, such as {others[0]}", remedy)
    return before


def _whole(folder: Path, manifest: Manifest) -> bool:
    try:
        verify(folder, manifest)
    except ShareError:
        return False
    return True


def _replace(folder: Path, staged: Path) -> None:
    old = staged.with_name(f".{folder.absolute().name}.before")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.replace(old)
    staged.replace(folder)
    shutil.rmtree(old, ignore_errors=True)


def _manifest(profile: str, folder: Path) -> Manifest:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    versions = {"dip-lib": version("dip-lib"), "python": platform.python_version()}
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else ""
    where = f"{platform.system()} {platform.release()} {platform.machine()}"
    return Manifest(
        profile=profile,
        code=code_identity(),
        versions=versions | {name: version(name) for name in PACKAGES},
        machine={"cpu": cpu_name(), "gpu": gpu, "os": where, "cores": str(os.cpu_count())},
        files={path.relative_to(folder).as_posix(): digest(path) for path in files},
    )
