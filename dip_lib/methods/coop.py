"""CoOp (Zhou et al., IJCV 2022): the words before the class name become trainable vectors.

Text is ``[SOS] P [class name] . [EOT]``; P (n, d) minimises the cross-entropy of cosine
similarities, and nothing else is trained.
"""

from __future__ import annotations

from torch import Tensor

from dip_lib.methods.method import (
    Batch,
    Learnt,
    Method,
    Setting,
    Start,
    cross_entropy,
    first_context,
    prompted_classifier,
)
from dip_lib.spec import RunSpec


def start(setting: Setting, spec: RunSpec) -> Start:
    """One prompt, from words or at random."""
    return Start((first_context(setting.clip, spec),))


def loss(learnt: Learnt, setting: Setting, batch: Batch) -> Tensor:
    """Cross-entropy of the trained classes, (R,)."""
    logits = prompted_classifier(learnt, setting, setting.names)(batch.images)
    return cross_entropy(logits, batch.labels)


COOP = Method(start, loss)
