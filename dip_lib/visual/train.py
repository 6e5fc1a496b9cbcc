"""Runs of visual prompts with a linear head: trained, or condensed from a trained one.

One run at a time, since its cost is the tower's. AdamW (as SPT and CVPT; VPT has SGD, under which
many prompts were still untrained after a short schedule) over augmented views; the learning rate
rises over the first tenth of the steps and falls to zero along a cosine, as VPT's in 10 of 100
epochs. The last step is the result; nothing is selected.

Symbols: n prompts of a block, w width.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from dip_lib.backbone import Backbone
from dip_lib.datasets import Dataset
from dip_lib.errors import one_of
from dip_lib.methods.method import record
from dip_lib.prompt import Densified, densify
from dip_lib.randomness import permutation
from dip_lib.spec import RunSpec
from dip_lib.visual import VISUAL
from dip_lib.visual.condense import condensed, importance, kept
from dip_lib.visual.cvpt import CrossPrompts
from dip_lib.visual.judge import Seen, chance_density, images_of, judged
from dip_lib.visual.spt import prototypes
from dip_lib.visual.tower import Tower, frozen_tower
from dip_lib.visual.vpt import VisualPrompts, first_head, first_prompts

WARM_UP = 0.1
"""Share of the steps over which the learning rate rises."""
FINE = 0.1
"""Part of a run's learning rate at which condensed prompts are trained on."""
Found = tuple[dict[str, Any], dict[str, Tensor]]


def started(spec: RunSpec, tower: Tower, seen: Seen) -> VisualPrompts:
    """The model of a run before its first step.

    Raises:
        ValueError: an unknown method; numbers of prompts or blocks that the tower cannot have.
    """
    one_of("visual method", spec.method, VISUAL)
    prompts = first_prompts(tower, spec.vectors, spec.depth, spec.seed)
    if spec.method == "spt":
        prompts = prototypes(tower, seen.train[0], spec.vectors, spec.depth, spec.seed)
    return _module(spec, tower, prompts, len(seen.halves[0].names))


def _module(spec: RunSpec, tower: Tower, prompts: Sequence[Tensor], classes: int) -> VisualPrompts:
    kind = CrossPrompts if spec.method == "cvpt" else VisualPrompts
    return kind(tower, prompts, first_head(tower, classes, spec.seed)).to(tower.device)


def reloaded(
    spec: RunSpec, tower: Tower, learnt: Mapping[str, Tensor], classes: int
) -> VisualPrompts:
    """The model that a run has learnt, from its kept tensors.

    Raises:
        ValueError: a head of another number of classes or another width.
    """
    head = learnt["head.weight"]
    if head.shape != (classes, tower.width):
        raise ValueError(
            f"the head names {len(head)} classes of features of width {head.shape[1]}, but "
            f"{spec.dataset} has {classes} and {tower.name} width {tower.width}: train it anew"
        )
    names = sorted((n for n in learnt if n.startswith("prompts.")), key=lambda n: int(n[8:]))
    model = _module(spec, tower, [learnt[name] for name in names], classes)
    model.load_state_dict(dict(learnt))
    return model


def rate(step: int, steps: int) -> float:
    """The learning rate of a step as a share of the run's: a linear rise, then a cosine to zero."""
    rise = max(1, round(WARM_UP * steps))
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise)))


def fit(
    model: VisualPrompts, seen: Seen, spec: RunSpec, epochs: int, dense: Densified | None = None
) -> tuple[float | None, str]:
    """Train prompts and head in place.

    Args:
        epochs: how many; each sees every training image once, in the epoch's view.
        dense: the handle of a model whose prompts are DIPs.

    Returns:
        The last epoch's mean loss (None without epochs), and "" or why it stopped.
    """
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    lr, betas = spec.lr * (FINE if spec.keep else 1), (spec.momentum, 0.999)
    descent = torch.optim.AdamW(trained, lr, betas, weight_decay=spec.weight_decay)
    count, device = seen.train.shape[1], model.tower.device
    steps, mean = count // min(spec.batch, count), None
    model.train()
    for epoch in range(epochs):
        view, losses = seen.train[epoch % spec.views], []
        order = permutation(spec.seed, epoch, count)
        for step in range(steps):
            chosen = order[step * spec.batch : (step + 1) * spec.batch]
            images = view[chosen].to(device).float()
            loss = F.cross_entropy(model(images), seen.train_labels[chosen])
            if not torch.isfinite(loss):
                return None, f"stopped: non-finite loss in epoch {epoch}"
            descent.param_groups[0]["lr"] = lr * rate(epoch * steps + step, epochs * steps)
            descent.zero_grad()
            loss.backward()
            descent.step()
            losses.append(loss.detach())
            if dense:
                dense.step()
        mean = float(torch.stack(losses).mean())
    return mean, ""


def train_visual(
    specs: Sequence[RunSpec],
    clip: Backbone,
    dataset: Dataset,
    learnt: Mapping[str, Tensor] | None = None,
) -> list[Found]:
    """Measure runs of one source, one after another.

    Args:
        specs: a run that trains, or runs that condense the same trained one.
        learnt: what that one has learnt.

    Returns:
        For each run its record (without machine and time of day) and what it has learnt:
        "prompts.0", ... (n, w), "head.weight" and "head.bias".

    Raises:
        ValueError: a tower without blocks; settings that the tower cannot have; a share of prompts
            outside (0, 100]; runs of several sources.
    """
    if len({spec.source() for spec in specs}) > 1:
        raise ValueError(f"runs of several sources: {specs[0]} and {specs[-1]}")
    if specs[0].keep and learnt is None:
        raise ValueError(f"nothing to condense: what {specs[0].source()} has learnt is not given")
    tower = frozen_tower(clip.model, clip.name)
    seen = images_of(specs[0], clip, dataset)
    classes, whole, scores = len(seen.halves[0].names), None, []
    if learnt is not None:
        whole = reloaded(specs[0], tower, learnt, classes).eval()
        scores = importance(whole, seen.train[0], seen.train_labels)
    found = []
    for spec in specs:
        began = time.perf_counter()
        if whole is None:
            model, dense = started(spec, tower, seen), None
            if spec.rank:
                names = [f"prompts.{i}" for i in range(spec.depth)]
                dense = densify(model, names, spec.rank, spec.dropout, spec.seed)
        else:
            model, dense = condensed(whole, kept(scores, spec.keep, spec.ranking)), None
        numbers = sum(p.numel() for p in model.parameters() if p.requires_grad)
        epochs = spec.tuned if spec.keep else spec.epochs
        loss, fate = fit(model, seen, spec, epochs, dense)
        if dense:
            dense.merge()
        point: dict[str, Any] = {"epoch": epochs, "loss": loss}
        if not fate:
            point |= judged(model, seen, clip, dataset)
        if whole is not None and not fate:
            point["id_chance"] = chance_density(whole, point["counts"], spec.seed)[0]
        seconds = time.perf_counter() - began
        result = record(spec, seen.halves, [point], seconds, numbers, fate or "finished")
        found.append((result, {k: v.detach().cpu() for k, v in model.state_dict().items()}))
    return found
