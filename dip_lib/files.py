"""Atomic file writes."""

from __future__ import annotations

import os
import secrets
import socket
from contextlib import suppress
from pathlib import Path


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
        remedy = "Free some space or choose another folder with DIP_HOME."
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
