"""One training step of R runs, and what it reads and writes.

A run sees the same sample order and the same dropout masks alone or in a batch: both are functions
of (its seed, the step). A step works in place on tensors that stay where they are and asks for no
value, so that a GPU can replay it.

Symbols: R runs, N training images, B batch, C base classes, n context vectors, d width, r largest
rank (smaller ones are padded with zeros, whose gradients stay zero), e embedding size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from dip_lib.backbone import Backbone
from dip_lib.methods import Start
from dip_lib.prompt import low_rank_prompt
from dip_lib.protocols import Task
from dip_lib.randomness import dropout_mask
from dip_lib.spec import RunSpec


@dataclass(frozen=True)
class State:
    """What R runs train: P = base + mask * (A B). Updated in place."""

    base: Tensor  # (R, n, d)
    a: Tensor  # (R, n, r)
    b: Tensor  # (R, r, d)
    trains_base: Tensor  # (R, 1, 1) whether base itself is the prompt
    dropout: Tensor  # (R, 1, 1)
    seeds: Tensor  # (R,)

    @property
    def trained(self) -> list[Tensor]:
        return [self.base, self.a, self.b]

    def prompt(self, mask: Tensor | None = None) -> Tensor:
        """(R, n, d); without a mask the prompt as it is evaluated."""
        return low_rank_prompt(self.base, self.a, self.b, mask)


def stack(starts: Sequence[Start], seeds: Sequence[int]) -> State:
    """The runs' starts as one state that can be differentiated."""
    rank, device = max(s.a.shape[1] for s in starts), starts[0].base.device
    return State(
        torch.stack([s.base for s in starts]).requires_grad_(),
        torch.stack([F.pad(s.a, (0, rank - s.a.shape[1])) for s in starts]).requires_grad_(),
        torch.stack([F.pad(s.b, (0, 0, 0, rank - s.b.shape[0])) for s in starts]).requires_grad_(),
        torch.tensor([s.trains_base for s in starts], device=device).view(-1, 1, 1),
        torch.tensor([s.dropout for s in starts], device=device).view(-1, 1, 1),
        torch.tensor(seeds, device=device),
    )


@dataclass(frozen=True)
class Epoch:
    """What the steps of an epoch read and count, in tensors that stay where they are."""

    images: Tensor  # (R, N, e) the epoch's view
    order: Tensor  # (R, N)
    rate: Tensor  # (R, 1, 1)
    step: Tensor  # () steps taken so far
    loss: Tensor  # (R,) sum over the epoch's steps
    alive: Tensor  # (R, 1, 1) False for runs that have stopped


def take_step(
    state: State,
    velocity: Sequence[Tensor],
    task: Task,
    now: Epoch,
    backbone: Backbone,
    spec: RunSpec,
) -> None:
    """One step of R runs, in place: a batch's loss, its gradient, SGD."""
    runs, count = now.order.shape
    batch = min(spec.batch, count)
    first = now.step % (count // batch) * batch
    chosen = now.order[:, first + torch.arange(batch, device=first.device)]  # (R, B)
    row = torch.arange(runs, device=first.device)[:, None]
    mask = dropout_mask(state.seeds, now.step, state.base.shape[1:], state.dropout)
    text = backbone.class_embeddings(state.prompt(mask), task.names)  # (R, C, e)
    logits = backbone.logit_scale * now.images[row, chosen] @ text.transpose(1, 2)  # (R, B, C)
    labels = task.labels[row, chosen]  # (R, B)
    loss = F.cross_entropy(logits.transpose(1, 2), labels, reduction="none").mean(1)
    now.alive.logical_and_(torch.isfinite(loss).view(-1, 1, 1))
    descend(state, velocity, loss, now.rate, spec, now.alive)
    now.loss.add_(loss.detach())
    now.step.add_(1)


@torch.no_grad()
def descend(
    state: State, velocity: Sequence[Tensor], loss: Tensor, lr: Tensor, spec: RunSpec, alive: Tensor
) -> None:
    """One step of SGD, as torch.optim.SGD with momentum and weight decay, a rate for each run.

    Args:
        velocity: momentum of each trained tensor, updated in place.
        loss: (R,), differentiable in the state.
        lr: (R, 1, 1).
        alive: (R, 1, 1), False for runs that have stopped: they keep their state.
    """
    gradients = torch.autograd.grad(loss, state.trained, torch.ones_like(loss))
    moves = (state.trains_base & alive, alive, alive)
    zero = torch.zeros((), device=lr.device)
    for tensor, v, gradient, move in zip(state.trained, velocity, gradients, moves, strict=True):
        v.mul_(spec.momentum).add_(gradient + spec.weight_decay * tensor)
        tensor.sub_(torch.where(move, lr * v, zero))


def learning_rate(epoch: int, epochs: int, lr: float, warmup: float) -> float:
    """CoOp's schedule (dassl/optim/lr_scheduler.py): constant ``lr * warmup`` in epoch 0, then
    ``lr / 2 * (1 + cos(pi * (epoch - 1) / epochs))``, which does not reach 0."""
    if epoch == 0:
        return lr * warmup
    return 0.5 * lr * (1 + math.cos(math.pi * (epoch - 1) / epochs))
