"""The trainer: R runs at once that share backbone and dataset, as tensors with a leading R.

Runs may differ in method, seed, rank, dropout and learning rate. The protocol is CoOp's: epochs
over augmented views, an epoch-wise cosine after one warm-up epoch; the last step is the result,
nothing is selected.

Symbols: R runs, N training images, C base classes, n context vectors, d width, e embedding size.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from dip_lib.backbone import Backbone
from dip_lib.datasets import Dataset
from dip_lib.density import information_density, singular_values
from dip_lib.errors import one_of
from dip_lib.features import Features
from dip_lib.methods import LEARNT
from dip_lib.protocols import Split, Task, base_to_new
from dip_lib.randomness import permutation
from dip_lib.replay import Replay
from dip_lib.spec import RunSpec
from dip_lib.step import Epoch, State, learning_rate, stack, take_step


def checkpoint_epochs(epochs: int, checkpoints: int) -> list[int]:
    """Epochs after which a run is evaluated: the start, then evenly spaced up to the end."""
    return sorted({round(i * epochs / checkpoints) for i in range(checkpoints + 1)})


def accuracy(text: Tensor, split: Split) -> Tensor:
    """Top-1, percent, of text (R, C, e) on the split's images: (R,), float64."""
    best = (split.images @ text.transpose(1, 2)).argmax(-1)  # (R, M)
    return 100 * (best == split.labels).double().mean(-1)


@torch.no_grad()
def evaluate(prompt: Tensor, p0: Tensor, backbone: Backbone, task: Task) -> list[dict[str, Any]]:
    """One checkpoint of each run: accuracies, information density, spectra, update norm."""
    base_text = backbone.class_embeddings(prompt, task.base.names)
    new_text = backbone.class_embeddings(prompt, task.new.names)
    base = accuracy(base_text, task.base).tolist()
    new = accuracy(new_text, task.new).tolist()
    # on the CPU in float64: the spectrum of a checkpoint is tiny, and then exact everywhere
    exact, update = prompt.double().cpu(), (prompt - p0).double().cpu()
    rows = []
    for r in range(len(prompt)):
        row: dict[str, Any] = {
            "base": base[r],
            "new": new[r],
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


def train_epochs(
    specs: Sequence[RunSpec], state: State, task: Task, backbone: Backbone, graphs: bool = True
) -> Iterator[tuple[Tensor, Tensor]]:
    """Train the R runs of ``state`` in place, and hand over after every epoch.

    Args:
        specs, graphs: as in :func:`train`.
        task: what is trained on; nothing is evaluated here.

    Yields:
        Which runs still have a finite loss (R,), and the epoch's mean loss of each (R,).
    """
    shared, device = specs[0].shared(), backbone.device
    velocity = [torch.zeros_like(t) for t in state.trained]
    rates = torch.tensor([s.lr for s in specs], device=device).view(-1, 1, 1)
    now = Epoch(
        torch.empty_like(task.images[:, 0]),
        torch.empty_like(task.labels),
        torch.empty_like(rates),
        torch.zeros((), dtype=torch.int64, device=device),
        torch.zeros(len(specs), device=device),
        torch.ones(len(specs), 1, 1, dtype=torch.bool, device=device),
    )
    step = Replay(
        lambda: take_step(state, velocity, task, now, backbone, shared), device, record=graphs
    )
    count = task.labels.shape[1]
    steps = count // min(shared.batch, count)  # as the peers: an incomplete last batch is dropped
    for epoch in range(shared.epochs):
        now.images.copy_(task.images[:, epoch % shared.views])
        now.order.copy_(permutation(state.seeds, epoch, count))
        now.rate.copy_(rates * learning_rate(epoch, shared.epochs, 1.0, shared.warmup))
        now.loss.zero_()
        for _ in range(steps):
            step()
        yield now.alive.flatten(), now.loss / steps


def train(
    specs: Sequence[RunSpec],
    backbone: Backbone,
    dataset: Dataset,
    features: Features,
    graphs: bool = True,
) -> list[tuple[dict[str, Any], Tensor]]:
    """Train R runs at once.

    Args:
        specs: runs that differ in nothing but what :meth:`RunSpec.shared` leaves out.
        graphs: on a GPU, replay the step as a recorded graph; False to check against.

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
    p0 = backbone.context(shared.context)
    starts = [LEARNT[one_of("method", spec.method, LEARNT)](p0, spec) for spec in specs]
    state, task = stack(starts, [s.seed for s in specs]), base_to_new(specs, dataset, features)
    stopped: dict[int, int] = {}  # run -> epoch in which its loss was not finite

    due = checkpoint_epochs(shared.epochs, shared.checkpoints)
    points = [_point(0, None, found) for found in evaluate(state.prompt(), p0, backbone, task)]
    checkpoints = [[point] for point in points]
    for epoch, (alive, loss) in enumerate(train_epochs(specs, state, task, backbone, graphs)):
        for r in (~alive).nonzero().flatten().tolist():
            stopped.setdefault(r, epoch)
        if epoch + 1 in due:
            mean = loss.tolist()
            for r, found in enumerate(evaluate(state.prompt(), p0, backbone, task)):
                checkpoints[r].append(_point(epoch + 1, mean[r], found))

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
