"""Runs of visual prompts with a linear head: trained, or condensed from a trained one.

One run at a time, since most of its cost is the image encoder. AdamW (as SPT and CVPT; VPT has SGD,
under which many prompts were still untrained after a short schedule) over augmented views; the
learning rate rises over the first tenth of the steps and falls to zero along a cosine, as VPT's in
10 of 100 epochs. The last step is the result; nothing is selected.

Symbols: n prompts of a block, w width.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from dip_lib.clip.backbone import Backbone
from dip_lib.clip.timm_tower import TimmTower
from dip_lib.clip.vision_encoder import VisionEncoder
from dip_lib.data import Dataset
from dip_lib.methods.vpt import VPT, VisualPrompts, first_head
from dip_lib.prompt import Densified, densify
from dip_lib.randomness import permutation
from dip_lib.training.condense import condensed, importance, top_prompts
from dip_lib.training.record import FINISHED, Result, record
from dip_lib.training.run import AdamWSchedule, Run
from dip_lib.training.visual_data import VisualData, visual_data
from dip_lib.training.visual_evaluate import chance_density, evaluate_visual

WARM_UP = 0.1
"""Share of the steps over which the learning rate rises."""
FINE = 0.1
"""Share of a run's learning rate with which condensed prompts are fine-tuned."""


def visual_prompts(
    run: Run, tower: VisionEncoder, prompts: Sequence[Tensor], classes: int
) -> VisualPrompts:
    """The module of a run with these prompts, and a head as a run starts one."""
    head = first_head(tower, classes, run.seed)
    return _method(run).module(tower, prompts, head).to(tower.device)


def reloaded(
    run: Run, tower: VisionEncoder, learned: Mapping[str, Tensor], classes: int
) -> VisualPrompts:
    """The module that a run has learned, from its kept tensors.

    Raises:
        ValueError: a head of another number of classes or another width.
    """
    head = learned["head.weight"]
    if head.shape != (classes, tower.width):
        raise ValueError(
            f"the saved head has {len(head)} classes and input width {head.shape[1]}, but "
            f"{run.data.dataset} has {classes} and {tower.name} width {tower.width}: train it again"
        )
    names = sorted((n for n in learned if n.startswith("prompts.")), key=lambda n: int(n[8:]))
    model = visual_prompts(run, tower, [learned[name] for name in names], classes)
    model.load_state_dict(dict(learned))
    return model


def _method(run: Run) -> VPT:
    return cast(VPT, run.method)


def rate(step: int, steps: int) -> float:
    """The learning rate of a step as a share of the run's: a linear rise, then a cosine to zero."""
    rise = max(1, round(WARM_UP * steps))
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise)))


def fit(
    model: VisualPrompts,
    data: VisualData,
    run: Run,
    epochs: int,
    dense: Densified | None = None,
) -> tuple[float | None, str]:
    """Train prompts and head in place.

    Args:
        epochs: how many; each sees every training image once, in the epoch's view.
        dense: the handle of a model whose prompts are DIPs.

    Returns:
        The last epoch's mean loss (None without epochs), and "" or why it stopped.
    """
    schedule, views = cast(AdamWSchedule, run.schedule), run.data.views
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    lr = schedule.lr * (FINE if _method(run).keep else 1)
    betas = schedule.momentum, 0.999
    optimiser = torch.optim.AdamW(trained, lr, betas, weight_decay=schedule.weight_decay)
    count, device, batch = data.train.shape[1], model.tower.device, schedule.batch
    steps, mean = count // min(batch, count), None
    model.train()
    for epoch in range(epochs):
        view, losses = data.train[epoch % views], []
        order = permutation(run.seed, epoch, count)
        for step in range(steps):
            chosen = order[step * batch : (step + 1) * batch]
            images = view[chosen].to(device).float()
            loss = F.cross_entropy(model(images), data.train_labels[chosen])
            if not torch.isfinite(loss):
                return None, f"stopped: non-finite loss in epoch {epoch}"
            optimiser.param_groups[0]["lr"] = lr * rate(epoch * steps + step, epochs * steps)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(loss.detach())
            if dense:
                dense.step()
        mean = float(torch.stack(losses).mean())
    with torch.no_grad():
        logits = model(data.train[0, :1].to(device).float())
    if not torch.isfinite(logits).all():  # by the last step, or in what was condensed
        return None, "stopped: non-finite logits after the last epoch"
    return mean, ""


