"""Photo World as ``dip_lib`` finds it: its datasets, their packs and its backbones."""

from __future__ import annotations

from functools import partial
from typing import Any

from PIL import Image
from torch import Tensor

from dip_lib.clip import Backbone, BackboneSource
from dip_lib.data import Dataset, DatasetSource
from dip_lib.data.views import plain_view, rgb
from photo_world import datasets, models, tasks, vit
from photo_world.datasets import DECLARED, PACKS, declared
from photo_world.tasks import task_of

WORLD = "Photo World"
LEARNING_RATE = 0.1
"""Of prompts: chosen once, by CoOp's validation accuracy on base classes."""
SIDES = {"embed_dim": models.EMBEDDING, "text_cfg": models.TEXT}
CONFIGS: dict[str, dict[str, Any]] = {
    **dict.fromkeys(models.NAMES, SIDES | {"vision_cfg": models.VISION}),
    models.VIT: SIDES | {"vision_cfg": vit.VISION},
}


def _preprocess(image: Image.Image, size: int) -> Tensor:
    """PIL image -> normalised (3, S, S), cropped as any CLIP's input."""
    return models.normalise(plain_view(rgb(image), size) / 255)


def load(name: str) -> Backbone:
    """One of the CLIPs of Photo World, on the CPU in fp32, with its committed weights."""
    small = name == models.VIT
    model, known_tokens = vit.load_photo_vit() if small else models.load_photo_clip(name)
    return Backbone(
        name,
        model,
        models.tokenizer(),
        partial(_preprocess, size=CONFIGS[name]["vision_cfg"]["image_size"]),
        (models.MEAN,) * 3,
        (models.STD,) * 3,
        known_tokens,
        fingerprint(name),
        lr=LEARNING_RATE,
        image_fingerprint=vit.image_fingerprint() if small else models.image_fingerprint(),
    )


def fingerprint(name: str) -> str:
    """Changes when any weights of backbone ``name`` change."""
    return vit.fingerprint() if name == models.VIT else models.fingerprint(name)


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
