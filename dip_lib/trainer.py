"""The trainer: R runs at once that share backbone, dataset and method, as tensors with a leading R.

Runs may differ in seed, rank, dropout, weight and learning rate. The protocol is CoOp's: epochs
over augmented views, an epoch-wise cosine after one warm-up epoch; the last step is the result,
nothing is selected.

Symbols: R runs, N training images, M images, n context vectors, d width, e embedding size.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from dip_lib.backbone import Backbone
from dip_lib.datasets import Dataset
from dip_lib.errors import one_of
from dip_lib.features import Features
from dip_lib.judge import evaluate, shrunk, with_prompted_tower
from dip_lib.methods import LEARNT, Setting, setting
from dip_lib.methods.method import record
from dip_lib.protocols import Task, pixels, task
from dip_lib.randomness import permutation
from dip_lib.replay import Replay
from dip_lib.spec import RunSpec
from dip_lib.step import Epoch, State, learning_rate, stack, take_step
from dip_lib.transfer import tensors

Found = tuple[dict[str, Any], dict[str, Tensor]]


def checkpoint_epochs(epochs: int, count: int) -> list[int]:
    """Epochs after which a run is evaluated: the start, then evenly up to the end; 1: the end."""
    return sorted({round(i * epochs / count) for i in range(count == 1, count + 1)})


def train_epochs(
    specs: Sequence[RunSpec],
    state: State,
    data: Task,
    fixed: Setting,
    seen: Tensor | None = None,
    graphs: bool = True,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Train the R runs of ``state`` in place, and hand over after every epoch.

    Args:
        specs, graphs: as in :func:`train`.
        data: what is trained on; nothing is evaluated here.
        fixed: what does not change.
        seen: (R, V, N, 3, S, S) the images, for methods that prompt the image tower.

    Yields:
        Which runs still have a finite loss (R,), and the epoch's mean loss of each (R,).
    """
    shared, device = specs[0].shared(), fixed.clip.device
    method = LEARNT[shared.method]
    velocity, averaged = ([torch.zeros_like(t) for t in state.trained] for _ in range(2))
    rates = torch.tensor([s.lr for s in specs], device=device).view(-1, 1, 1)
    now = Epoch(
        torch.empty_like(data.images[:, 0]),
        torch.empty_like(data.labels),
        torch.empty_like(rates),
        torch.zeros((), dtype=torch.int64, device=device),
        torch.zeros(len(specs), device=device),
        torch.ones(len(specs), 1, 1, dtype=torch.bool, device=device),
        None if seen is None else torch.empty_like(seen[:, 0]),
    )
    step = Replay(
        lambda: take_step(state, velocity, data, now, method, fixed, shared),
        device,
        record=graphs and method.replays,
    )
    count = data.labels.shape[1]
    steps = count // min(shared.batch, count)  # as the peers: an incomplete last batch is dropped
    for epoch in range(shared.epochs):
        now.images.copy_(data.images[:, epoch % shared.views])
        if now.pixels is not None and seen is not None:
            now.pixels.copy_(seen[:, epoch % shared.views])
        now.order.copy_(permutation(state.seeds, epoch, count))
        now.rate.copy_(rates * learning_rate(epoch, shared.epochs, 1.0, shared.warmup))
        now.loss.zero_()
        for _ in range(steps):
            step()
        if method.average:
            _average(
                state, averaged, method.average(epoch, shared.epochs), epoch + 1 == shared.epochs
            )
        yield now.alive.flatten(), now.loss / steps


@torch.no_grad()
def _average(state: State, totals: Sequence[Tensor], weight: float, last: bool) -> None:
    """Add an epoch's end to the weighted average; the last epoch's step ends at the average."""
    for total, tensor in zip(totals, state.trained, strict=True):
        total += weight * tensor
        if last:
            tensor.copy_(total)


def train(
    specs: Sequence[RunSpec],
    backbone: Backbone,
    dataset: Dataset,
    features: Features,
    graphs: bool = True,
) -> list[Found]:
    """Train R runs at once.

    Args:
        specs: runs that differ in nothing but what :meth:`RunSpec.shared` leaves out.
        graphs: on a GPU, replay the step as a recorded graph; False to check against.

    Returns:
        For each run its record (without machine and time of day) and what it has learnt
        (:func:`tensors`): "prompt" is the merged prompt (n, d).

    Raises:
        ValueError: runs that cannot share a batch; a rank, dropout or name that is not valid.
    """
    shared, runs = specs[0].shared(), len(specs)
    if other := [s for s in specs if s.shared() != shared]:
        raise ValueError(
            "runs of one batch may differ only in seed, rank, dropout, weight and learning rate: "
            f"{specs[0]} and {other[0]}"
        )
    began = time.perf_counter()
    method = LEARNT[one_of("method", specs[0].method, LEARNT)]
    data = task(specs, dataset, features)
    fixed = setting(specs, backbone, dataset, data.names)
    starts = [method.start(fixed, spec) for spec in specs]
    state = stack(starts, specs)
    seen = pixels(data, dataset, backbone, shared.views) if method.encode else None
    start = state.learnt().prompts[0].detach().clone()  # (R, n, d)
    due = checkpoint_epochs(shared.epochs, shared.checkpoints)
    checkpoints: list[list[dict[str, Any]]] = [[] for _ in specs]

    def judge(epoch: int, losses: Sequence[float | None]) -> None:
        learnt = state.learnt()
        shown = with_prompted_tower(data, learnt, method, fixed, dataset, shared.protocol)
        rows = evaluate(learnt, start, method, fixed, shown)
        for points, loss, row in zip(checkpoints, losses, rows, strict=True):
            points.append({"epoch": epoch, "loss": loss} | row)

    if 0 in due:
        judge(0, [None] * runs)
    stopped: dict[int, int] = {}  # run -> epoch in which its loss was not finite
    for epoch, (alive, loss) in enumerate(train_epochs(specs, state, data, fixed, seen, graphs)):
        for r in (~alive).nonzero().flatten().tolist():
            stopped.setdefault(r, epoch)
        if epoch + 1 in due:
            judge(epoch + 1, loss.tolist())

    final, halves = state.learnt(), (data.base, data.new)
    full = [r for r, spec in enumerate(specs) if not spec.rank and r not in stopped]
    if shared.method == "coop" and full:
        smaller = shrunk(final.prompts[0][full].detach(), start[full], method, fixed, data)
        for r, ways in zip(full, smaller, strict=True):
            checkpoints[r][-1]["shrunk"] = ways
    seconds = (time.perf_counter() - began) / runs
    found = []
    for r, spec in enumerate(specs):
        fate = f"stopped: non-finite loss in epoch {stopped[r]}" if r in stopped else "finished"
        numbers = starts[r].trainable(spec.rank)
        result = record(spec, halves, checkpoints[r], seconds, numbers, fate, runs)
        found.append((result, tensors(final, r)))
    return found
