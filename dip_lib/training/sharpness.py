"""How sharp the minimum is that a prompt was trained to: its loss beside that of prompts around it.

Symbols: R runs, M images, C classes, n context vectors, d width.
"""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from dip_lib.data.protocols import Split
from dip_lib.methods.prompt_method import PromptMethod
from dip_lib.methods.prompts import FrozenClip, Learned
from dip_lib.randomness import normal

RADIUS = 1.0
"""Length of a perturbation, in norms of the prompt before training, of which training adds several:
a tenth of it changes the loss by less than a ten-thousandth."""
DIRECTIONS = 4


@torch.no_grad()
def sharpness(
    method: PromptMethod, learned: Learned, start: Tensor, frozen: FrozenClip, images: Split
) -> list[float]:
    """The mean rise of the cross-entropy when the first prompt moves in a random direction.

    Average-direction sharpness (Andriushchenko and Flammarion, *Towards Understanding
    Sharpness-Aware Minimization*, ICML 2022, section 2), on images of the trained classes. The
    :data:`DIRECTIONS` are the same for every run; each has :data:`RADIUS` times the length of the
    prompt before training, so that prompts of different length are moved alike.

    Args:
        start: (R, n, d) or (R, C, n, d), the first prompt before training.
        images: of the trained classes alone, in their order; (R, M, e).

    Returns:
        For each of R runs, in nats; negative where the surroundings are better than the prompt.
    """
    first, *others = learned.prompts
    sides = tuple(range(1, start.dim()))
    radius = RADIUS * torch.linalg.vector_norm(start, dim=sides, keepdim=True)
    here = _cross_entropy(method, learned, frozen, images)
    around = torch.zeros_like(here)
    for seed in range(DIRECTIONS):
        direction = normal(seed, start.shape[1:], stream=8).to(start)
        moved = first + radius * direction / direction.norm()
        changed = replace(learned, prompts=(moved, *others))
        around += _cross_entropy(method, changed, frozen, images)
    rises: list[float] = (around / DIRECTIONS - here).tolist()
    return rises


def _cross_entropy(
    method: PromptMethod, learned: Learned, frozen: FrozenClip, images: Split
) -> Tensor:
    """The mean over the images, (R,)."""
    classify = method.trained_classifier(learned, frozen) or method.classifier(
        learned, frozen, images.names
    )
    logits = classify(images.images)  # (R, M, C)
    labels = images.labels.expand(logits.shape[:2])
    return F.cross_entropy(logits.transpose(1, 2), labels, reduction="none").mean(1)
