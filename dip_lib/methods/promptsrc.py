"""PromptSRC (Khattak et al., ICCV 2023): deep prompts in both encoders, regularised.

Features and predictions under the prompts are kept close to those of the frozen CLIP, and the final
prompts are an average over the epochs, most of it late. Source: ``trainers/promptsrc.py`` of
muzairkhattak/PromptSRC. Precision and views otherwise than there: see
:mod:`dip_lib.methods.coop`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from dip_lib.clip.prompted_vision import encode_prompted, image_width
from dip_lib.methods.prompt_method import PromptMethod
from dip_lib.methods.prompts import (
    Batch,
    Classifier,
    FrozenClip,
    Learned,
    Start,
    check_depth,
    cross_entropy,
    deep_vectors,
    random_vectors,
    scores,
)

TEXT, IMAGE = 25.0, 10.0
"""Weights of the distances of text and of image features."""
PEAK, SPREAD = 15 / 20, 1 / 20
"""Mean and deviation of the epochs' weights, as parts of all epochs (its 15 and 1 of 20)."""


@dataclass(frozen=True, kw_only=True)
class PromptSRC(PromptMethod):
    """PromptSRC.

    Args:
        context, vectors: as CoOp's.
        depth: blocks of each encoder that read prompts of their own, the first included.
        raw_teacher: whether the teacher averages text features at the length at which they leave
            the encoder, as its authors' code does; else it averages unit features.

    Raises:
        ValueError: what CoOp's does, or a depth below 1.
    """

    name = "promptsrc"
    label = "PromptSRC"
    side = "image"
    cuda_graph = False
    encodes_images = True

    depth: int = 9
    raw_teacher: bool = False

    def check(self) -> None:
        super().check()
        check_depth(self.depth)

    def start(self, frozen: FrozenClip, seed: int) -> Start:
        """A prompt for each of ``depth`` blocks of the text encoder, then of the image encoder."""
        (context,) = super().start(frozen, seed).prompts
        n, d = context.shape
        shape = n, image_width(frozen.clip)
        text = deep_vectors(seed, (n, d), self.depth)
        image = [random_vectors(seed, shape, 40 + i) for i in range(self.depth)]
        return Start((context, *(each.to(context.device) for each in (*text, *image))))

    def encode(self, learned: Learned, frozen: FrozenClip, pixels: Tensor) -> Tensor:
        """Features (R, M, e) under the image encoder's prompts."""
        return encode_prompted(frozen.clip, pixels, learned.prompts[self.depth :])

    def _text(self, learned: Learned, frozen: FrozenClip, names: Sequence[str]) -> Tensor:
        context, *deep = learned.prompts[: self.depth]
        return frozen.clip.class_embeddings(context, names, deep)  # (R, C, e)

    def classifier(self, learned: Learned, frozen: FrozenClip, names: Sequence[str]) -> Classifier:
        """Logits of any names, for features of the prompted image encoder."""
        text = self._text(learned, frozen, names)
        return lambda images: scores(frozen, images, text)

    def loss(self, learned: Learned, frozen: FrozenClip, batch: Batch) -> Tensor:
        """Cross-entropy and the distances to frozen text, images and predictions, (R,)."""
        assert batch.pixels is not None
        images = self.encode(learned, frozen, batch.pixels)
        text = self._text(learned, frozen, frozen.names)
        teacher = frozen.raw_ensemble_text if self.raw_teacher else frozen.ensemble_text
        logits = scores(frozen, images, text)  # (R, B, C)
        untuned = scores(frozen, batch.images, teacher[None]).log_softmax(-1)
        divergence = F.kl_div(logits.log_softmax(-1), untuned, reduction="none", log_target=True)
        return (
            cross_entropy(logits, batch.labels)
            + TEXT * (text - teacher).abs().mean((1, 2))
            + IMAGE * (images - batch.images).abs().mean((1, 2))
            + divergence.mean((1, 2))
        )

    def average_weight(self, epoch: int, epochs: int) -> float:
        """Weight of the end of an epoch (from 0 on): a normal density, summing to 1."""

        def density(k: int) -> float:
            return math.exp(-(((k - PEAK * epochs) / (SPREAD * epochs)) ** 2) / 2)

        return density(epoch + 1) / sum(density(k) for k in range(1, epochs + 1))
