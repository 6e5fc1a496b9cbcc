"""Evaluating R prompts: accuracies, calibration, and the spectra of their matrices.

Symbols: R runs, M images, C classes, n context vectors, d width, e embedding size.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from dip_lib.data import Dataset
from dip_lib.data.protocols import Classes, Split, evaluation_halves
from dip_lib.methods.prompt_method import PromptMethod
from dip_lib.methods.prompts import Classifier, FrozenClip, Learned
from dip_lib.prompt.density import centre, information_density, singular_values
from dip_lib.prompt.low_rank import low_rank_prompt
from dip_lib.training.batch_data import EvaluationData
from dip_lib.training.text_drift import TextDrift

Row = dict[str, Any]
BINS = 15
"""Of the expected calibration error, as Guo et al. (2017) have it."""
LOGITS = 2**25
"""Most logits in memory at once."""
SHRUNK = (0.25, 0.5, 0.75)
"""Factors by which an update is shrunk for further evaluations."""


def predictions(
    classify: Classifier, split: Split, first: int, runs: int, total: int
) -> tuple[Tensor, Tensor, Tensor]:
    """(R, M) each: right among the split's classes, with what confidence, right among all."""
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
    """Accuracy of R prompts on test images, in percent, a row each.

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


def spectrum(prompt: Tensor, start: Tensor, read: Tensor | None = None) -> Row:
    """Information Density and singular values of a prompt (n, d), of its change, and as read.

    On the CPU in float64, where a matrix this small is exact. {} if an entry is not finite or all
    are zero. Of a prompt for each class (C, n, d) the mean over classes; the norm is that of the
    whole change.

    Args:
        read: what the first block of the text encoder reads of the prompt; None where the place of
            its vectors differs from class to class.
    """
    exact, update = prompt.double().cpu(), (prompt - start).double().cpu()
    if not (torch.isfinite(exact).all() and exact.any()):
        return {}
    row = {
        "id": _densities(exact),
        "singular": _mean_values(exact),
        "update_singular": _mean_values(update),
        "update_norm": float(update.norm()),
    }
    if read is not None:
        centred = centre(read.double().cpu())
        row |= {"id_read": _densities(centred), "singular_read": _mean_values(centred)}
    return row


def _densities(matrices: Tensor) -> list[float]:
    """ID_1, ID_2, ... of matrices (..., n, d), averaged over them."""
    ranks = range(1, min(matrices.shape[-2:]) + 1)
    return [float(information_density(matrices, k).mean()) for k in ranks]


def _mean_values(matrices: Tensor) -> list[float]:
    """Singular values (..., n, d), averaged over the matrices."""
    values = singular_values(matrices)
    return list(values.view(-1, values.shape[-1]).mean(0).tolist())


@torch.no_grad()
def evaluate(
    method: PromptMethod,
    learned: Learned,
    start: Tensor,
    frozen: FrozenClip,
    data: EvaluationData,
    drift: TextDrift | None = None,
) -> list[Row]:
    """One checkpoint of R runs: accuracies, Information Density, spectra, update norm, drift.

    Args:
        learned: what the runs have learned so far.
        start: (R, n, d) the first prompt before training.
        drift: the embeddings of names before training; None: how far they move is left out.
    """
    prompt, runs = learned.prompts[0], len(start)
    names = (*data.base.names, *data.new.names)
    classify = method.classifier(learned, frozen, names)
    rows = accuracies(classify, data.base, data.new, runs)
    if trained := method.trained_classifier(learned, frozen):
        right, _, _ = predictions(trained, data.base, 0, runs, len(frozen.names))
        for row, share in zip(rows, percent(right), strict=True):
            row["base"] = share
    add_validation(rows, trained or classify, data)
    moved = drift.rows(method, learned, frozen, classify) if drift else [{} for _ in rows]
    read = as_read(method, prompt, frozen)
    spectra = [
        spectrum(prompt[r], start[r], None if read is None else read[r]) for r in range(runs)
    ]
    return [row | other | each for row, other, each in zip(rows, moved, spectra, strict=True)]


def as_read(method: PromptMethod, prompt: Tensor, frozen: FrozenClip) -> Tensor | None:
    """What the text encoder's first block reads of prompts (R, n, d) or (R, C, n, d).

    None where that differs from class to class or from image to image: class names between or
    before the vectors, and CoCoOp's shifts.
    """
    if method.text_per_image or getattr(method, "class_position", "end") != "end":
        return None
    return frozen.clip.as_read(prompt)


@torch.no_grad()
def shrunk(
    method: PromptMethod, prompt: Tensor, start: Tensor, frozen: FrozenClip, data: EvaluationData
) -> list[Row]:
    """Accuracy of prompts (R, n, d) with shrunk updates, a control for DIP.

    Returns:
        For each run "rank 1" (the update's first singular direction alone) and "x 0.25", ... (that
        part of the update), each with the base, new and validation accuracy it has.
    """
    update = prompt - start
    u, s, v = torch.linalg.svd(update, full_matrices=False)
    ways = {"rank 1": low_rank_prompt(start, u[..., :1] * s[..., None, :1], v[..., :1, :])}
    ways |= {f"x {part}": start + part * update for part in SHRUNK}
    names = (*data.base.names, *data.new.names)
    rows: list[Row] = [{} for _ in prompt]
    for way, smaller in ways.items():
        classify = method.classifier(Learned((smaller,)), frozen, names)
        accuracy = accuracies(classify, data.base, data.new, len(prompt))
        add_validation(accuracy, classify, data)
        for row, each in zip(rows, accuracy, strict=True):
            row[way] = {half: each[half] for half in ("base", "new", "val") if half in each}
    return rows


def add_validation(rows: list[Row], classify: Classifier, data: EvaluationData) -> None:
    """Add the accuracy on validation images of the trained classes, where there are any."""
    if not data.val.names:
        return
    total = len(data.base.names) + len(data.new.names)
    right, _, _ = predictions(classify, data.val, 0, len(rows), total)
    for row, share in zip(rows, percent(right), strict=True):
        row["val"] = share


@torch.no_grad()
def with_prompted_tower(
    data: EvaluationData,
    method: PromptMethod,
    learned: Learned,
    frozen: FrozenClip,
    dataset: Dataset,
    classes: Classes,
) -> EvaluationData:
    """The data with test images encoded under the learned image prompts, if there are any."""
    if not method.encodes_images:
        return data
    clip = frozen.clip
    parts = [
        method.encode(learned, frozen, clip.normalise(part))
        for part in dataset.batches("test", (None,), None, clip.image_size, clip.device)
    ]
    base, new = evaluation_halves(dataset, torch.cat(parts, 1), classes)
    no_val = Split((), data.val.images, data.val.labels)  # nothing is selected by these
    return replace(data, base=base, new=new, val=no_val)
