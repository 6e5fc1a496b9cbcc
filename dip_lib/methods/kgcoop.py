"""KgCoOp (Yao et al., CVPR 2023): CoOp regularised towards the hand-written prompt.

Class embeddings are kept close to those of the hand-written template: the mean of 1 - cosine
between the two is added to the loss. Source: ``KgCoOp/trainers/kgcoop.py`` and
``KgCoOp/scripts/run.sh`` of htyao89/KgCoOp. Precision and views otherwise than there: see
:mod:`dip_lib.methods.coop`.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from dip_lib.methods.prompts import Batch, FrozenClip, Learned, cross_entropy, scores
from dip_lib.methods.text_prompt import TextPromptMethod, check_template


@dataclass(frozen=True, kw_only=True)
class KgCoOp(TextPromptMethod):
    """KgCoOp.

    Args:
        context, vectors, class_position, class_specific: as :class:`TextPromptMethod`'s.
        weight: of the distance to the template's text (8 in ``scripts/run.sh``).
        template: the teacher's, with {} for the class name; "": the dataset's. KgCoOp's own list
            (``CUSTOM_TEMPLATES``) differs from CoOp's on DTD.
    """

    name = "kgcoop"
    label = "KgCoOp"
    per_run = ("weight",)

    weight: float = 8.0
    template: str = ""

    def check(self) -> None:
        super().check()
        check_template(self.template)

    def loss(self, learned: Learned, frozen: FrozenClip, batch: Batch) -> Tensor:
        """Cross-entropy plus weight * mean(1 - cos(text, template's text)), (R,)."""
        text = self.text(learned, frozen, frozen.names)  # (R, C, e)
        distance = 1 - (text * frozen.text_of(self.template)).sum(-1).mean(-1)
        prediction = cross_entropy(scores(frozen, batch.images, text), batch.labels)
        return prediction + frozen.per_run["weight"] * distance
