"""Prompts that were learned once, evaluated elsewhere and never trained again.

Symbols: R runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor

from dip_lib.clip.backbone import Backbone
from dip_lib.clip.features import encode_split
from dip_lib.data import Dataset
from dip_lib.data.protocols import Classes, evaluation_halves
from dip_lib.machine import work_seconds
from dip_lib.methods.prompt_method import PromptMethod
from dip_lib.methods.prompts import Learned
from dip_lib.training.batch_data import EvaluationData
from dip_lib.training.evaluate import accuracies, with_prompted_tower
from dip_lib.training.record import Result, record
from dip_lib.training.run import Run, Schedule
from dip_lib.training.runs import frozen_clip


@torch.no_grad()
def transfer(
    runs: Sequence[Run], kept: Sequence[dict[str, Tensor]], clip: Backbone, target: Dataset
) -> list[Result]:
    """Accuracy of R trained runs of one method on all classes of another dataset.

    Args:
        runs: runs with that target.
        kept: what each has learned (:meth:`Learned.tensors`).

    Returns:
        A result for each, with one checkpoint and without tensors.
    """
    began = work_seconds(clip.device)
    method, test = cast(PromptMethod, runs[0].method), encode_split(clip, target, "test")
    every = Classes("all-classes")
    base, new = evaluation_halves(target, test, every)
    learned = Learned.of(kept, clip.device)
    frozen = frozen_clip(runs, clip, base.names, target.template)
    data = EvaluationData(base, new, new)
    data = with_prompted_tower(data, method, learned, frozen, target, every)
    rows = accuracies(method.classifier(learned, frozen, base.names), data.base, new, len(runs))
    seconds = (work_seconds(clip.device) - began) / len(runs)
    results = []
    for run, row in zip(runs, rows, strict=True):
        checkpoint = {"epoch": cast(Schedule, run.schedule).epochs, "loss": None, **row}
        results.append(Result(record(run, (base, new), [checkpoint], seconds), {}))
    return results
