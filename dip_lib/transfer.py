"""Prompts that were learnt once, judged elsewhere: kept as tensors and never trained again.

Symbols: R runs, M images, e embedding size.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from dip_lib.accuracy import accuracies
from dip_lib.backbone import Backbone
from dip_lib.datasets import Dataset
from dip_lib.features import encode_split
from dip_lib.judge import with_prompted_tower
from dip_lib.methods import LEARNT, Learnt, setting
from dip_lib.methods.method import record
from dip_lib.protocols import Task, tested
from dip_lib.spec import RunSpec


def tensors(learnt: Learnt, run: int) -> dict[str, Tensor]:
    """What one run has learnt, by name, to be kept: "prompt", "prompt.1", ..., "other.0", ..."""
    named = {f"prompt.{i}" if i else "prompt": p for i, p in enumerate(learnt.prompts)}
    named |= {f"other.{i}": each for i, each in enumerate(learnt.others)}
    return {name: each[run].detach().cpu().clone() for name, each in named.items()}


def learnt_of(kept: Sequence[dict[str, Tensor]], device: torch.device) -> Learnt:
    """The reverse of :func:`tensors`, for R runs of one method."""
    stacked = {name: torch.stack([k[name] for k in kept]).to(device) for name in kept[0]}
    kinds = {"prompt": list[Tensor](), "other": list[Tensor]()}
    for name in sorted(stacked, key=lambda name: (len(name), name)):  # "prompt.10" after "prompt.2"
        kinds[name.split(".")[0]].append(stacked[name])
    return Learnt(tuple(kinds["prompt"]), tuple(kinds["other"]))


@torch.no_grad()
def transfer(
    specs: Sequence[RunSpec], kept: Sequence[dict[str, Tensor]], clip: Backbone, target: Dataset
) -> list[dict[str, Any]]:
    """What R trained runs of one method get right on all classes of another dataset.

    Args:
        specs: runs with that target.
        kept: what each has learnt (:func:`tensors`).

    Returns:
        A record for each, with one checkpoint.
    """
    began = time.perf_counter()
    method, test = LEARNT[specs[0].method], encode_split(clip, target, "test")
    base, new = tested(target, test, "all-classes")
    learnt, fixed = learnt_of(kept, clip.device), setting(specs, clip, target, base.names)
    data = Task(base.names, test[None, None], base.labels[None], new, base, new)
    data = with_prompted_tower(data, learnt, method, fixed, target, "all-classes")
    rows = accuracies(method.classifier(learnt, fixed, base.names), data.base, new, len(specs))
    seconds = (time.perf_counter() - began) / len(specs)
    return [
        record(spec, (base, new), [{"epoch": spec.epochs, "loss": None, **row}], seconds)
        for spec, row in zip(specs, rows, strict=True)
    ]
