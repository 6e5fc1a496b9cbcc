"""Files that are there whole or not at all, and the prompt file: 2 kB for a DIP of CLIP's size."""

from __future__ import annotations

import os
import secrets
import socket
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from dip_lib.prompt import low_rank_prompt


def write_atomic(path: Path, data: bytes) -> None:
    """Write a file so that it is there whole or not at all, also when the process is killed.

    Raises:
        OSError: disk full, no permission, ...: names the file and says what to do.
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


def _fingerprint(p0: Tensor | None) -> str:
    data = torch.empty(0) if p0 is None else p0.detach().float().cpu().contiguous()
    return sha256(data.numpy().tobytes()).hexdigest()


def save_prompt(path: Path, a: Tensor, b: Tensor, words: str, p0: Tensor | None) -> None:
    """Save a DIP as its factors, the words of P0 and P0's hash: 2 kB at n = 4, d = 512, r = 1.

    Args:
        a, b: factors (..., n, r) and (..., r, d), kept in float32.
        words: the words whose embeddings are P0, such as "a photo of a".
        p0: P0 (..., n, d), or None for a bare product.
    """
    factors = {"A": a.detach().float().cpu(), "B": b.detach().float().cpu()}
    data = save(
        {name: each.contiguous() for name, each in factors.items()},
        metadata={"words": words, "p0_sha256": _fingerprint(p0)},
    )
    write_atomic(path, data)


def load_prompt(path: Path, p0: Tensor | None) -> Tensor:
    """The merged prompt P0 + A B (..., n, d) of a file written by :func:`save_prompt`.

    Raises:
        ValueError: a damaged file, or a ``p0`` other than the one the prompt was trained from.
    """
    try:
        with safe_open(path, "pt") as file:
            a, b, about = file.get_tensor("A"), file.get_tensor("B"), file.metadata()
    except SafetensorError as error:
        raise ValueError(f"{path} is damaged or not a prompt file: {error}") from error
    if about["p0_sha256"] != _fingerprint(p0):
        raise ValueError(
            f"{path} was trained from the embeddings of {about['words']!r} of another backbone or "
            "from other words; load it with the backbone and words it was trained with"
        )
    if p0 is None:
        return a @ b
    return low_rank_prompt(p0, a.to(p0.device), b.to(p0.device))
