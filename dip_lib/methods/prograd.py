"""ProGrad (Zhu et al., ICCV 2023): CoOp without updates that oppose zero-shot CLIP.

A second loss is the distance to the predictions of the hand-written template. Where its gradient
and that of the cross-entropy disagree, the opposing part of the latter is removed. Source: its
``Dassl.ProGrad.pytorch/dassl/engine/trainer.py::prograd_backward_and_update`` and
``ProGrad.public/trainers/prograd.py`` of BeierZhu/Prompt-align. There base to new is measured with
RN50 and 4 pictures a class. Precision and views otherwise than there: see
:mod:`dip_lib.methods.coop`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from dip_lib.methods.prompts import Batch, FrozenClip, Learned, Start, cross_entropy, scores
from dip_lib.methods.text_prompt import TextPromptMethod, check_position, check_template


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
class ProGrad(TextPromptMethod):
    """ProGrad.

    Args:
        context, vectors: as :class:`TextPromptMethod`'s; here words and vectors may be given
            together: of so many vectors the last are the words' and those before them zero, as in
            its ``PromptLearner``. It counts words by spaces and takes as many tokens, so that each
            comma costs the last word: "a type of pet, a photo of a" ends with "of".
        class_position, class_specific: as :class:`TextPromptMethod`'s.
        weight: share of the opposing part that is taken out (``LOSS.LAMBDA`` in its ``train.py``).
        template: the teacher's, with {} for the class name; "": the dataset's. ProGrad's own list
            (``CUSTOM_TEMPLATES``) differs from CoOp's on five datasets.

    Raises:
        ValueError: neither words nor vectors, fewer vectors than words, or a template without {}.
    """

    name = "prograd"
    label = "ProGrad"
    per_run = ("weight",)

    weight: float = 1.0
    template: str = ""

    def check(self) -> None:
        check_template(self.template)
        words = len(self.context.split())
        if not (words and self.vectors):
            super().check()
        elif self.vectors < words:
            raise ValueError(f"vectors = {self.vectors} cannot hold {words} words")
        check_position(self.class_position)

    def start(self, frozen: FrozenClip, seed: int) -> Start:
        """As CoOp's; with words and vectors, zero vectors and then the words'."""
        if not (self.context and self.vectors):
            return super().start(frozen, seed)
        words = frozen.clip.context(self.context)[: len(self.context.split())]
        prompt = F.pad(words, (0, 0, self.vectors - len(words), 0))  # (n, d)
        if self.class_specific:
            prompt = prompt.expand(len(frozen.names), -1, -1).contiguous()
        return Start((prompt,))

    def gradient(
        self, learned: Learned, frozen: FrozenClip, batch: Batch, trained: Sequence[Tensor]
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Cross-entropy (R,), and its gradient in each tensor without what opposes zero-shot's."""
        weight = frozen.per_run["weight"]
        logits = self.classifier(learned, frozen, frozen.names)(batch.images)  # (R, B, C)
        loss, ones = cross_entropy(logits, batch.labels), torch.ones_like(weight)
        zero_shot = scores(frozen, batch.images, frozen.text_of(self.template)[None]).softmax(-1)
        distance = -(zero_shot * logits.log_softmax(-1)).sum(-1).mean(1)  # temperature 1
        own = torch.autograd.grad(loss, trained, ones, retain_graph=True)
        known = torch.autograd.grad(distance, trained, ones)
        pairs = zip(own, known, strict=True)
        return loss, tuple(without_conflict(a, b, weight) for a, b in pairs)
