"""KgCoOp (Yao et al., CVPR 2023): CoOp held near what CLIP already knows.

Class embeddings may not wander from those of the hand-written template: the mean of 1 - cosine
between the two is added to the loss, times the run's weight (8 in its ``scripts/run.sh``).
"""

from __future__ import annotations

from torch import Tensor

from dip_lib.methods import coop
from dip_lib.methods.method import Batch, Learnt, Method, Setting, cross_entropy, scores


def loss(learnt: Learnt, setting: Setting, batch: Batch) -> Tensor:
    """Cross-entropy plus weight * mean(1 - cos(text, teacher)), (R,)."""
    text = setting.clip.class_embeddings(learnt.prompts[0], setting.names)  # (R, C, e)
    away = 1 - (text * setting.teacher).sum(-1).mean(-1)
    return cross_entropy(scores(setting, batch.images, text), batch.labels) + setting.weight * away


KGCOOP = Method(coop.start, loss)
