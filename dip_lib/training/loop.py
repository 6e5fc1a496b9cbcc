"""The training loop of R runs: epochs over augmented views, steps, SGD, CoOp's schedule.

A run sees the same sample order and the same dropout masks alone or in a batch: both are functions
of (its seed, the step). A step works in place on tensors that keep their addresses and reads no
value back, so that a GPU can replay it.

Symbols: R runs, N training images, B batch, e embedding size, S side of an image.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, cast

import torch
from torch import Tensor

from dip_lib.methods.prompts import Batch
from dip_lib.randomness import permutation
from dip_lib.training.cuda_graph import Replay
from dip_lib.training.parts import Schedule
from dip_lib.training.runs import Runs, State

AGREE = 1e-4
"""Most by which losses (relatively) and entries of prompts differ between thread counts, batches
and engines after a few epochs: sums are taken in another order. With the same threads and in the
same batch a run is the same to the bit."""


class EpochEnd(NamedTuple):
    """State of the runs after an epoch."""

    alive: Tensor  # (R,) which runs still have a finite loss
    loss: Tensor  # (R,) the epoch's mean loss of each


def train_epochs(runs: Runs, graphs: bool = True) -> Iterator[EpochEnd]:
    """Train R runs in place, and hand over after every epoch. The last step is the result.

    Args:
        graphs: on a GPU, replay the step as a recorded graph; False to check against.
    """
    schedule, data = runs.schedule, runs.data
    device, trained = runs.frozen.clip.device, runs.state.trained
    velocity, averaged = ([torch.zeros_like(each) for each in trained] for _ in range(2))
    lr = [cast(Schedule, run.schedule).lr for run in runs.runs]
    rates = torch.tensor(lr, device=device).view(-1, 1, 1)
    current = epoch_tensors(runs, rates)
    step = Replay(
        lambda: take_step(runs, velocity, current), device, record=graphs and runs.method.cuda_graph
    )
    count, views = data.labels.shape[1], runs.runs[0].data.views
    steps = count // min(schedule.batch, count)  # as the peers: an incomplete last batch is dropped
    for epoch in range(schedule.epochs):
        current.images.copy_(data.images[:, epoch % views])
        if current.pixels is not None and data.pixels is not None:
            current.pixels.copy_(data.pixels[:, epoch % views])
        current.order.copy_(permutation(runs.state.seeds, epoch, count))
        if alike := epoch == 0 and schedule.warmup_lr > 0:
            current.rate.fill_(schedule.warmup_lr)
        else:
            share = learning_rate(epoch, schedule.epochs, 1.0, schedule.warmup)
            current.rate.copy_(rates * share)
        current.staged.fill_(not alike)
        current.loss.zero_()
        for _ in range(steps):
            step()
        weight = runs.method.average_weight(epoch, schedule.epochs)
        if weight is not None:
            _average(trained, averaged, weight, epoch + 1 == schedule.epochs)
        yield EpochEnd(current.alive.flatten(), current.loss / steps)


@dataclass(frozen=True)
class EpochTensors:
    """Inputs and sums of the steps of an epoch, in tensors with fixed addresses."""

    images: Tensor  # (R, N, e) of the epoch's view
    labels: Tensor  # (R, N)
    order: Tensor  # (R, N)
    rate: Tensor  # (R, 1, 1) learning rate
    staged: Tensor  # () whether what is trained beside prompts learns at its own multiple of it
    step: Tensor  # () steps taken so far
    loss: Tensor  # (R,) sum over the epoch's steps
    alive: Tensor  # (R, 1, 1) False for runs that have stopped
    pixels: Tensor | None = None  # (R, N, 3, S, S) of the view, where a method reads them


def epoch_tensors(runs: Runs, rates: Tensor) -> EpochTensors:
    """The tensors of the runs' epochs, not yet filled; ``rates`` are (R, 1, 1)."""
    data, count = runs.data, len(runs.runs)
    return EpochTensors(
        torch.empty_like(data.images[:, 0]),
        data.labels,
        torch.empty_like(data.labels),
        torch.empty_like(rates),
        torch.ones((), dtype=torch.bool, device=rates.device),
        torch.zeros((), dtype=torch.int64, device=rates.device),
        torch.zeros(count, device=rates.device),
        torch.ones(count, 1, 1, dtype=torch.bool, device=rates.device),
        None if data.pixels is None else torch.empty_like(data.pixels[:, 0]),
    )


