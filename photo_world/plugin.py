"""Photo World as ``dip_lib`` finds it: its datasets, their packs and its backbones."""

from __future__ import annotations

from typing import Any

from PIL import Image
from torch import Tensor

from dip_lib.clip import Backbone, BackboneSource
from dip_lib.data import Dataset, DatasetSource
from dip_lib.data.views import plain_view, rgb
from photo_world import datasets, models, tasks
from photo_world.datasets import DECLARED, PACKS, declared
from photo_world.tasks import task_of

WORLD = "Photo World"
LEARNING_RATE = 0.1
"""Of prompts: chosen once, by CoOp's validation accuracy on base classes."""
CONFIG: dict[str, Any] = {
    "embed_dim": models.EMBEDDING,
    "text_cfg": models.TEXT,
    "vision_cfg": models.VISION,
}


def _preprocess(image: Image.Image) -> Tensor:
    """PIL image -> normalised (3, 224, 224), cropped as any CLIP's input."""
    return models.normalise(plain_view(rgb(image), models.VISION["image_size"]) / 255)


def load(name: str) -> Backbone:
    """One of the CLIPs of Photo World, on the CPU in fp32, with its committed weights."""
    model, known_tokens = models.load_photo_clip(name)
    return Backbone(
        name,
        model,
        models.tokenizer(),
        _preprocess,
        (models.MEAN,) * 3,
        (models.STD,) * 3,
        known_tokens,
        models.fingerprint(name),
        lr=LEARNING_RATE,
        image_fingerprint=models.image_fingerprint(),
    )


def dataset(name: str, style: str = "default") -> Dataset:
    """A dataset of photographs, or a task for visual prompts."""
    return (tasks if name in tasks.NAMES else datasets).load(name, style)


BACKBONES = BackboneSource(WORLD, dict.fromkeys(models.NAMES, CONFIG), load, models.fingerprint)
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
