"""The training loop of visual prompts: R runs at once, AdamW or SGD, augmented views, one cosine.

The runs share the frozen encoder and differ in seed, learning rate and low-rank update: their
prompts are stacked, so that each matrix product serves all of them. On a GPU that fills small
towers; on a CPU a run took 5 to 20 % longer so with a tower of width 192, and 6 to 15 % less with
``glyph-vit``, so there runs train one after another (``benchmarks/visual_training.py``).
Frozen weights get no gradient, and what the prompts cannot change is computed once: the features of
runs without prompts, of which only the head trains.

Symbols: R runs, V views, N training images, B batch, w width, C classes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from dip_lib.methods.vpt import VPT, VisualPrompts
from dip_lib.prompt import Densified
from dip_lib.randomness import permutation
from dip_lib.training.run import Run, VisualSchedule
from dip_lib.training.visual_data import VisualData

WARM_UP = 0.1
"""Share of the steps over which the learning rate rises."""
FINE = 0.1
"""Share of a run's learning rate with which condensed prompts are fine-tuned."""
ON_DEVICE = 2**31
"""Bytes of images that a GPU holds during training; more stay in main memory."""
AT_ONCE = 128
"""Images of which features are computed at once where nothing trains."""


def rate(step: int, steps: int) -> float:
    """The learning rate of a step as a share of the run's: a linear rise, then a cosine to zero."""
    rise = max(1, round(WARM_UP * steps))
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise)))


def logits(models: Sequence[VisualPrompts], inputs: Tensor) -> Tensor:
    """Logits (R, B, C) of R models on images (R, B, 3, S, S), or on features (R, B, w) of them."""
    if inputs.dim() == 3:
        return torch.stack([model.head(x) for model, x in zip(models, inputs, strict=True)])
    if len(models) == 1 or not models[0].in_sequence:
        return torch.stack([model(images) for model, images in zip(models, inputs, strict=True)])
    tower = models[0].tower
    prompts = [torch.stack(each) for each in zip(*(m.matrices for m in models), strict=True)]
    features = tower.finish(tower.prompted(inputs, prompts)).unflatten(0, inputs.shape[:2])
    return torch.stack([model.head(x) for model, x in zip(models, features.float(), strict=True)])


def fit(
    models: Sequence[VisualPrompts],
    data: Sequence[VisualData],
    runs: Sequence[Run],
    epochs: int,
    dense: Sequence[Densified] = (),
) -> list[tuple[float | None, str]]:
    """Train prompts and heads of R runs in place.

    Args:
        data: the images of each.
        epochs: how many; each sees every training image once, in the epoch's view.
        dense: the handles of models whose prompts are DIPs.

    Returns:
        For each run the last epoch's mean loss (None without epochs, or if it stopped), and "" or
        why it stopped. A run that stops leaves the others as they are.
    """
    schedules = [cast(VisualSchedule, run.schedule) for run in runs]
    schedule, device = schedules[0], models[0].tower.device
    rates = [
        s.lr * (FINE if cast(VPT, r.method).keep else 1)
        for s, r in zip(schedules, runs, strict=True)
    ]
    optimiser = _optimiser(models, schedule)
    views = [_inputs(model, each, epochs) for model, each in zip(models, data, strict=True)]
    labels = [each.train_labels.to(device) for each in data]
    count = len(labels[0])
    batch = min(schedule.batch, count)
    steps, means, stopped = count // batch, [math.nan] * len(runs), [""] * len(runs)
    for model in models:
        model.train()
    for epoch in range(epochs):
        orders, losses = [permutation(run.seed, epoch, count) for run in runs], []
        # once an epoch: a processor that copies to a GPU waits for what is under way there
        of_views = [order.to(v.device) for v, order in zip(views, orders, strict=True)]
        of_labels = [order.to(device) for order in orders]
        for step in range(steps):
            part = slice(step * batch, (step + 1) * batch)
            pairs = zip(views, of_views, strict=True)
            inputs = torch.stack(
                [v[epoch % len(v)][order[part]].to(device).float() for v, order in pairs]
            )
            truth = torch.stack([y[o[part]] for y, o in zip(labels, of_labels, strict=True)])
            each = F.cross_entropy(logits(models, inputs).transpose(1, 2), truth, reduction="none")
            loss = each.mean(1)  # (R,)
            share = rate(epoch * steps + step, epochs * steps)
            for group in optimiser.param_groups:
                group["lr"] = rates[group["run"]] * share
            optimiser.zero_grad()
            loss.sum().backward()
            optimiser.step()
            losses.append(loss.detach())
            for handle in dense:
                handle.step()
        means, finite = _ends(losses)
        for r in range(len(runs)):
            if not (finite[r] or stopped[r]):
                stopped[r] = f"stopped: non-finite loss in epoch {epoch}"
        if all(stopped):
            break
    ends = zip(models, views, means, stopped, strict=True)
    return [_end(model, view, mean, why, epochs) for model, view, mean, why in ends]


def _optimiser(models: Sequence[VisualPrompts], schedule: VisualSchedule) -> torch.optim.Optimizer:
    """That of R runs; a group of parameters says under "run" which it belongs to."""
    trained = [[p for p in model.parameters() if p.requires_grad] for model in models]
    decay = {"weight_decay": schedule.weight_decay}
    groups: list[dict[str, Any]] = [{"params": p, "run": r, **decay} for r, p in enumerate(trained)]
    if not schedule.optimiser:
        return torch.optim.AdamW(groups, betas=(schedule.momentum, 0.999))
    # as src/solver/optimizer.py of KMnP/vpt: the last bias does not decay
    for group, model in zip([*groups], models, strict=True):
        bias = model.head.bias
        group["params"] = [p for p in group["params"] if p is not bias]
        groups.append({"params": [bias], "run": group["run"], "weight_decay": 0.0})
    return torch.optim.SGD(groups, lr=0.0, momentum=schedule.momentum)


def _inputs(model: VisualPrompts, data: VisualData, epochs: int) -> Tensor:
    """What a run trains on: images (V, N, 3, S, S), or features (V, N, w) if only a head trains."""
    train, device = data.train, model.tower.device
    if any(len(prompt) for prompt in model.matrices):
        return train.to(device) if train.nbytes <= ON_DEVICE else train
    with torch.no_grad():
        return torch.stack(
            [
                torch.cat([model.features(part.to(device).float()) for part in view.split(AT_ONCE)])
                for view in train[: max(1, epochs)]
            ]
        ).float()


def _ends(losses: Sequence[Tensor]) -> tuple[list[float], list[bool]]:
    """Mean over the steps of an epoch for each of R runs, and whether all of them were finite."""
    steps = torch.stack(list(losses))  # (steps, R)
    return steps.mean(0).tolist(), torch.isfinite(steps).all(0).tolist()


@torch.no_grad()
def _end(
    model: VisualPrompts, view: Tensor, mean: float, stopped: str, epochs: int
) -> tuple[float | None, str]:
    """The end of one run: a last look at its logits, since its last step may have diverged."""
    if not stopped:
        inputs = view[0, :1].to(model.tower.device).float()
        if not torch.isfinite(logits([model], inputs[None])).all():
            stopped = "stopped: non-finite logits after the last epoch"
    return (None if stopped or not epochs else mean), stopped
