"""The trainer: R runs at once that share backbone and dataset, as tensors with a leading R.

Runs may differ in method, seed, rank, dropout and learning rate. A run sees the same sample order
and the same dropout masks alone or in a batch: both are functions of (its seed, the step). The
protocol is CoOp's: SGD with momentum and weight decay, an epoch-wise cosine after one warm-up
epoch; the last step is the result, nothing is selected.

Symbols: R runs, N training images, B batch, C base classes, n context vectors, d width, r largest
rank (smaller ones are padded with zeros, whose gradients stay zero), e embedding size.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from dip_lib.backbone import Backbone
from dip_lib.datasets import Dataset
from dip_lib.density import information_density, singular_values
from dip_lib.errors import one_of
from dip_lib.features import Features
from dip_lib.methods import LEARNT, Start
from dip_lib.prompt import low_rank_prompt
from dip_lib.protocols import Split, Task, base_to_new
from dip_lib.randomness import dropout_mask, permutation
from dip_lib.spec import RunSpec


@dataclass(frozen=True)
class State:
    """What R runs train: P = base + mask * (A B). Updated in place."""

    base: Tensor  # (R, n, d)
    a: Tensor  # (R, n, r)
    b: Tensor  # (R, r, d)
    trains_base: Tensor  # (R, 1, 1) whether base itself is the prompt
    dropout: Tensor  # (R, 1, 1)

    @property
    def trained(self) -> list[Tensor]:
        return [self.base, self.a, self.b]

    def prompt(self, mask: Tensor | None = None) -> Tensor:
        """(R, n, d); without a mask the prompt as it is evaluated."""
        return low_rank_prompt(self.base, self.a, self.b, mask)


def learning_rate(epoch: int, epochs: int, lr: float, warmup: float) -> float:
    """CoOp's schedule (dassl/optim/lr_scheduler.py): constant ``lr * warmup`` in epoch 0, then
    ``lr / 2 * (1 + cos(pi * (epoch - 1) / epochs))``, which does not reach 0."""
    if epoch == 0:
        return lr * warmup
    return 0.5 * lr * (1 + math.cos(math.pi * (epoch - 1) / epochs))


def checkpoint_epochs(epochs: int, checkpoints: int) -> list[int]:
    """Epochs after which a run is evaluated: the start, then evenly spaced up to the end."""
    return sorted({round(i * epochs / checkpoints) for i in range(checkpoints + 1)})


def _stack(starts: Sequence[Start]) -> State:
    """The runs' starts as one state that can be differentiated."""
    rank, device = max(s.a.shape[1] for s in starts), starts[0].base.device
    return State(
        torch.stack([s.base for s in starts]).requires_grad_(),
        torch.stack([F.pad(s.a, (0, rank - s.a.shape[1])) for s in starts]).requires_grad_(),
        torch.stack([F.pad(s.b, (0, 0, 0, rank - s.b.shape[0])) for s in starts]).requires_grad_(),
        torch.tensor([s.trains_base for s in starts], device=device).view(-1, 1, 1),
        torch.tensor([s.dropout for s in starts], device=device).view(-1, 1, 1),
    )


def accuracy(text: Tensor, split: Split) -> Tensor:
    """Top-1, percent, of text (R, C, e) on the split's images: (R,), float64."""
    best = (split.images @ text.transpose(1, 2)).argmax(-1)  # (R, M)
    return 100 * (best == split.labels).double().mean(-1)


@torch.no_grad()
def evaluate(prompt: Tensor, p0: Tensor, backbone: Backbone, task: Task) -> list[dict[str, Any]]:
    """One checkpoint of each run: accuracies, information density, spectra, update norm."""
    base_text = backbone.class_embeddings(prompt, task.base.names)
    new_text = backbone.class_embeddings(prompt, task.new.names)
    base, new = accuracy(base_text, task.base), accuracy(new_text, task.new)
    # on the CPU in float64: the spectrum of a checkpoint is tiny, and then exact everywhere
    exact, update = prompt.double().cpu(), (prompt - p0).double().cpu()
    rows = []
    for r in range(len(prompt)):
        row: dict[str, Any] = {
            "base": float(base[r]),
            "new": float(new[r]),
            "val": float(accuracy(base_text[r : r + 1], task.val[r])[0]),
        }
        if torch.isfinite(exact[r]).all():
            spectrum = singular_values(exact[r])
            ks = range(1, len(spectrum) + 1)
            row |= {
                "id": [float(information_density(exact[r], k)) for k in ks],
                "singular": spectrum.tolist(),
                "update_singular": singular_values(update[r]).tolist(),
                "update_norm": float(update[r].norm()),
            }
        rows.append(row)
    return rows


