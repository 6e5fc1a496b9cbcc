"""Accuracy of a classifier on test images, and the calibration of its confidence.

Symbols: R runs, M images, C classes, e embedding size.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dip_lib.data.protocols import Split
from dip_lib.methods.prompts import Classifier

Row = dict[str, Any]
BINS = 15
"""Of the expected calibration error, as Guo et al. (2017) have it."""
LOGITS = 2**25
"""Most logits held at once."""


def predictions(
    classify: Classifier, split: Split, first: int, runs: int, total: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Right among the split's own classes, their confidence, right among all: (R, M) each."""
    inside = slice(first, first + len(split.names))
    labels = split.labels.expand(runs, -1)
    parts: list[tuple[Tensor, Tensor, Tensor]] = []
    most = max(1, LOGITS // (runs * total))
    for images, truth in zip(split.images.split(most, -2), labels.split(most, 1), strict=True):
        logits = classify(images)  # (R, m, all classes)
        own = logits[..., inside]
        best = own.argmax(-1)
        confidence = (own.amax(-1) - own.logsumexp(-1)).exp()
        parts.append((best == truth, confidence, logits.argmax(-1) == truth + first))
    right, confidence, joint = (torch.cat(each, 1) for each in zip(*parts, strict=True))
    return right, confidence, joint


def calibration_error(right: Tensor, confidence: Tensor) -> Tensor:
    """Expected calibration error in points, (R, M) and (R, M) -> (R,).

    The mean over 15 equal bins of confidence of |accuracy - confidence|, weighted by their images.
    """
    bins = (confidence * BINS).long().clamp(0, BINS - 1)  # of a run that diverged: not numbers
    gap = torch.zeros(len(right), BINS, dtype=torch.float64, device=right.device)
    gap.scatter_add_(1, bins, right.double() - confidence.double())
    return 100 * gap.abs().sum(1) / right.shape[1]


def accuracies(classify: Classifier, base: Split, new: Split, runs: int = 1) -> list[Row]:
    """What R prompts get right on test images, in percent, a row each.

    Args:
        classify: into all classes, base before new.

    Returns:
        ``base`` and ``new`` (each half among its own names), ``joint`` (all images among all
        names) and ``ece`` (calibration error on new); None for what needs classes that are absent.
    """
    total = len(base.names) + len(new.names)
    right, _, joint = predictions(classify, base, 0, runs, total)
    nothing: Row = {"new": None, "joint": None, "ece": None}
    rows: list[Row] = [{"base": each} | nothing for each in percent(right)]
    if new.names:
        of_new, confidence, new_joint = predictions(classify, new, len(base.names), runs, total)
        error = calibration_error(of_new, confidence).tolist()
        both = percent(torch.cat([joint, new_joint], 1))
        for row, *numbers in zip(rows, percent(of_new), both, error, strict=True):
            row |= dict(zip(nothing, numbers, strict=True))
    return rows


def percent(right: Tensor) -> list[float]:
    """Share of True along the last axis: (R, M) -> R numbers."""
    shares: list[float] = (100 * right.double().mean(1)).tolist()
    return shares
