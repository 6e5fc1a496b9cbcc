"""Runs of visual prompts with a linear head: trained, or condensed from a trained one.

AdamW (as SPT and CVPT; or VPT's SGD, under which many prompts were still untrained after a short
schedule) over augmented views; the learning rate rises over the first tenth of the steps and falls
to zero along a cosine, as VPT's in 10 of 100 epochs. The last step is the result; nothing is
selected. The loop is in :mod:`.visual_fit`.

Symbols: n prompts of a block, w width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from torch import Tensor

from dip_lib.clip.backbone import Backbone
from dip_lib.clip.timm_tower import TimmTower
from dip_lib.clip.vision_encoder import VisionEncoder
from dip_lib.data import Dataset
from dip_lib.machine import work_seconds
from dip_lib.methods.vpt import VPT, VisualPrompts, first_head
from dip_lib.prompt import densify
from dip_lib.training.condense import condensed, importance, top_prompts
from dip_lib.training.record import FINISHED, Result, record
from dip_lib.training.run import Run, VisualSchedule
from dip_lib.training.visual_data import VisualData, visual_data
from dip_lib.training.visual_evaluate import chance_density, evaluate_visual
from dip_lib.training.visual_fit import fit

TOGETHER = 2**27
"""Entries of the tokens of all blocks, of one batch of all runs that train at once on a GPU."""


def visual_prompts(
    run: Run, tower: VisionEncoder, prompts: Sequence[Tensor], classes: int
) -> VisualPrompts:
    """The module of a run with these prompts, and a head as a run starts one."""
    head, method = first_head(tower, classes, run.seed), _method(run)
    settings = method.module_settings(run.seed)
    return method.module(tower, prompts, head, **settings).to(tower.device)


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


def train_visual(
    runs: Sequence[Run],
    clip: Backbone | TimmTower,
    dataset: Dataset,
    learned: Mapping[str, Tensor] | None = None,
) -> list[Result]:
    """Measure runs on one dataset: those that train all at once on a GPU, else one by one.

    Args:
        runs: runs that train, different only in seed, learning rate, rank and dropout; or runs that
            condense the same trained one.
        learned: what that one has learned: "prompts.0", ... (n, w), "head.weight", "head.bias".

    Raises:
        ValueError: an encoder without blocks; settings that the encoder cannot have; runs that
            differ in more, or condense several sources; runs that condense, without what was
            learned.
    """
    condense = bool(_method(runs[0]).keep)
    if len({run.source() if condense else run.shared() for run in runs}) > 1:
        what = "sources" if condense else "settings"
        raise ValueError(f"runs of several {what}: {runs[0]} and {runs[-1]}")
    if condense and learned is None:
        raise ValueError(
            f"nothing to condense: give the trained prompts of {runs[0].source()} as learned"
        )
    from dip_lib.clip.frozen_vision import frozen_vision_encoder

    tower = frozen_vision_encoder(clip.model, clip.name)
    if learned is None:
        most = _together(runs[0], tower)
        groups = [runs[i : i + most] for i in range(0, len(runs), most)]
        return [result for group in groups for result in _train(group, tower, clip, dataset)]
    data = visual_data(runs[0], clip, dataset)
    trained = reloaded(runs[0], tower, learned, len(data.halves[0].names)).eval()
    scores = importance(trained, data.train[0], data.train_labels)
    return [_condense(run, trained, scores, data, clip, dataset) for run in runs]


def _together(run: Run, tower: VisionEncoder) -> int:
    """How many runs like this train at once."""
    if tower.device.type == "cpu":
        return 1
    images = cast(VisualSchedule, run.schedule).batch
    return max(1, TOGETHER // (images * tower.tokens * tower.width * len(tower.blocks)))


def _train(
    runs: Sequence[Run], tower: VisionEncoder, clip: Backbone | TimmTower, dataset: Dataset
) -> list[Result]:
    """Runs that train their own prompts, at once."""
    began = work_seconds(tower.device)
    data = [visual_data(run, clip, dataset) for run in runs]
    models, dense = [], []
    for run, each in zip(runs, data, strict=True):
        method = _method(run)
        prompts = method.prompts(tower, each.train[0], run.seed)
        model = visual_prompts(run, tower, prompts, len(each.halves[0].names))
        if run.low_rank and run.rank:
            names = [f"prompts.{i}" for i in range(method.depth)]
            update = run.low_rank
            dense.append(densify(model, names, run.rank, update.dropout, run.seed, p0=update.p0))
        models.append(model)
    numbers = [_trainable(model) for model in models]
    epochs = cast(VisualSchedule, runs[0].schedule).epochs
    ends = fit(models, data, runs, epochs, dense)
    for handle in dense:
        handle.merge()
    shared, results = (work_seconds(tower.device) - began) / len(runs), []
    for run, model, each, number, (loss, stopped) in zip(
        runs, models, data, numbers, ends, strict=True
    ):
        began, checkpoint = work_seconds(tower.device), dict[str, Any](epoch=epochs, loss=loss)
        if not stopped:
            checkpoint |= evaluate_visual(model, each, clip, dataset)
        results.append(_result(run, model, each, checkpoint, began - shared, number, stopped))
    return results


def _condense(
    run: Run,
    trained: VisualPrompts,
    scores: Sequence[Tensor],
    data: VisualData,
    clip: Backbone | TimmTower,
    dataset: Dataset,
) -> Result:
    """A run that keeps a part of the trained prompts, and trains these on if it is to."""
    method = _method(run)
    model = condensed(trained, top_prompts(scores, method.keep, method.ranking))
    return trained_on(run, model, trained, data, clip, dataset)


def trained_on(
    run: Run,
    model: VisualPrompts,
    trained: VisualPrompts,
    data: VisualData,
    clip: Backbone | TimmTower,
    dataset: Dataset,
) -> Result:
    """A run of a condensed model, trained on if it is to be, and evaluated.

    Args:
        trained: the model that was condensed, of whose prompts random subsets give ``id_chance``.
    """
    began = work_seconds(model.tower.device)
    tuned, numbers = _method(run).tuned, _trainable(model)
    ((loss, stopped),) = fit([model], [data], [run], tuned)
    checkpoint: dict[str, Any] = {"epoch": tuned, "loss": loss}
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
    seconds = work_seconds(model.tower.device) - began
    kept = record(run, data.halves, [checkpoint], seconds, trainable, stopped or FINISHED)
    return Result(kept, {k: v.detach().cpu() for k, v in model.state_dict().items()})
