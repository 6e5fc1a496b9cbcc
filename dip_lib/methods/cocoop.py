"""CoCoOp (Zhou et al., CVPR 2022): every image shifts the prompt by a small network.

The shift of all n vectors is a two-layer network of the image's feature, so that the classes' text
has to be encoded anew for every image. Source: ``trainers/cocoop.py`` of KaiyangZhou/CoOp.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from dip_lib.accuracy import Classifier
from dip_lib.methods import coop
from dip_lib.methods.method import Batch, Learnt, Method, Setting, Start, cross_entropy, linear
from dip_lib.spec import RunSpec

NARROWER = 16
"""The network's hidden layer is this much narrower than an embedding."""
AT_ONCE = 64
"""Images whose texts are encoded in one pass when a prompt is judged."""


def start(setting: Setting, spec: RunSpec) -> Start:
    """CoOp's prompt, and the network: two linear layers with a ReLU between them."""
    prompts = coop.start(setting, spec).prompts
    e, d = setting.teacher.shape[1], prompts[0].shape[1]
    layers = (*linear(spec.seed, e, e // NARROWER, 10), *linear(spec.seed, e // NARROWER, d, 11))
    return Start(prompts, tuple(layer.to(prompts[0].device) for layer in layers))


def classifier(learnt: Learnt, setting: Setting, names: Sequence[str]) -> Classifier:
    """Logits of any ``names``, each image among texts of its own."""
    w1, b1, w2, b2 = learnt.others
    context = learnt.prompts[0]

    def classify(images: Tensor) -> Tensor:
        images = images.expand(len(context), -1, -1)  # (R, M, e)
        hidden = (images @ w1.transpose(1, 2) + b1[:, None]).relu()
        shift = hidden @ w2.transpose(1, 2) + b2[:, None]  # (R, M, d)
        shifted = (context[:, None] + shift[:, :, None]).flatten(0, 1)  # (R * M, n, d)
        text = setting.clip.class_embeddings(shifted, names)  # (R * M, C, e)
        every = text @ images.reshape(len(text), -1, 1)  # (R * M, C, 1)
        return setting.clip.logit_scale * every.view(*images.shape[:2], -1)

    return lambda images: torch.cat([classify(part) for part in images.split(AT_ONCE, -2)], 1)


def loss(learnt: Learnt, setting: Setting, batch: Batch) -> Tensor:
    """Cross-entropy, (R,)."""
    logits = classifier(learnt, setting, setting.names)(batch.images)
    return cross_entropy(logits, batch.labels)


COCOOP = Method(start, loss, classifier=classifier)
