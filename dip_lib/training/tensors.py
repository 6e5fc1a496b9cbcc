"""What a run has learned, by name, as the store keeps it; and back."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from dip_lib.methods.prompts import Learned


def to_tensors(learned: Learned, run: int) -> dict[str, Tensor]:
    """What one of R runs has learned: "prompt", "prompt.1", ..., "other.0", ...

    "prompt" is the merged prompt (n, d).
    """
    named = {f"prompt.{i}" if i else "prompt": p for i, p in enumerate(learned.prompts)}
    named |= {f"other.{i}": each for i, each in enumerate(learned.others)}
    return {name: each[run].detach().cpu().clone() for name, each in named.items()}


def from_tensors(kept: Sequence[dict[str, Tensor]], device: torch.device) -> Learned:
    """The reverse of :func:`to_tensors`, for R runs of one method."""
    stacked = {name: torch.stack([k[name] for k in kept]).to(device) for name in kept[0]}
    kinds = {"prompt": list[Tensor](), "other": list[Tensor]()}
    for name in sorted(stacked, key=lambda name: (len(name), name)):  # "prompt.10" after "prompt.2"
        kinds[name.split(".")[0]].append(stacked[name])
    return Learned(tuple(kinds["prompt"]), tuple(kinds["other"]))
