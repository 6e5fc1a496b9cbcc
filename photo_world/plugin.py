"""Photo World as ``dip_lib`` finds it: its datasets, their packs and its backbones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from PIL import Image
from torch import Tensor

from dip_lib.clip import Backbone, BackboneSource
from dip_lib.data import Dataset, DatasetSource
from dip_lib.data.views import plain_view, rgb
from dip_lib.errors import one_of
from photo_world import datasets, models, tasks, vit
from photo_world.datasets import DECLARED, PACKS, declared
from photo_world.tasks import task_of

if TYPE_CHECKING:
    from open_clip.model import CLIP

WORLD = "Photo World"
LEARNING_RATE = 0.1
"""Of prompts: chosen once, by CoOp's validation accuracy on base classes."""


@dataclass(frozen=True)
class Kind:
    """Backbones that share the layout of their image encoder.

    Attributes:
        vision: its configuration.
        load: name -> the model and the token ids that its text encoder was trained on.
        fingerprint: name -> what changes when any weights do.
        image_fingerprint: what changes when those of the image encoder do.
    """

    vision: dict[str, Any]
    load: Callable[[str], tuple[CLIP, frozenset[int]]]
    fingerprint: Callable[[str], str]
    image_fingerprint: Callable[[], str]


LITE = Kind(models.VISION, models.load_photo_clip, models.fingerprint, models.image_fingerprint)
VIT = Kind(vit.VISION, vit.load_photo_vit, vit.fingerprint, vit.image_fingerprint)
KINDS = {**dict.fromkeys(models.NAMES, LITE), models.VIT: VIT}
CONFIGS: dict[str, dict[str, Any]] = {
    name: {
        "embed_dim": models.EMBEDDING,
        "vision_cfg": kind.vision,
        "text_cfg": models.TEXT,
    }
    for name, kind in KINDS.items()
}


def kind_of(name: str) -> Kind:
    """The kind of a backbone. Raises ValueError: an unknown name, with the nearest."""
    return KINDS[one_of("photo backbone", name, KINDS)]


def _preprocess(image: Image.Image, size: int) -> Tensor:
    """PIL image -> normalised (3, S, S), cropped as any CLIP's input."""
    return models.normalise(plain_view(rgb(image), size) / 255)


def load(name: str) -> Backbone:
    """One of the CLIPs of Photo World, on the CPU in fp32, with its committed weights."""
    kind = kind_of(name)
    model, known_tokens = kind.load(name)
    return Backbone(
        name,
        model,
        models.tokenizer(),
        partial(_preprocess, size=kind.vision["image_size"]),
        (models.MEAN,) * 3,
        (models.STD,) * 3,
        known_tokens,
        kind.fingerprint(name),
        lr=LEARNING_RATE,
        image_fingerprint=kind.image_fingerprint(),
    )


def fingerprint(name: str) -> str:
    """Changes when any weights of backbone ``name`` change."""
    return kind_of(name).fingerprint(name)


def dataset(name: str, style: str = "default") -> Dataset:
    """A dataset of photographs, or a task for visual prompts."""
    return (tasks if name in tasks.NAMES else datasets).load(name, style)


BACKBONES = BackboneSource(WORLD, CONFIGS, load, fingerprint)
DATASETS = DatasetSource(
    WORLD,
    (*DECLARED, *tasks.NAMES),
    dataset,
    pictures={name: each.pictures for name, each in DECLARED.items()}
    | {name: declared(task_of(name).dataset).pictures for name in tasks.NAMES},
    titles={name: each.title for name, each in DECLARED.items()}
    | {name: task_of(name).title for name in tasks.NAMES},
    sealed={name: f"the claim {each.closed!r}" for name, each in DECLARED.items() if each.closed},
)

__all__ = ["BACKBONES", "DATASETS", "PACKS"]
