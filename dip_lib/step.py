"""One training step of R runs, and what it reads and writes.

A run sees the same sample order and the same dropout masks alone or in a batch: both are functions
of (its seed, the step). A step works in place on tensors that stay where they are and asks for no
value, so that a GPU can replay it.

Symbols: R runs, N training images, B batch, C trained classes, n vectors of a prompt, d width, r
largest rank (smaller ones are padded with zeros, whose gradients stay zero), e embedding size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from dip_lib.methods import Batch, Learnt, Method, Setting, Start
from dip_lib.methods.dip import NEXT_SEED, SITES, LowRank, held
from dip_lib.prompt import low_rank_prompt
from dip_lib.protocols import Task
from dip_lib.randomness import dropout_mask
from dip_lib.spec import RunSpec


@dataclass(frozen=True)
class State:
    """What R runs train: prompts P = base + mask * (A B), and other tensors. Updated in place."""

    prompts: tuple[LowRank, ...]  # (R, n, d), (R, n, r), (R, r, d) each
    others: tuple[Tensor, ...]  # (R, ...) each
    full: Tensor  # (R, 1, 1) whether the prompts' bases are trained, and not their factors
    dropout: Tensor  # (R, 1, 1)
    seeds: Tensor  # (R,)
    site: str
    rates: tuple[float, ...]  # of others, as multiples of the run's

    @property
    def trained(self) -> list[Tensor]:
        return [*(tensor for prompt in self.prompts for tensor in prompt), *self.others]

    def learnt(self, step: Tensor | None = None) -> Learnt:
        """The prompts under the masks of ``step``; without one as they are evaluated."""
        return Learnt(
            tuple(self._prompt(i, held, step) for i, held in enumerate(self.prompts)), self.others
        )

    def _prompt(self, index: int, held: LowRank, step: Tensor | None) -> Tensor:
        if step is None:
            return low_rank_prompt(*held)
        of_row, of_column = SITES[self.site]
        n, d = held.base.shape[1:]
        shape = n if of_row else 1, d if of_column else 1
        mask = dropout_mask(self.seeds + index * NEXT_SEED, step, shape, self.dropout)
        if self.site == "prompt":
            return mask * low_rank_prompt(*held)
        return low_rank_prompt(*held, mask)


def _stack(prompts: Sequence[LowRank]) -> LowRank:
    rank = max(p.a.shape[1] for p in prompts)
    return LowRank(
        torch.stack([p.base for p in prompts]).requires_grad_(),
        torch.stack([F.pad(p.a, (0, rank - p.a.shape[1])) for p in prompts]).requires_grad_(),
        torch.stack([F.pad(p.b, (0, 0, 0, rank - p.b.shape[0])) for p in prompts]).requires_grad_(),
    )


def stack(starts: Sequence[Start], specs: Sequence[RunSpec]) -> State:
    """The runs' starts as one state that can be differentiated.

    Raises:
        ValueError: what :func:`dip_lib.methods.dip.held` refuses.
    """
    device = starts[0].prompts[0].device
    each = [
        [held(prompt, i, spec) for i, prompt in enumerate(start.prompts)]
        for start, spec in zip(starts, specs, strict=True)
    ]
    return State(
        tuple(_stack(prompts) for prompts in zip(*each, strict=True)),
        tuple(
            torch.stack(tensors).requires_grad_()
            for tensors in zip(*(start.others for start in starts), strict=True)
        ),
        torch.tensor([not spec.rank for spec in specs], device=device).view(-1, 1, 1),
        torch.tensor([spec.dropout for spec in specs], device=device).view(-1, 1, 1),
        torch.tensor([spec.seed for spec in specs], device=device),
        specs[0].site,
        starts[0].rates or (1.0,) * len(starts[0].others),
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
    pixels: Tensor | None = None  # (R, N, 3, S, S) of the view, where a method reads them


def take_step(
    state: State,
    velocity: Sequence[Tensor],
    task: Task,
    now: Epoch,
    method: Method,
    setting: Setting,
    spec: RunSpec,
) -> None:
    """One step of R runs, in place: a batch's loss, its gradient, SGD."""
    runs, count = now.order.shape
    batch = min(spec.batch, count)
    first = now.step % (count // batch) * batch
    chosen = now.order[:, first + torch.arange(batch, device=first.device)]  # (R, B)
    row = torch.arange(runs, device=first.device)[:, None]
    seen = Batch(
        now.images[row, chosen],
        task.labels[row, chosen],
        None if now.pixels is None else _take(now.pixels, chosen),
    )
    loss, gradients = method.gradient(
        method.loss, state.learnt(now.step), setting, seen, state.trained
    )
    now.alive.logical_and_(torch.isfinite(loss).view(-1, 1, 1))
    descend(state, velocity, gradients, now.rate, spec, now.alive)
    now.loss.add_(loss.detach())
    now.step.add_(1)


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
    spec: RunSpec,
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
        v.mul_(spec.momentum).add_(gradient + spec.weight_decay * tensor)
        tensor.sub_(torch.where(move.view(shape), rate * lr.view(shape) * v, zero))


def learning_rate(epoch: int, epochs: int, lr: float, warmup: float) -> float:
    """CoOp's schedule (dassl/optim/lr_scheduler.py): constant ``lr * warmup`` in epoch 0, then
    ``lr / 2 * (1 + cos(pi * (epoch - 1) / epochs))``, which does not reach 0."""
    if epoch == 0:
        return lr * warmup
    return 0.5 * lr * (1 + math.cos(math.pi * (epoch - 1) / epochs))