def train_visual(
    runs: Sequence[Run],
    clip: Backbone | TimmTower,
    dataset: Dataset,
    learned: Mapping[str, Tensor] | None = None,
) -> list[Result]:
    """Measure runs of one source, one after another.

    Args:
        runs: a run that trains, or runs that condense the same trained one.
        learned: what that one has learned: "prompts.0", ... (n, w), "head.weight", "head.bias".

    Raises:
        ValueError: an encoder without blocks; settings that the encoder cannot have; runs of
            several sources; runs that condense, without what was learned.
    """
    if len({run.source() for run in runs}) > 1:
        raise ValueError(f"runs of several sources: {runs[0]} and {runs[-1]}")
    if _method(runs[0]).keep and learned is None:
        raise ValueError(
            f"nothing to condense: give the trained prompts of {runs[0].source()} as learned"
        )
    from dip_lib.clip.frozen_vision import frozen_vision_encoder

    tower = frozen_vision_encoder(clip.model, clip.name)
    data = visual_data(runs[0], clip, dataset)
    if learned is None:
        return [_train(run, tower, data, clip, dataset) for run in runs]
    trained = reloaded(runs[0], tower, learned, len(data.halves[0].names)).eval()
    scores = importance(trained, data.train[0], data.train_labels)
    return [_condense(run, trained, scores, data, clip, dataset) for run in runs]


def _train(
    run: Run, tower: VisionEncoder, data: VisualData, clip: Backbone | TimmTower, dataset: Dataset
) -> Result:
    """A run that trains its own prompts."""
    began, method = time.perf_counter(), _method(run)
    prompts = method.prompts(tower, data.train[0], run.seed)
    model, dense = visual_prompts(run, tower, prompts, len(data.halves[0].names)), None
    if run.low_rank and run.rank:
        names = [f"prompts.{i}" for i in range(method.depth)]
        dense = densify(model, names, run.rank, run.low_rank.dropout, run.seed)
    numbers = _trainable(model)
    epochs = cast(AdamWSchedule, run.schedule).epochs
    loss, stopped = fit(model, data, run, epochs, dense)
    if dense:
        dense.merge()
    checkpoint: dict[str, Any] = {"epoch": epochs, "loss": loss}
    if not stopped:
        checkpoint |= evaluate_visual(model, data, clip, dataset)
    return _result(run, model, data, checkpoint, began, numbers, stopped)


def _condense(
    run: Run,
    trained: VisualPrompts,
    scores: Sequence[Tensor],
    data: VisualData,
    clip: Backbone | TimmTower,
    dataset: Dataset,
) -> Result:
    """A run that keeps a part of the trained prompts, and trains these on if it is to."""
    began, method = time.perf_counter(), _method(run)
    model = condensed(trained, top_prompts(scores, method.keep, method.ranking))
    numbers = _trainable(model)
    loss, stopped = fit(model, data, run, method.tuned)
    checkpoint: dict[str, Any] = {"epoch": method.tuned, "loss": loss}
    if not stopped:
        checkpoint |= evaluate_visual(model, data, clip, dataset)
        checkpoint["id_chance"] = chance_density(trained, checkpoint["counts"], run.seed)[0]
    return _result(run, model, data, checkpoint, began, numbers, stopped)


def _trainable(model: VisualPrompts) -> int:
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def _result(
    run: Run,
    model: VisualPrompts,
    data: VisualData,
    checkpoint: dict[str, Any],
    began: float,
    trainable: int,
    stopped: str,
) -> Result:
    seconds = time.perf_counter() - began
    kept = record(run, data.halves, [checkpoint], seconds, trainable, stopped or FINISHED)
    return Result(kept, {k: v.detach().cpu() for k, v in model.state_dict().items()})