@torch.no_grad()
def descend(
    state: State, velocity: list[Tensor], loss: Tensor, lr: Tensor, spec: RunSpec, alive: Tensor
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


def train(
    specs: Sequence[RunSpec], backbone: Backbone, dataset: Dataset, features: Features
) -> list[tuple[dict[str, Any], Tensor]]:
    """Train R runs at once.

    Args:
        specs: runs that differ in nothing but what :meth:`RunSpec.shared` leaves out.

    Returns:
        For each run its record (without machine and time of day) and its merged prompt (n, d).

    Raises:
        ValueError: runs that cannot share a batch; a rank, dropout or name that is not valid.
    """
    shared, runs = specs[0].shared(), len(specs)
    if other := [s for s in specs if s.shared() != shared]:
        raise ValueError(
            "runs of one batch may differ only in method, seed, rank, dropout and learning rate: "
            f"{specs[0]} and {other[0]}"
        )
    began = time.perf_counter()
    device, p0 = backbone.device, backbone.context(shared.context)
    starts = [LEARNT[one_of("method", spec.method, LEARNT)](p0, spec) for spec in specs]
    state, task = _stack(starts), base_to_new(specs, dataset, features)
    velocity = [torch.zeros_like(t) for t in state.trained]
    seeds = torch.tensor([s.seed for s in specs], device=device)
    rates = torch.tensor([s.lr for s in specs], device=device).view(-1, 1, 1)
    alive = torch.ones(runs, 1, 1, dtype=torch.bool, device=device)
    stopped: dict[int, int] = {}  # run -> epoch in which its loss was not finite

    count = task.labels.shape[1]
    batch = min(shared.batch, count)
    steps = count // batch  # as the peers: an incomplete last batch is dropped
    row = torch.arange(runs, device=device)[:, None]
    due = checkpoint_epochs(shared.epochs, shared.checkpoints)
    points = [_point(0, None, found) for found in evaluate(state.prompt(), p0, backbone, task)]
    checkpoints = [[point] for point in points]
    for epoch in range(shared.epochs):
        order = permutation(seeds, epoch, count)  # (R, N)
        view = task.images[:, epoch % shared.views]  # (R, N, e)
        lr = rates * learning_rate(epoch, shared.epochs, 1.0, shared.warmup)
        mean_loss = torch.zeros(runs, device=device)
        for step in range(steps):
            chosen = order[:, step * batch : (step + 1) * batch]  # (R, B)
            mask = dropout_mask(seeds, epoch * steps + step, p0.shape, state.dropout)
            text = backbone.class_embeddings(state.prompt(mask), task.names)  # (R, C, e)
            logits = backbone.logit_scale * view[row, chosen] @ text.transpose(1, 2)  # (R, B, C)
            labels = task.labels[row, chosen]  # (R, B)
            loss = F.cross_entropy(logits.transpose(1, 2), labels, reduction="none").mean(1)
            alive &= torch.isfinite(loss).view(-1, 1, 1)
            descend(state, velocity, loss, lr, shared, alive)
            mean_loss += loss.detach() / steps
        for r in (~alive.flatten()).nonzero().flatten().tolist():
            stopped.setdefault(r, epoch)
        if epoch + 1 in due:
            for r, found in enumerate(evaluate(state.prompt(), p0, backbone, task)):
                checkpoints[r].append(_point(epoch + 1, float(mean_loss[r]), found))

    seconds, merged = (time.perf_counter() - began) / runs, state.prompt().detach().cpu()
    records = []
    for r, spec in enumerate(specs):
        fate = f"stopped: non-finite loss in epoch {stopped[r]}" if r in stopped else "finished"
        record = {
            "spec": vars(spec).copy(),
            "classes": [len(task.base.names), len(task.new.names)],
            "test_images": [len(task.base.labels), len(task.new.labels)],
            "trainable": starts[r].trainable,
            "status": fate,
            "checkpoints": checkpoints[r],
            "seconds": seconds,
            "batch_runs": runs,
        }
        records.append((record, merged[r].clone()))
    return records


def _point(epoch: int, loss: float | None, found: dict[str, Any]) -> dict[str, Any]:
    return {"epoch": epoch, "loss": loss} | found
