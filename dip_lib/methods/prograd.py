"""ProGrad (Zhu et al., ICCV 2023): CoOp without updates that oppose zero-shot CLIP.

A second loss is the distance to the predictions of the hand-written template. Where its gradient
and that of the cross-entropy disagree, the opposing part of the latter is removed. Source: its
``dassl/engine/trainer.py::prograd_backward_and_update`` and ``trainers/prograd.py::ProGradLoss``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dip_lib.methods.prompt_method import PromptMethod
from dip_lib.methods.prompts import Batch, FrozenClip, Learned, cross_entropy, scores


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


@dataclass(frozen=True, kw_only=True)
class ProGrad(PromptMethod):
    """ProGrad.

    Args:
        weight: share of the opposing part that is taken out (``LOSS.LAMBDA`` in its ``train.py``).
    """

    name = "prograd"
    label = "ProGrad"
    per_run = ("weight",)

    weight: float = 1.0

    def gradient(
        self, learned: Learned, frozen: FrozenClip, batch: Batch, trained: Sequence[Tensor]
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Cross-entropy (R,), and its gradient in each tensor without what opposes zero-shot's."""
        weight = frozen.per_run["weight"]
        logits = self.classifier(learned, frozen, frozen.names)(batch.images)  # (R, B, C)
        loss, ones = cross_entropy(logits, batch.labels), torch.ones_like(weight)
        zero_shot = scores(frozen, batch.images, frozen.template_text[None]).softmax(-1)
        distance = -(zero_shot * logits.log_softmax(-1)).sum(-1).mean(1)  # temperature 1
        own = torch.autograd.grad(loss, trained, ones, retain_graph=True)
        known = torch.autograd.grad(distance, trained, ones)
        pairs = zip(own, known, strict=True)
        return loss, tuple(without_conflict(a, b, weight) for a, b in pairs)
