"""Glyph World as ``dip_lib`` finds it: its datasets and its backbones, by entry points."""

from __future__ import annotations

from typing import Any

from PIL import Image
from torch import Tensor

from dip_lib.clip import Backbone, BackboneSource
from dip_lib.data import Dataset, DatasetSource
from dip_lib.data.views import plain_view
from glyph_world import families, models, styles, tasks
from glyph_world.captions import TEMPLATES, tokenizer

WORLD = "Glyph World"
ENSEMBLE = tuple(template for template in TEMPLATES if "[look]" not in template)
"""The captions that name no look: what an ensemble averages."""
LEARNING_RATE = 0.03
"""Of prompts on both encoders: chosen once, by CoOp's validation accuracy on base classes."""


def _preprocess(image: Image.Image) -> Tensor:
    """PIL image -> normalised (3, 48, 48), cropped as any CLIP's input."""
    size = models.VISION["glyph-vit"]["image_size"]
    return models.normalise(plain_view(image.convert("RGB"), size) / 255)


def load(name: str) -> Backbone:
    """One of the small CLIPs, on the CPU in fp32, with its committed weights."""
    model, known_tokens = models.load_glyph_clip(name)
    return Backbone(
        name,
        model,
        tokenizer(),
        _preprocess,
        (models.MEAN,) * 3,
        (models.STD,) * 3,
        known_tokens,
        models.fingerprint(name),
        ENSEMBLE,
        LEARNING_RATE,
    )


def _config(name: str) -> dict[str, Any]:
    return {
        "embed_dim": models.EMBEDDING,
        "text_cfg": models.TEXT,
        "vision_cfg": models.VISION[name],
    }


def dataset(name: str, style: str = "default") -> Dataset:
    """A family, the source set, one of its shifts, or a task for visual prompts."""
    if name in tasks.NAMES:
        return tasks.task_dataset(name, style)
    return families.glyph_dataset(name, style)


DATASETS = DatasetSource(WORLD, (*families.NAMES, *tasks.NAMES), dataset, styles.PAIRING)
BACKBONES = BackboneSource(
    WORLD, {name: _config(name) for name in models.committed()}, load, models.fingerprint
)
