"""Runs that condense a trained VPT: which prompts stay is chosen, the rest is shared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import torch
from torch import Tensor

from dip_lib.clip.backbone import Backbone
from dip_lib.clip.timm_tower import TimmTower
from dip_lib.data import Dataset
from dip_lib.methods.condensation import Condensation
from dip_lib.methods.vpt import VisualPrompts
from dip_lib.training.condense import condensed
from dip_lib.training.record import Result
from dip_lib.training.run import Run
from dip_lib.training.visual import reloaded, trained_on
from dip_lib.training.visual_data import visual_data
from dip_lib.training.visual_scores import Scores, all_scores, stay, with_mean


def condense_visual(
    runs: Sequence[Run],
    clip: Backbone | TimmTower,
    dataset: Dataset,
    learned: Mapping[str, Tensor],
) -> list[Result]:
    """Measure runs that condense the same trained one, one after another.

    Args:
        runs: of :class:`~dip_lib.methods.condensation.Condensation`.
        learned: what their source has learned.

    Raises:
        ValueError: runs of several sources; an encoder without blocks; a head that does not fit.
    """
    from dip_lib.clip.frozen_vision import frozen_vision_encoder

    if len({run.source() for run in runs}) > 1:
        raise ValueError(f"runs of several sources: {runs[0]} and {runs[-1]}")
    tower = frozen_vision_encoder(clip.model, clip.name)
    data = visual_data(runs[0], clip, dataset)
    trained = reloaded(runs[0].source(), tower, learned, len(data.halves[0].names)).eval()
    scores = all_scores(trained, data.train[0], data.train_labels)
    return [
        trained_on(run, smaller(run, trained, scores), trained, data, clip, dataset) for run in runs
    ]


def smaller(run: Run, trained: VisualPrompts, scores: Mapping[str, Scores]) -> VisualPrompts:
    """The model that a run keeps of a trained one, before it is trained on."""
    method = cast(Condensation, run.method)
    rows = stay(method, scores, run.seed)
    if method.choice != "mean":
        return condensed(trained, rows)
    every = condensed(trained, [torch.arange(len(p), device=p.device) for p in trained.matrices])
    with torch.no_grad():
        for prompt, made in zip(every.prompts, with_mean(trained, rows), strict=True):
            prompt.copy_(made)
    return every
