"""DePT (Zhang et al., CVPR 2024) on CoOp: a separate head for the trained classes.

A linear head on rescaled features learns the trained classes beside the prompt, and predicts them
together with it; new classes are left to the prompt. Source: Koorye/DePT,
``trainers/elp_coop.py``, ``trainers/optim.py`` and ``train.py``, where the prompt starts from 16
random vectors.

Otherwise than there: the head reads features as they leave the encoders; ours are kept at unit
length, so they are multiplied by :data:`LENGTH`, about the length of CLIP's (those of Glyph World's
encoders are 13 to 14 for images, 11 for text). Precision and views: see
:mod:`dip_lib.methods.coop`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dip_lib.methods.prompts import (
    Batch,
    Classifier,
    FrozenClip,
    Learned,
    Start,
    cross_entropy,
    linear,
    scores,
)
from dip_lib.methods.text_prompt import TextPromptMethod

HEAD = 0.7
"""Weight of the head in the loss and in predictions; the prompt has the rest."""
FASTER = 6.5
"""Learning rate of the head as a multiple of the prompt's."""
LENGTH = 10.0
"""Unit features are multiplied by this before the head."""


def _head(learned: Learned, features: Tensor, first: int) -> Tensor:
    """The head's logits of features (R, M, e), rescaled by the ``first`` pair of vectors on."""
    scale, shift, weight, bias = (*learned.others[first : first + 2], *learned.others[4:])
    rescaled = LENGTH * features * scale[:, None] + shift[:, None]
    return rescaled @ weight.transpose(1, 2) + bias[:, None]


@dataclass(frozen=True, kw_only=True)
class DePT(TextPromptMethod):
    """DePT.

    Args:
        context, vectors, class_position, class_specific: as :class:`TextPromptMethod`'s.
    """

    name = "dept"
    label = "DePT"

    def start(self, frozen: FrozenClip, seed: int) -> Start:
        """CoOp's prompt; scale and shift of image and of text features; a linear head."""
        prompts, e = super().start(frozen, seed).prompts, frozen.template_text.shape[1]
        one, zero = torch.ones(e), torch.zeros(e)
        head = linear(seed, e, len(frozen.names), 10)
        others = tuple(each.to(prompts[0].device) for each in (one, zero, one, zero, *head))
        return Start(prompts, others, (FASTER,) * len(others))

    def loss(self, learned: Learned, frozen: FrozenClip, batch: Batch) -> Tensor:
        """Cross-entropy of the prompt and of the head, which sees images and their classes' text.

        (R,).
        """
        text = self.text(learned, frozen, frozen.names)  # (R, C, e)
        of_images = text.gather(1, batch.labels[..., None].expand(-1, -1, text.shape[-1]))
        both = torch.cat([_head(learned, of_images, 2), _head(learned, batch.images, 0)], 1)
        head = cross_entropy(both, batch.labels.repeat(1, 2))
        prompt = cross_entropy(scores(frozen, batch.images, text), batch.labels)
        return (1 - HEAD) * prompt + HEAD * head

    def trained_classifier(self, learned: Learned, frozen: FrozenClip) -> Classifier:
        """Prompt and head together."""
        prompted = self.classifier(learned, frozen, frozen.names)
        return lambda images: (1 - HEAD) * prompted(images) + HEAD * _head(learned, images, 0)
