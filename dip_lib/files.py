"""Atomic file writes."""

from __future__ import annotations

import errno
import os
import secrets
import socket
import tempfile
from contextlib import suppress
from pathlib import Path

from dip_lib.paths import home


def check_output(path: Path) -> None:
    """Raise OSError if a file cannot be written there: asked before long work, it loses nothing.

    Nothing is left behind: folders that are missing are made by the write.
    """
    try:
        if path.is_dir():
            raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))
        there = next(each for each in path.absolute().parents if each.exists())
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        raise OSError(error.errno, f"cannot write {path}: {error.strerror}") from error


def write_atomic(path: Path, data: bytes) -> None:
    """Write a file atomically: it is complete or absent, also when the process is killed.

    Raises:
        OSError: disk full, no permission, ...: names the file and a remedy.
    """
    tag = f"{socket.gethostname()}~{os.getpid()}~{secrets.token_hex(4)}"
    temporary = path.with_name(f".{path.name}~{tag}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        space = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        remedy = "Free some space, or choose another place" if space else "Choose another place"
        remedy += " with DIP_HOME" if path.absolute().is_relative_to(home()) else ""
        raise OSError(error.errno, f"cannot write {path}: {error.strerror}. {remedy}") from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def sweep(folder: Path) -> None:
    """Remove the temporary files of processes of this machine that no longer run."""
    for path in folder.glob(".*.tmp"):
        _, host, pid, _ = path.name.split("~") if path.name.count("~") == 3 else [""] * 4
        if host == socket.gethostname() and pid.isdigit():
            try:
                os.kill(int(pid), 0)
            except ProcessLookupError:
                with suppress(OSError):
                    path.unlink()
            except PermissionError:
                continue  # runs, as another user
