"""ProGrad (Zhu et al., ICCV 2023): CoOp that may not unlearn what zero-shot CLIP says.

Beside the cross-entropy stands the distance to the predictions of the hand-written template. Where
the two gradients disagree, the part of the first that opposes the second is taken out. Source: its
``dassl/engine/trainer.py::prograd_backward_and_update`` and ``trainers/prograd.py::ProGradLoss``.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from dip_lib.methods import coop
from dip_lib.methods.method import (
    Batch,
    Learnt,
    Loss,
    Method,
    Setting,
    cross_entropy,
    prompted_classifier,
    scores,
)


def without_conflict(a: Tensor, b: Tensor, weight: Tensor) -> Tensor:
    """``a`` less ``weight`` times its part along ``b``, in the runs where they point apart.

    Args:
        a, b: gradients of one tensor, (R, ...).
        weight: (R,), 1 takes the whole part out.
    """
    flat = b.flatten(1)
    unit = flat / flat.norm(dim=1, keepdim=True).clamp(min=torch.finfo(b.dtype).tiny)
    along = (a.flatten(1) * unit).sum(1, keepdim=True).clamp(max=0)  # 0 where they agree
    return a - (weight[:, None] * along * unit).view_as(a)


def gradient(
    loss: Loss, learnt: Learnt, setting: Setting, batch: Batch, trained: Sequence[Tensor]
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Cross-entropy (R,), and its gradient in each tensor without what opposes the teacher's."""
    logits = prompted_classifier(learnt, setting, setting.names)(batch.images)  # (R, B, C)
    value, ones = cross_entropy(logits, batch.labels), torch.ones_like(setting.weight)
    taught = scores(setting, batch.images, setting.teacher[None]).softmax(-1)
    apart = -(taught * logits.log_softmax(-1)).sum(-1).mean(1)  # temperature 1
    own = torch.autograd.grad(value, trained, ones, retain_graph=True)
    known = torch.autograd.grad(apart, trained, ones)
    pairs = zip(own, known, strict=True)
    return value, tuple(without_conflict(a, b, setting.weight) for a, b in pairs)


PROGRAD = Method(coop.start, coop.loss, gradient)
