"""A frozen timm encoder with what its images need: in the place of a CLIP for visual prompts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from dip_lib.clip.loading import check_device


@dataclass(frozen=True, eq=False)
class TimmTower:
    """A timm encoder with what its images need: in the place of a CLIP for visual prompts."""

    name: str
    model: nn.Module
    image_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    device: torch.device

    def normalise(self, images: Tensor) -> Tensor:
        """Images (..., 3, S, S) in 0..1 to the encoder's input."""
        mean, std = (images.new_tensor(each).view(3, 1, 1) for each in (self.mean, self.std))
        return (images - mean) / std


def timm_tower(
    name: str, pretrained: bool = False, device: str = "cpu", **options: Any
) -> TimmTower:
    """A frozen timm encoder by name; ``options`` go to ``timm.create_model``.

    Raises:
        RuntimeError: timm has no such name.
    """
    import timm
    from timm.data import resolve_model_data_config

    model = timm.create_model(name, pretrained=pretrained, num_classes=0, **options)
    config, place = resolve_model_data_config(model), check_device(device)
    size = options.get("img_size") or config["input_size"][-1]
    return TimmTower(name, model.to(place).eval(), size, config["mean"], config["std"], place)
