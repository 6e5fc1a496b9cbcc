"""CoCoOp (Zhou et al., CVPR 2022): a small network shifts the prompt for every image.

The shift of all n vectors is a two-layer network of the image's feature, so that the classes' text
has to be encoded anew for every image. Source: ``trainers/cocoop.py`` of KaiyangZhou/CoOp.
Precision otherwise than there: see :mod:`dip_lib.methods.coop`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dip_lib.methods.prompt_method import PromptMethod
from dip_lib.methods.prompts import Classifier, FrozenClip, Learned, Start, linear

NARROWER = 16
"""The network's hidden layer is this much narrower than an embedding."""
AT_ONCE = 64
"""Images whose texts are encoded in one pass when a prompt is evaluated."""


@dataclass(frozen=True, kw_only=True)
class CoCoOp(PromptMethod):
    """CoCoOp."""

    name = "cocoop"
    label = "CoCoOp"
    side = "image"
    text_per_image = True

    def start(self, frozen: FrozenClip, seed: int) -> Start:
        """CoOp's prompt, and the network: two linear layers with a ReLU between them."""
        prompts = super().start(frozen, seed).prompts
        e, d = frozen.template_text.shape[1], prompts[0].shape[1]
        layers = (*linear(seed, e, e // NARROWER, 10), *linear(seed, e // NARROWER, d, 11))
        return Start(prompts, tuple(layer.to(prompts[0].device) for layer in layers))

    def classifier(self, learned: Learned, frozen: FrozenClip, names: Sequence[str]) -> Classifier:
        """Logits of any ``names``, each image among texts of its own."""
        w1, b1, w2, b2 = learned.others
        context = learned.prompts[0]

        def classify(images: Tensor) -> Tensor:
            images = images.expand(len(context), -1, -1)  # (R, M, e)
            hidden = (images @ w1.transpose(1, 2) + b1[:, None]).relu()
            shift = hidden @ w2.transpose(1, 2) + b2[:, None]  # (R, M, d)
            shifted = (context[:, None] + shift[:, :, None]).flatten(0, 1)  # (R * M, n, d)
            text = frozen.clip.class_embeddings(shifted, names)  # (R * M, C, e)
            every = text @ images.reshape(len(text), -1, 1)  # (R * M, C, 1)
            return frozen.clip.logit_scale * every.view(*images.shape[:2], -1)

        return lambda images: torch.cat([classify(part) for part in images.split(AT_ONCE, -2)], 1)
