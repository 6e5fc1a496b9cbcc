"""KgCoOp (Yao et al., CVPR 2023): CoOp regularised towards the hand-written prompt.

Class embeddings are kept close to those of the hand-written template: the mean of 1 - cosine
between the two is added to the loss. Source: ``trainers/kgcoop.py`` and ``scripts/run.sh`` of
htyao89/KgCoOp.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from dip_lib.methods.prompt_method import PromptMethod
from dip_lib.methods.prompts import Batch, FrozenClip, Learned, cross_entropy, scores


@dataclass(frozen=True, kw_only=True)
class KgCoOp(PromptMethod):
    """KgCoOp.

    Args:
        weight: of the distance to the template's text (8 in ``scripts/run.sh``).
    """

    name = "kgcoop"
    label = "KgCoOp"
    per_run = ("weight",)

    weight: float = 8.0

    def loss(self, learned: Learned, frozen: FrozenClip, batch: Batch) -> Tensor:
        """Cross-entropy plus weight * mean(1 - cos(text, template's text)), (R,)."""
        text = frozen.clip.class_embeddings(learned.prompts[0], frozen.names)  # (R, C, e)
        distance = 1 - (text * frozen.template_text).sum(-1).mean(-1)
        prediction = cross_entropy(scores(frozen, batch.images, text), batch.labels)
        return prediction + frozen.per_run["weight"] * distance
