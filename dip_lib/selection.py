"""Choosing among trained prompts without a look at new classes: accuracy on seen ones, and drift.

Validation accuracy says how well a prompt tells the classes that it was trained on; it says nothing
of classes to come. How far the prompt has moved the embeddings of words that belong to no dataset
says how much of what CLIP knew is left, and needs neither images nor the names to come.

Symbols: K candidates, n context vectors, d text width, M images, e embedding size.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy import stats
from torch import Tensor

from dip_lib.checks import plain_names
from dip_lib.clip.arbitrary_words import arbitrary_words
from dip_lib.clip.backbone import Backbone
from dip_lib.errors import one_of
from dip_lib.training.text_drift import centred_drift

Array = NDArray[np.float64]


def _validation(accuracy: Array, drift: Array, images: int) -> Array:
    return accuracy


def _drift(accuracy: Array, drift: Array, images: int) -> Array:
    return -drift


def _one_standard_error(accuracy: Array, drift: Array, images: int) -> Array:
    best = np.nanmax(accuracy) / 100
    error = 100 * math.sqrt(best * (1 - best) / images)
    return np.where(accuracy >= 100 * best - error, -drift, np.nan)


def _mean_rank(accuracy: Array, drift: Array, images: int) -> Array:
    return np.asarray(
        stats.rankdata(accuracy, nan_policy="omit") + stats.rankdata(-drift, nan_policy="omit")
    )


RULES: dict[str, Callable[[Array, Array, int], Array]] = {
    "one standard error": _one_standard_error,
    "mean rank": _mean_rank,
    "validation": _validation,
    "drift": _drift,
}
"""Rule -> the score of each candidate, of which the largest is chosen; nan: not to be chosen."""
DEFAULT_RULE = "one standard error"
"""The rule with the best H among all settings in Glyph World, and none is clearly better in Photo
World; page 19 of the book has the numbers."""


def choose(
    accuracy: ArrayLike, drift: ArrayLike, images: int, rule: str = DEFAULT_RULE
) -> int | None:
    """The place of the chosen one among K candidates, such as settings; None: there is none.

    Args:
        accuracy: (K,) on validation images of the trained classes, in percent.
        drift: (K,) of class embeddings (``dip_lib.training.text_drift.centred_drift``).
        images: how many validation images there were.
        rule: "one standard error": the smallest drift among those whose accuracy lies at most one
            standard error of a share below the best one's (Breiman et al., *Classification and
            Regression Trees*, 1984, choose the simplest tree so). "mean rank": the best sum of the
            ranks in both. "validation": the best accuracy. "drift": the smallest drift.

    Candidates with nan, as of a training that diverged, are not chosen. Of equals the first is.

    Raises:
        ValueError: an unknown rule, or numbers that are not of the same candidates.
    """
    score = RULES[one_of("rule", rule, RULES)]
    right, moved = np.asarray(accuracy, dtype=float), np.asarray(drift, dtype=float)
    if right.shape != moved.shape or right.ndim != 1:
        raise ValueError(f"{right.shape} accuracies and {moved.shape} drifts: give K of each")
    known = np.isfinite(right) & np.isfinite(moved)
    if not known.any():
        return None
    scores = score(np.where(known, right, np.nan), np.where(known, moved, np.nan), images)
    return int(np.nanargmax(np.where(known, scores, np.nan)))


@dataclass(frozen=True, eq=False)
class Selection:
    """Which of K prompts was chosen, and what was known of each.

    Attributes:
        index: of the chosen one.
        accuracy: (K,) on the validation images, in percent.
        drift: (K,) of the embeddings of the other names.
    """

    index: int
    accuracy: Array
    drift: Array


@torch.no_grad()
def select_prompt(
    backbone: Backbone,
    prompts: Sequence[Tensor],
    images: Tensor,
    labels: Tensor,
    class_names: Sequence[str],
    other_names: Sequence[str] | None = None,
    start: str | Tensor = "a photo of a",
    rule: str = DEFAULT_RULE,
) -> Selection:
    """Choose one of several trained prompts, such as checkpoints of one run or several settings.

    Args:
        backbone: as of :func:`dip_lib.load_backbone`; the prompts' own.
        prompts: K prompts (n, d), whose class names stand at their end.
        images: (M, e) unit features of validation images, as ``backbone.encode_image`` gives them.
        labels: (M,) their classes, as places in ``class_names``.
        class_names: those that the prompts were trained on.
        other_names: names whose embeddings shall stay where they are; default 64 words that the
            text encoder knows and that none of the class names has. No image of them is needed.
        start: the prompt before training, or its words.
        rule: how accuracy and drift decide, as in :func:`dip_lib.selection.choose`.

    Raises:
        ValueError: no prompt, no image, an unknown rule, names or shapes that the backbone refuses,
            or prompts all of which have entries that are not finite.
    """
    names = plain_names(class_names)
    if not (len(prompts) and len(images)):
        raise ValueError(f"{len(prompts)} prompts and {len(images)} images: there is no choice")
    others = arbitrary_words(backbone, names) if other_names is None else plain_names(other_names)
    first = backbone.context(start) if isinstance(start, str) else start
    before = backbone.class_embeddings(first, others)[None]  # (1, C, e)
    accuracy, drift = [], []
    for prompt in prompts:
        best = (images @ backbone.class_embeddings(prompt, names).T).argmax(1)
        accuracy.append(100 * float((best == labels).double().mean()))
        drift.append(float(centred_drift(backbone.class_embeddings(prompt, others)[None], before)))
    chosen = choose(accuracy, drift, len(images), rule)
    if chosen is None:
        raise ValueError("no prompt has finite entries: train again at a smaller learning rate")
    return Selection(chosen, np.array(accuracy), np.array(drift))
