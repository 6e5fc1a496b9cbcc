"""What photographs and texts are contrasted: a name, its templates, and images in the space.

An ImageNet class has one photograph of its own. Its other images are made: the direction of its
classifier row, with what a photograph of another class has besides its own class's direction. A
class of a dataset has its web photographs, the first k in both views, and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass

import open_clip
import torch
import torch.nn.functional as F
from sentences import GENERIC, Texts
from space import Space
from teacher import KernelRidge
from torch import Tensor

MADE = 8
"""Made images of an ImageNet class."""
PATTERNS = ("photo-eurosat", "photo-dtd10", "photo-resisc14")
"""Their names are not names of things that a photo could be "a photo of a"."""
CLASS_NOISE, PHOTO_NOISE = 0.1, 0.8
"""Variance of a classifier row as a place of its name, and of one photograph besides."""


@dataclass(frozen=True)
class Concept:
    """A class of photographs.

    Attributes:
        name: as in a text.
        templates: of its texts, drawn evenly.
        images: (n, e) unit embeddings.
        place: (e,) where its name belongs.
        noise: how little the place is to be trusted, as a variance.
    """

    name: str
    templates: tuple[str, ...]
    images: Tensor
    place: Tensor
    noise: float


def imagenet_concepts(space: Space, features: Tensor, labels: Tensor) -> list[Concept]:
    """The thousand classes.

    Args:
        features: (N, V, 1280) of the sample photographs.
        labels: (N,) ImageNet classes.
    """
    photos = space(features).flatten(0, 1)  # (N V, e)
    classes = labels.repeat_interleave(features.shape[1])
    towards = (photos * space.classes[classes]).sum(1, keepdim=True)
    besides = photos - towards * space.classes[classes]
    source = torch.Generator().manual_seed(0)
    concepts = []
    for row, name in enumerate(open_clip.IMAGENET_CLASSNAMES):
        donors = torch.randint(len(photos), (MADE,), generator=source)
        made = F.normalize(towards[donors] * space.classes[row] + besides[donors], dim=1)
        images = torch.cat([made, photos[classes == row]])
        concepts.append(Concept(name, GENERIC, images, space.classes[row], CLASS_NOISE))
    return concepts


def web_concepts(
    dataset: str, texts: Texts, space: Space, features: Tensor, labels: Tensor, k: int
) -> list[Concept]:
    """The classes of a dataset, from its first ``k`` web photographs a class.

    Args:
        features: (N, V, 1280) of its web photographs, those of a class in their order.
        labels: (N,) its classes.
    """
    templates = texts.own[dataset] * 3
    if dataset not in PATTERNS:
        templates = GENERIC[: len(GENERIC) // 2] + templates
    concepts = []
    for row, name in enumerate(texts.names[dataset]):
        images = space(features[labels == row][:k]).flatten(0, 1)
        if len(images):
            place = F.normalize(images.mean(0), dim=0)
            noise = CLASS_NOISE + PHOTO_NOISE / len(images)
            concepts.append(Concept(name, templates, images, place, noise))
    return concepts


def sentence_map(
    imagenet: list[Concept], web: list[Concept], embeddings: dict[str, Tensor]
) -> KernelRidge:
    """The map from sentence embeddings to image space: names, and web names in their templates."""
    known = [(concept.name, concept) for concept in imagenet + web]
    for concept in web:
        sentences = dict.fromkeys(each.format(concept.name) for each in concept.templates)
        known += [(text, concept) for text in sentences if text in embeddings]
    return KernelRidge(
        torch.stack([embeddings[text] for text, _ in known]),
        torch.stack([concept.place for _, concept in known]),
        torch.tensor([concept.noise for _, concept in known]),
    )
