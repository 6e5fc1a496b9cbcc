"""The prompt file: 2 kB for a DIP of CLIP's size, as safetensors."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from dip_lib.files import write_atomic
from dip_lib.prompt.low_rank import low_rank_prompt


def _fingerprint(p0: Tensor | None) -> str:
    data = torch.empty(0) if p0 is None else p0.detach().float().cpu().contiguous()
    return sha256(data.numpy().tobytes()).hexdigest()


def _other_precision(p0: Tensor | None, fingerprint: str) -> str:
    """The precision in which a backbone's P0 has this fingerprint; "" if in none."""
    if p0 is None:
        return ""
    rounded = {"bf16": torch.bfloat16, "fp16": torch.float16}
    return next((n for n, t in rounded.items() if _fingerprint(p0.to(t)) == fingerprint), "")


def save_prompt(
    path: Path,
    a: Tensor,
    b: Tensor,
    words: str,
    p0: Tensor | None,
    more: Mapping[str, str] | None = None,
) -> None:
    """Save a DIP as its factors, the words of P0 and P0's hash: 2 kB at n = 4, d = 512, r = 1.

    Args:
        a, b: factors (..., n, r) and (..., r, d), kept in float32.
        words: the words whose embeddings are P0, such as "a photo of a".
        p0: P0 (..., n, d), or None for a bare product.
        more: metadata beside the words and the hash.
    """
    factors = {"A": a.detach().float().cpu(), "B": b.detach().float().cpu()}
    data = save(
        {name: each.contiguous() for name, each in factors.items()},
        metadata={"words": words, "p0_sha256": _fingerprint(p0), **(more or {})},
    )
    write_atomic(path, data)


def read_prompt_file(path: Path) -> tuple[Tensor, Tensor, dict[str, str]]:
    """Factors (..., n, r) and (..., r, d), float32, and what is said of them.

    Raises:
        ValueError: a file that is damaged, or that :func:`save_prompt` has not written.
    """
    try:
        with safe_open(path, "pt") as file:
            a, b, about = file.get_tensor("A"), file.get_tensor("B"), file.metadata() or {}
    except SafetensorError as error:
        raise ValueError(f"{path} is damaged or not a prompt file: {error}") from error
    if missing := [name for name in ("words", "p0_sha256") if name not in about]:
        raise ValueError(f"{path} is not a prompt file: it does not say its {missing[0]}")
    if not _multiply(a, b) or {a.dtype, b.dtype} != {torch.float32}:
        kinds = " and ".join(f"{tuple(each.shape)}, {each.dtype}" for each in (a, b))
        raise ValueError(
            f"{path} is not a prompt file: its factors are {kinds} in place of (..., n, r) and "
            "(..., r, d), torch.float32"
        )
    return a, b, about


def _multiply(a: Tensor, b: Tensor) -> bool:
    """Whether A B is a prompt; one A may serve the B of every class."""
    try:
        torch.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    except RuntimeError:
        return False
    return min(a.dim(), b.dim()) >= 2 and a.shape[-1] == b.shape[-2]


def load_prompt(path: Path, p0: Tensor | None) -> Tensor:
    """The merged prompt P0 + A B (..., n, d) of a file written by :func:`save_prompt`.

    Raises:
        ValueError: a damaged file, or a ``p0`` other than the one the prompt was trained from.
    """
    a, b, about = read_prompt_file(path)
    if about["p0_sha256"] != _fingerprint(p0):
        if precision := _other_precision(p0, about["p0_sha256"]):
            raise ValueError(
                f"{path} was trained from the embeddings of {about['words']!r} in {precision}; "
                f"give load_backbone(name, weights, precision={precision!r}) as the backbone"
            )
        raise ValueError(
            f"{path} was trained from the embeddings of {about['words']!r} of another backbone or "
            "from other words; load it with the backbone and words it was trained with"
        )
    if p0 is None:
        return a @ b
    # each class may have an update of its own, so there may be more axes than P0 has
    if p0.shape[-2:] != (a.shape[-2], b.shape[-1]) or not (a.numel() and b.numel()):
        raise ValueError(
            f"{path} holds factors of {tuple(a.shape)} and {tuple(b.shape)} where its words have "
            f"{tuple(p0.shape)}: it is damaged"
        )
    return low_rank_prompt(p0, a.to(p0.device), b.to(p0.device))
