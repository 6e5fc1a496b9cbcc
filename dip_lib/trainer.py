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
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
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

DIFFER = ("method", "seed", "rank", "dropout", "lr")
"""Fields in which the runs of one batch may differ."""


@dataclass
class State:
    """What is trained, and its momentum: P = base + mask * (A B), shapes (R, …)."""

    base: Tensor  # (R, n, d)
    a: Tensor  # (R, n, r)
    b: Tensor  # (R, r, d)
    trains_base: Tensor  # (R, 1, 1) 1.0 where base is the prompt
    dropout: Tensor  # (R, 1, 1)

    def prompt(self, mask: Tensor | None = None) -> Tensor:
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
    rank = max(s.a.shape[1] for s in starts)
    flags = [[float(s.trains_base), s.dropout] for s in starts]
    both = torch.tensor(flags, device=starts[0].base.device).T.reshape(2, -1, 1, 1)
    return State(
        torch.stack([s.base for s in starts]),
        torch.stack([F.pad(s.a, (0, rank - s.a.shape[1])) for s in starts]),
        torch.stack([F.pad(s.b, (0, 0, 0, rank - s.b.shape[0])) for s in starts]),
        both[0],
        both[1],
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


def train(
    specs: Sequence[RunSpec],
    backbone: Backbone,
    dataset: Dataset,
    features: Features,
    progress: Callable[[int], None] = lambda epochs: None,
) -> list[tuple[dict[str, Any], Tensor]]:
    """Train R runs at once.

    Args:
        specs: runs that differ in nothing but :data:`DIFFER`.
        progress: called with 1 after each epoch.

    Returns:
        For each run its record (without machine and time of day) and its merged prompt (n, d).

    Raises:
        ValueError: runs that cannot share a batch; a rank, dropout or name that is not valid.
    """
    shared = replace(specs[0], **{f: getattr(specs[0], f) for f in DIFFER})
    for spec in specs:
        if replace(spec, **{f: getattr(shared, f) for f in DIFFER}) != shared:
            raise ValueError(f"runs of one batch may differ only in {DIFFER}: {shared} and {spec}")
    began = time.perf_counter()
    device, p0 = backbone.device, backbone.context(shared.context)
    starts = [LEARNT[one_of("method", spec.method, LEARNT)](p0, spec) for spec in specs]
    state, task = _stack(starts), base_to_new(specs, dataset, features)
    seeds = torch.tensor([s.seed for s in specs], device=device)
    rates = torch.tensor([s.lr for s in specs], device=device).view(-1, 1, 1)
    alive = torch.ones(len(specs), 1, 1, dtype=torch.bool, device=device)
    stopped: dict[int, int] = {}  # run -> epoch in which its loss was not finite

    images, labels = task.images, task.labels
    count = labels.shape[1]
    batch = min(shared.batch, count)
    steps = count // batch  # as the peers: an incomplete last batch is dropped
    rows = torch.arange(len(specs), device=device)[:, None]
    trained = [state.base, state.a, state.b]
    momentum = [torch.zeros_like(t) for t in trained]
    due = checkpoint_epochs(shared.epochs, shared.checkpoints)
    checkpoints: list[list[dict[str, Any]]] = [[] for _ in specs]

    def check(epoch: int, loss: Tensor | None) -> None:
        for r, row in enumerate(evaluate(state.prompt(), p0, backbone, task)):
            mean = None if loss is None else float(loss[r])
            checkpoints[r].append({"epoch": epoch, "loss": mean} | row)

    check(0, None)
    for epoch in range(shared.epochs):
        order = permutation(seeds, epoch, count)  # (R, N)
        view = images[:, epoch % shared.views]  # (R, N, e)
        lr = rates * learning_rate(epoch, shared.epochs, 1.0, shared.warmup)
        total = torch.zeros(len(specs), device=device)
        for step in range(steps):
            chosen = order[:, step * batch : (step + 1) * batch]  # (R, B)
            mask = dropout_mask(seeds, epoch * steps + step, p0.shape, state.dropout)
            for tensor in trained:
                tensor.requires_grad_(True)
            text = backbone.class_embeddings(state.prompt(mask), task.names)  # (R, C, e)
            logits = backbone.logit_scale * view[rows, chosen] @ text.transpose(1, 2)
            loss = (
                F.cross_entropy(
                    logits.flatten(0, 1), labels[rows, chosen].flatten(), reduction="none"
                )
                .view(len(specs), -1)
                .mean(1)
            )  # (R,)
            gradients = torch.autograd.grad(loss.sum(), trained)
            with torch.no_grad():
                alive &= torch.isfinite(loss).view(-1, 1, 1)
                for i, (tensor, gradient) in enumerate(zip(trained, gradients, strict=True)):
                    # SGD as torch.optim.SGD(momentum, weight_decay), with a rate for each run
                    frozen = 1 - state.trains_base if i == 0 else torch.zeros_like(rates)
                    step_direction = gradient + shared.weight_decay * tensor
                    momentum[i] = shared.momentum * momentum[i] + step_direction
                    move = lr * momentum[i] * (1 - frozen)
                    tensor.requires_grad_(False)
                    tensor -= torch.where(alive, move, torch.zeros_like(move))
                total += loss.detach() / steps
        for r in (~alive.flatten()).nonzero().flatten().tolist():
            stopped.setdefault(r, epoch)
        if epoch + 1 in due:
            check(epoch + 1, total)
        progress(1)

    seconds = (time.perf_counter() - began) / len(specs)
    merged, results = state.prompt().cpu(), []
    for r, spec in enumerate(specs):
        record = {
            "spec": vars(spec).copy(),
            "classes": [len(task.base.names), len(task.new.names)],
            "test_images": [len(task.base.labels), len(task.new.labels)],
            "trainable": starts[r].trainable,
            "status": (
                f"stopped: non-finite loss in epoch {stopped[r]}" if r in stopped else "finished"
            ),
            "checkpoints": checkpoints[r],
            "seconds": seconds,
            "batch_runs": len(specs),
        }
        results.append((record, merged[r].clone()))
    return results
