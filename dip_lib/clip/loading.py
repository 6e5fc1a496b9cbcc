"""Frozen CLIPs by name: those that installed packages bring, and open_clip's."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from dip_lib.clip.backbone import Backbone
from dip_lib.clip.text import unsupported_reason
from dip_lib.clip.weights import HUB, open_clip_model
from dip_lib.errors import one_of
from dip_lib.plugins import plugins

PRECISIONS = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class BackboneSource:
    """Backbones that carry their own weights: the object of an entry point "dip_lib.backbones".

    Attributes:
        world: what the pages call the world they belong to ("Glyph World").
        configs: name -> configuration as open_clip has it (``embed_dim``, ``text_cfg``, ...).
        load: name -> the backbone in fp32 on the CPU.
        fingerprint: name -> the backbone's fingerprint, without loading it.
    """

    world: str
    configs: Mapping[str, Mapping[str, Any]]
    load: Callable[[str], Backbone]
    fingerprint: Callable[[str], str]


def backbone_source(name: str) -> BackboneSource | None:
    """The source that brings the backbone with its weights; None for open_clip's and unknown."""
    return next((each for each in plugins("dip_lib.backbones") if name in each.configs), None)


def check_backbone(name: str) -> None:
    """Raise ValueError for a name that is neither a package's, nor open_clip's, nor the hub's."""
    if not (name.startswith(HUB) or backbone_source(name)):
        import open_clip

        brought = (each for source in plugins("dip_lib.backbones") for each in source.configs)
        one_of("backbone", name, (*brought, *open_clip.list_models()))


def backbone_config(name: str) -> Mapping[str, Any]:
    """The configuration of a backbone as open_clip has it, without loading weights.

    Raises:
        ValueError: an unknown name, with the nearest.
    """
    check_backbone(name)
    if source := backbone_source(name):
        return source.configs[name]
    import open_clip

    config: Mapping[str, Any] = open_clip.get_model_config(name)
    return config


def check_device(device: str) -> torch.device:
    """The device by name. Raises ValueError for an unknown one, or a GPU that is not there."""
    unknown = f"unknown device {device!r}: use 'cpu', 'cuda' or 'cuda:N'"
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise ValueError(unknown) from error
    if chosen.type not in ("cpu", "cuda"):  # torch knows more kinds than this library runs on
        raise ValueError(unknown)
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(
            f"device {device!r} was asked for, but this machine (or this build of torch) has no "
            "usable GPU. Use device='cpu', or install a CUDA build of torch."
        )
    return chosen


def load_backbone(
    name: str, pretrained: str | None = None, device: str = "cpu", precision: str | None = None
) -> Backbone:
    """A frozen CLIP by name.

    Args:
        name: "glyph-vit", "glyph-resnet" and others that installed packages bring with their
            weights; "ViT-B-16", "ViT-B-32", "ViT-L-14", "RN50" (OpenAI's, with QuickGELU), any
            other open_clip name with CLIP's text encoder, or "hf-hub:owner/repository".
        pretrained: open_clip tag or file of weights; None = random weights (backbones of packages
            and of the hub carry their own).
        device: "cpu", "cuda" or "cuda:N".
        precision: of the encoders, "fp32" (default), "fp16" or "bf16". Prompts stay fp32.

    Raises:
        ValueError: unknown name, tag or precision (with the nearest), a GPU that is not there,
            weights that are damaged, of another model, trained with another activation or not to
            be had offline, a text encoder of another layout.
    """
    chosen = check_device(device)
    dtype = PRECISIONS[one_of("precision", precision or "fp32", PRECISIONS)]
    rounding = "" if dtype == torch.float32 else f"-{precision}"  # features differ, too
    if source := backbone_source(name):
        if pretrained is not None:
            raise ValueError(f"{name} carries its own weights; leave pretrained=None")
        backbone = source.load(name)
        backbone.model.to(chosen, dtype)
        backbone.unrounded = backbone.encodes_as
        backbone.fingerprint += rounding
        if backbone.image_fingerprint:
            backbone.image_fingerprint += rounding
        return backbone
    check_backbone(name)
    import open_clip

    model, preprocess = open_clip_model(name, pretrained)
    if reason := unsupported_reason(model):
        raise ValueError(f"{name} cannot be used: {reason}. Use a CLIP such as ViT-B-16.")
    unrounded = _fingerprint(model.requires_grad_(False))
    model.to(chosen, dtype)
    normalisation = model.visual.preprocess_cfg
    return Backbone(
        name,
        model,
        open_clip.get_tokenizer(name),
        preprocess,
        normalisation["mean"],
        normalisation["std"],
        None,
        _fingerprint(model) + rounding,
        unrounded=unrounded,
    )


def _fingerprint(model: nn.Module) -> str:
    """12 digits of the weights: a sample of each tensor is enough to tell two sets apart."""
    weights = hashlib.sha256()
    for parameter in model.parameters():
        weights.update(parameter.detach().flatten()[:64].float().cpu().numpy().tobytes())
    return weights.hexdigest()[:12]
