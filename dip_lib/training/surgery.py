"""Evaluating trained prompts whose updates were operated on: nothing is trained.

Symbols: R runs, n context vectors, d width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor

from dip_lib.clip.backbone import Backbone
from dip_lib.clip.features import Features
from dip_lib.data import Dataset
from dip_lib.machine import work_seconds
from dip_lib.methods.prompts import Learned
from dip_lib.methods.surgery import operations
from dip_lib.training.batch_data import draws, evaluation_data, training_data
from dip_lib.training.evaluate import evaluate
from dip_lib.training.record import Result, record
from dip_lib.training.run import Run, Schedule
from dip_lib.training.runs import Runs
from dip_lib.training.text_drift import TextDrift

KEPT = ("base", "new", "val", "update_norm", "drift_base", "drift_new", "drift_words")
"""What is kept of the evaluation of a changed prompt, beside ID_1 of the prompt and as read."""


@torch.no_grad()
def operate(
    runs: Sequence[Run],
    trained: Sequence[dict[str, Tensor]],
    clip: Backbone,
    dataset: Dataset,
    features: Features,
) -> list[Result]:
    """Evaluations of R trained prompts after each operation on their updates.

    Args:
        runs: runs of :class:`dip_lib.methods.surgery.Surgery` that share a batch.
        trained: what the source of each has learned (:meth:`Learned.tensors`).

    Returns:
        A result for each, without tensors. Its checkpoint is that of the unchanged prompt, and in
        "surgery" has for each operation :data:`KEPT`, "id1" and "id1_read". Runs of which an update
        is zero or not finite have no "surgery".
    """
    began = work_seconds(clip.device)
    rows = draws(runs, dataset)
    batch = Runs.prepare(runs, clip, training_data(runs, dataset, features, rows))
    evaluation = evaluation_data(runs, dataset, features, rows)
    method, frozen, begun = batch.method, batch.frozen, batch.learned()
    names = evaluation.base.names, evaluation.new.names
    drift = TextDrift.of(method, begun, frozen, *names)
    start, final = begun.prompts[0], Learned.of(trained, clip.device).prompts[0]

    def evaluated(prompts: Tensor) -> list[dict[str, Any]]:
        return evaluate(method, Learned((prompts,)), start, frozen, evaluation, drift)

    points, updates = evaluated(final), final - start
    norms = updates.flatten(1).norm(dim=1)
    whole = [r for r in range(len(runs)) if 0 < float(norms[r]) < float("inf")]
    made = {r: operations(updates[r], runs[r].seed) for r in whole}
    for way in made[whole[0]] if whole else ():
        changed = start.clone()
        for r in whole:
            changed[r] += made[r][way]
        each = evaluated(changed)
        for r in whole:
            points[r].setdefault("surgery", {})[way] = _kept(each[r])
    seconds = (work_seconds(clip.device) - began) / len(runs)
    results = []
    for run, point in zip(runs, points, strict=True):
        end = {"epoch": cast(Schedule, run.schedule).epochs, "loss": None, **point}
        tested = evaluation.base, evaluation.new
        kept = record(run, tested, [end], seconds, batch_runs=len(runs))
        results.append(Result(kept, {}))
    return results


def _kept(row: dict[str, Any]) -> dict[str, Any]:
    densities = {"id1": row["id"][0], "id1_read": row["id_read"][0]} if "id_read" in row else {}
    return {name: row[name] for name in KEPT if name in row} | densities