def take_step(runs: Runs, velocity: Sequence[Tensor], epoch: EpochTensors) -> None:
    """One step of R runs, in place: a batch's loss, its gradient, SGD."""
    schedule, state = runs.schedule, runs.state
    count = epoch.order.shape[1]
    size = min(schedule.batch, count)
    first = epoch.step % (count // size) * size
    chosen = epoch.order[:, first + torch.arange(size, device=first.device)]  # (R, B)
    row = torch.arange(len(chosen), device=first.device)[:, None]
    batch = Batch(
        epoch.images[row, chosen],
        epoch.labels[row, chosen],
        None if epoch.pixels is None else _take(epoch.pixels, chosen),
    )
    loss, gradients = runs.method.gradient(
        state.learned(epoch.step), runs.frozen, batch, state.trained
    )
    epoch.alive.logical_and_(torch.isfinite(loss).view(-1, 1, 1))
    descend(state, velocity, gradients, epoch.rate, schedule, epoch.alive, epoch.staged)
    epoch.loss.add_(loss.detach())
    epoch.step.add_(1)


def _take(pixels: Tensor, chosen: Tensor) -> Tensor:
    """The chosen images (R, B, 3, S, S), from main memory to where ``chosen`` lies."""
    order = chosen.to(pixels.device)
    return pixels[torch.arange(len(order))[:, None], order].to(chosen.device).float()


@torch.no_grad()
def descend(
    state: State,
    velocity: Sequence[Tensor],
    gradients: Sequence[Tensor],
    lr: Tensor,
    schedule: Schedule,
    alive: Tensor,
    staged: Tensor,
) -> None:
    """One step of SGD, as torch.optim.SGD with momentum and weight decay, a rate for each run.

    Args:
        velocity: momentum of each trained tensor, updated in place.
        gradients: of each trained tensor.
        lr: (R, 1, 1).
        alive: (R, 1, 1), False for runs that have stopped: they keep their state.
        staged: () False: what is trained beside prompts learns at ``lr``, not a multiple of it.
    """
    parts = len(state.prompts)
    right = torch.zeros_like(alive) if state.along else alive  # directions are fixed
    moves = [state.full & alive, alive, right] * parts + [alive] * len(state.others)
    rates = [1.0] * (3 * parts) + list(state.rates)
    zero = torch.zeros((), device=lr.device)
    for tensor, v, gradient, move, rate in zip(
        state.trained, velocity, gradients, moves, rates, strict=True
    ):
        shape = (-1, *(1,) * (tensor.dim() - 1))
        own = lr if rate == 1.0 else torch.where(staged, rate * lr, lr)
        v.mul_(schedule.momentum).add_(gradient + schedule.weight_decay * tensor)
        tensor.sub_(torch.where(move.view(shape), own.view(shape) * v, zero))


def learning_rate(epoch: int, epochs: int, lr: float, warmup: float) -> float:
    """CoOp's schedule (dassl/optim/lr_scheduler.py): constant ``lr * warmup`` in epoch 0, then
    ``lr / 2 * (1 + cos(pi * (epoch - 1) / epochs))``, which does not reach 0."""
    if epoch == 0:
        return lr * warmup
    return 0.5 * lr * (1 + math.cos(math.pi * (epoch - 1) / epochs))


@torch.no_grad()
def _average(
    trained: Sequence[Tensor], totals: Sequence[Tensor], weight: float, last: bool
) -> None:
    """Add an epoch's end to the weighted average; the last epoch's step ends at the average."""
    for total, tensor in zip(totals, trained, strict=True):
        total += weight * tensor
        if last:
            tensor.copy_(total)
