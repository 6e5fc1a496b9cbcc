"""A frozen timm encoder with what its images need: in the place of a CLIP for visual prompts.

In runs and profiles such an encoder is called "timm:" and timm's name with the tag of its weights,
"timm:vit_base_patch16_224.mae"; without a tag its weights are random.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from dip_lib.clip.at_hand import out_of_reach
from dip_lib.clip.loading import PRECISIONS, check_device
from dip_lib.errors import NoWeightsError, one_of

TIMM = "timm:"
"""What the names of these encoders begin with in runs."""
FILE = "model.safetensors"
"""Weights in timm's repositories of the hub."""


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


def is_timm(name: str) -> bool:
    """Whether it is the name of a run's timm encoder."""
    return name.startswith(TIMM)


def timm_weights(name: str) -> str:
    """The tag of the weights of a run's timm encoder; "": random."""
    return name.removeprefix(TIMM).partition(".")[2]


def check_timm(name: str) -> None:
    """Raise ValueError for a run's timm encoder that timm does not have, with the nearest names."""
    import timm

    plain, known = name.removeprefix(TIMM), (*timm.list_models(), *timm.list_pretrained())
    if not is_timm(name):
        raise ValueError(f"{name!r} is no encoder of timm's: these begin with {TIMM!r}")
    one_of("encoder of timm", plain, known)


def named_timm_tower(name: str, precision: str = "fp32", device: str = "cpu") -> TimmTower:
    """The encoder of a run, with the weights of its tag, which are downloaded once; else random.

    Args:
        name: such as "timm:vit_base_patch16_224.mae".
        precision: "fp32", "fp16" or "bf16".

    Raises:
        ValueError: a name that timm does not have; weights that cannot be had; a GPU that is not
            there.
    """
    import timm

    check_timm(name)
    one_of("precision", precision, PRECISIONS)
    plain, tag = name.removeprefix(TIMM), timm_weights(name)
    if tag:
        hub, url = (getattr(timm.models.get_pretrained_cfg(plain), k) for k in ("hf_hub_id", "url"))
        if reason := out_of_reach({"hf_hub": f"{hub}/{FILE}"} if hub else {"url": url}):
            fault = NoWeightsError(name, tag, reason).fault
            raise ValueError(f"{fault}. Go online once, or set HF_HOME to a cache that holds them")
    tower = timm_tower(plain, bool(tag), device)
    tower.model.to(PRECISIONS[precision])
    return replace(tower, name=name)


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
