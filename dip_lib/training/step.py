"""One training step of R runs, and what it reads and counts.

A run sees the same sample order and the same dropout masks alone or in a batch: both are functions
of (its seed, the step). A step works in place on tensors that stay where they are and asks for no
value, so that a GPU can replay it.

Symbols: R runs, N training images, B batch, e embedding size, S side of an image.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dip_lib.methods.prompt_method import PromptMethod
from dip_lib.methods.prompts import Batch, FrozenClip
from dip_lib.training.run import Schedule
from dip_lib.training.state import State


@dataclass(frozen=True)
class EpochTensors:
    """What the steps of an epoch read and count, in tensors that stay where they are."""

    images: Tensor  # (R, N, e) of the epoch's view
    labels: Tensor  # (R, N)
    order: Tensor  # (R, N)
    rate: Tensor  # (R, 1, 1) learning rate
    step: Tensor  # () steps taken so far
    loss: Tensor  # (R,) sum over the epoch's steps
    alive: Tensor  # (R, 1, 1) False for runs that have stopped
    pixels: Tensor | None = None  # (R, N, 3, S, S) of the view, where a method reads them


def take_step(
    state: State,
    velocity: Sequence[Tensor],
    epoch: EpochTensors,
    method: PromptMethod,
    frozen: FrozenClip,
    schedule: Schedule,
) -> None:
    """One step of R runs, in place: a batch's loss, its gradient, SGD."""
    runs, count = epoch.order.shape
    size = min(schedule.batch, count)
    first = epoch.step % (count // size) * size
    chosen = epoch.order[:, first + torch.arange(size, device=first.device)]  # (R, B)
    row = torch.arange(runs, device=first.device)[:, None]
    batch = Batch(
        epoch.images[row, chosen],
        epoch.labels[row, chosen],
        None if epoch.pixels is None else _take(epoch.pixels, chosen),
    )
    loss, gradients = method.gradient(state.learned(epoch.step), frozen, batch, state.trained)
    epoch.alive.logical_and_(torch.isfinite(loss).view(-1, 1, 1))
    descend(state, velocity, gradients, epoch.rate, schedule, epoch.alive)
    epoch.loss.add_(loss.detach())
    epoch.step.add_(1)


def _take(pixels: Tensor, chosen: Tensor) -> Tensor:
    """The chosen images (R, B, 3, S, S), from main memory to where ``chosen`` lies."""
    at = chosen.to(pixels.device)
    return pixels[torch.arange(len(at))[:, None], at].to(chosen.device).float()


@torch.no_grad()
def descend(
    state: State,
    velocity: Sequence[Tensor],
    gradients: Sequence[Tensor],
    lr: Tensor,
    schedule: Schedule,
    alive: Tensor,
) -> None:
    """One step of SGD, as torch.optim.SGD with momentum and weight decay, a rate for each run.

    Args:
        velocity: momentum of each trained tensor, updated in place.
        gradients: of each trained tensor.
        lr: (R, 1, 1).
        alive: (R, 1, 1), False for runs that have stopped: they keep their state.
    """
    parts = len(state.prompts)
    moves = [state.full & alive, alive, alive] * parts + [alive] * len(state.others)
    rates = [1.0] * (3 * parts) + list(state.rates)
    zero = torch.zeros((), device=lr.device)
    for tensor, v, gradient, move, rate in zip(
        state.trained, velocity, gradients, moves, rates, strict=True
    ):
        shape = (-1, *(1,) * (tensor.dim() - 1))
        v.mul_(schedule.momentum).add_(gradient + schedule.weight_decay * tensor)
        tensor.sub_(torch.where(move.view(shape), rate * lr.view(shape) * v, zero))


def learning_rate(epoch: int, epochs: int, lr: float, warmup: float) -> float:
    """CoOp's schedule (dassl/optim/lr_scheduler.py): constant ``lr * warmup`` in epoch 0, then
    ``lr / 2 * (1 + cos(pi * (epoch - 1) / epochs))``, which does not reach 0."""
    if epoch == 0:
        return lr * warmup
    return 0.5 * lr * (1 + math.cos(math.pi * (epoch - 1) / epochs))
