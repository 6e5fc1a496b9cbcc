"""PromptSRC (Khattak et al., ICCV 2023): deep prompts in both towers, held near the frozen CLIP.

Features and predictions under the prompts may not wander from the frozen ones, and the final
prompts are an average over the epochs, most of it late. Source: ``trainers/promptsrc.py`` of
muzairkhattak/PromptSRC.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

from dip_lib.accuracy import Classifier
from dip_lib.methods import coop
from dip_lib.methods.method import (
    Batch,
    Learnt,
    Method,
    Setting,
    Start,
    cross_entropy,
    deep_vectors,
    random_vectors,
    scores,
)
from dip_lib.spec import RunSpec
from dip_lib.vision import encode_prompted, width

TEXT, IMAGE = 25.0, 10.0
"""Weights of the distances of text and of image features."""
PEAK, SPREAD = 15 / 20, 1 / 20
"""Mean and deviation of the epochs' weights, as parts of all epochs (its 15 and 1 of 20)."""


def start(setting: Setting, spec: RunSpec) -> Start:
    """A prompt for each of ``depth`` blocks of the text tower, then of the image tower."""
    (context,) = coop.start(setting, spec).prompts
    n, d = context.shape
    deep = deep_vectors(spec, (n, d))
    wide = width(setting.clip)
    seen = [random_vectors(spec.seed, (n, wide), 40 + i) for i in range(spec.depth)]
    return Start((context, *(each.to(context.device) for each in (*deep, *seen))))


def encode(learnt: Learnt, setting: Setting, pixels: Tensor) -> Tensor:
    """Features (R, M, e) under the image tower's prompts."""
    depth = len(learnt.prompts) // 2
    return encode_prompted(setting.clip, pixels, learnt.prompts[depth:])


def _text(learnt: Learnt, setting: Setting, names: Sequence[str]) -> Tensor:
    context, *deep = learnt.prompts[: len(learnt.prompts) // 2]
    return setting.clip.class_embeddings(context, names, deep)  # (R, C, e)


def classifier(learnt: Learnt, setting: Setting, names: Sequence[str]) -> Classifier:
    """Logits of any names, for features of the prompted image tower."""
    text = _text(learnt, setting, names)
    return lambda images: scores(setting, images, text)


def loss(learnt: Learnt, setting: Setting, batch: Batch) -> Tensor:
    """Cross-entropy and the distances to frozen text, images and predictions, (R,)."""
    assert batch.pixels is not None
    images, text = encode(learnt, setting, batch.pixels), _text(learnt, setting, setting.names)
    logits = scores(setting, images, text)  # (R, B, C)
    frozen = scores(setting, batch.images, setting.ensemble[None]).log_softmax(-1)
    apart = F.kl_div(logits.log_softmax(-1), frozen, reduction="none", log_target=True)
    return (
        cross_entropy(logits, batch.labels)
        + TEXT * (text - setting.ensemble).abs().mean((1, 2))
        + IMAGE * (images - batch.images).abs().mean((1, 2))
        + apart.mean((1, 2))
    )


def average(epoch: int, epochs: int) -> float:
    """Weight of the end of an epoch (from 0 on): a normal density, summing to 1."""

    def density(k: int) -> float:
        return math.exp(-(((k - PEAK * epochs) / (SPREAD * epochs)) ** 2) / 2)

    return density(epoch + 1) / sum(density(k) for k in range(1, epochs + 1))


PROMPTSRC = Method(
    start, loss, classifier=classifier, encode=encode, average=average, replays=False
)
