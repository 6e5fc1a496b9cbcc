"""DePT (Zhang et al., CVPR 2024) on CoOp: what only the trained classes need gets its own head.

A linear head on rescaled features learns the trained classes beside the prompt, and predicts them
together with it; new classes are left to the prompt. Source: Koorye/DePT,
``trainers/elp_coop.py`` and ``trainers/optim.py``. There the head reads features as they leave the
towers; ours are kept at unit length, so they are multiplied by about the length of CLIP's.
"""

from __future__ import annotations

import torch
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
    linear,
    prompted_classifier,
    scores,
)
from dip_lib.spec import RunSpec

HEAD = 0.7
"""Weight of the head in the loss and in predictions; the prompt has the rest."""
FASTER = 6.5
"""Learning rate of the head as a multiple of the prompt's."""
LENGTH = 10.0
"""Unit features are multiplied by this before the head."""


def start(setting: Setting, spec: RunSpec) -> Start:
    """CoOp's prompt; scale and shift of image and of text features; a linear head."""
    prompts, e = coop.start(setting, spec).prompts, setting.teacher.shape[1]
    one, zero = torch.ones(e), torch.zeros(e)
    head = linear(spec.seed, e, len(setting.names), 10)
    others = tuple(each.to(prompts[0].device) for each in (one, zero, one, zero, *head))
    return Start(prompts, others, (FASTER,) * len(others))


def _head(learnt: Learnt, features: Tensor, first: int) -> Tensor:
    """The head's logits of features (R, M, e), rescaled by the ``first`` pair of vectors on."""
    scale, shift, weight, bias = (*learnt.others[first : first + 2], *learnt.others[4:])
    rescaled = LENGTH * features * scale[:, None] + shift[:, None]
    return rescaled @ weight.transpose(1, 2) + bias[:, None]


def loss(learnt: Learnt, setting: Setting, batch: Batch) -> Tensor:
    """Cross-entropy of the prompt and of the head, which sees images and their classes' text."""
    text = setting.clip.class_embeddings(learnt.prompts[0], setting.names)  # (R, C, e)
    mine = text.gather(1, batch.labels[..., None].expand(-1, -1, text.shape[-1]))  # (R, B, e)
    seen = torch.cat([_head(learnt, mine, 2), _head(learnt, batch.images, 0)], 1)
    head = cross_entropy(seen, batch.labels.repeat(1, 2))
    prompt = cross_entropy(scores(setting, batch.images, text), batch.labels)
    return (1 - HEAD) * prompt + HEAD * head


def trained_classifier(learnt: Learnt, setting: Setting) -> Classifier:
    """Prompt and head together."""
    prompted = prompted_classifier(learnt, setting, setting.names)
    return lambda images: (1 - HEAD) * prompted(images) + HEAD * _head(learnt, images, 0)


DEPT = Method(start, loss, trained_classifier=trained_classifier)
