"""Measuring R runs that learn prompts: train them at once, evaluating along the way.

Symbols: R runs, n context vectors, d width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from dip_lib.clip.backbone import Backbone
from dip_lib.clip.features import Features
from dip_lib.data import Dataset
from dip_lib.machine import work_seconds
from dip_lib.methods.prompt_method import PromptMethod
from dip_lib.training.batch_data import draws, evaluation_data, training_data
from dip_lib.training.evaluate import evaluate, shrunk, with_prompted_tower
from dip_lib.training.loop import train_epochs
from dip_lib.training.record import FINISHED, Result, record
from dip_lib.training.run import Run
from dip_lib.training.runs import Runs, check_batch
from dip_lib.training.sharpness import sharpness
from dip_lib.training.text_drift import TextDrift


def checkpoint_epochs(epochs: int, count: int) -> list[int]:
    """Epochs after which a run is evaluated: the start, then evenly up to the end; 1: the end."""
    first = 1 if count == 1 else 0
    return sorted({round(i * epochs / count) for i in range(first, count + 1)})


def train(
    runs: Sequence[Run],
    backbone: Backbone,
    dataset: Dataset,
    features: Features,
    graphs: bool = True,
) -> list[Result]:
    """Train and evaluate R runs at once.

    Args:
        runs: runs that share a batch (:meth:`Run.shared`).
        graphs: on a GPU, replay the step as a recorded graph; False to check against.

    Raises:
        ValueError: what :meth:`Runs.prepare` refuses.
    """
    check_batch(runs)
    began = work_seconds(backbone.device)
    first, rows = runs[0], draws(runs, dataset)
    reads_pixels = backbone if cast(PromptMethod, first.method).encodes_images else None
    data = training_data(runs, dataset, features, rows, reads_pixels)
    evaluation = evaluation_data(runs, dataset, features, rows)
    batch = Runs.prepare(runs, backbone, data)
    method, frozen = batch.method, batch.frozen
    start = batch.learned().prompts[0].detach().clone()  # (R, n, d)
    names = evaluation.base.names, evaluation.new.names
    drift = TextDrift.of(method, batch.learned(), frozen, *names)
    due = checkpoint_epochs(batch.schedule.epochs, batch.schedule.checkpoints)
    checkpoints: list[list[dict[str, Any]]] = [[] for _ in runs]

    def add_checkpoint(epoch: int, losses: Sequence[float | None]) -> None:
        learned = batch.learned()
        classes = first.data.classes
        prompted = with_prompted_tower(evaluation, method, learned, frozen, dataset, classes)
        evaluated = evaluate(method, learned, start, frozen, prompted, drift)
        for points, loss, row in zip(checkpoints, losses, evaluated, strict=True):
            points.append({"epoch": epoch, "loss": loss} | row)

    if 0 in due:
        add_checkpoint(0, [None] * len(runs))
    stopped: dict[int, int] = {}  # run -> epoch in which its loss was not finite
    for epoch, (alive, loss) in enumerate(train_epochs(batch, graphs)):
        for r in (~alive).nonzero().flatten().tolist():
            stopped.setdefault(r, epoch)
        if epoch + 1 in due:
            add_checkpoint(epoch + 1, loss.tolist())

    for r in (~batch.finite()).nonzero().flatten().tolist():
        stopped.setdefault(r, batch.schedule.epochs - 1)  # by its last step
    final = batch.learned()
    whole = [r for r in range(len(runs)) if r not in stopped]
    if method.evaluates_shrunk and whole:
        prompts = final.prompts[0][whole].detach()
        ways = shrunk(method, prompts, start[whole], frozen, evaluation.of_runs(whole))
        for r, each in zip(whole, ways, strict=True):
            checkpoints[r][-1]["shrunk"] = each
    val = evaluation.val
    if val.names and not (method.encodes_images or method.text_per_image):
        for r, rise in enumerate(sharpness(method, final, start, frozen, val)):
            if r in whole:
                checkpoints[r][-1]["sharpness"] = rise
    seconds = (work_seconds(backbone.device) - began) / len(runs)
    results = []
    for r, run in enumerate(runs):
        status = f"stopped: non-finite loss in epoch {stopped[r]}" if r in stopped else FINISHED
        kept = record(
            run,
            (evaluation.base, evaluation.new),
            checkpoints[r],
            seconds,
            batch.trainable[r],
            status,
            len(runs),
        )
        results.append(Result(kept, final.tensors(r)))
    return results
