"""Frozen CLIPs by name: the two of Glyph World, and open_clip's."""

from __future__ import annotations

import hashlib
from typing import Any

import open_clip
import torch
from torch import Tensor

from dip_lib.backbone import Backbone
from dip_lib.datasets.views import plain_view
from dip_lib.errors import one_of
from dip_lib.text import misfit
from dip_lib.weights import HUB, open_clip_model
from glyph_world import models as glyph_models
from glyph_world.captions import tokenizer as glyph_tokenizer

GLYPH_NAMES = tuple(glyph_models.VISION)


def _glyph_preprocess(image: Any) -> Tensor:
    """PIL image -> normalised (3, 48, 48), cropped as any CLIP's input."""
    size = glyph_models.VISION["glyph-vit"]["image_size"]
    return glyph_models.normalise(plain_view(image.convert("RGB"), size) / 255)


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
        name: "glyph-vit", "glyph-resnet" (committed weights, no download), "ViT-B-16",
            "ViT-B-32", "ViT-L-14", "RN50" (OpenAI's, with QuickGELU), any other open_clip name
            with CLIP's text tower, or "hf-hub:owner/repository".
        pretrained: open_clip tag or file of weights; None = random weights (the glyph towers
            and those of the hub carry their own).
        device: "cpu", "cuda" or "cuda:N".
        precision: of the towers, "fp32" (default), "fp16" or "bf16". Prompts stay fp32.

    Raises:
        ValueError: unknown name, tag or precision (with the nearest), a GPU that is not there,
            weights that are damaged, of another model, trained with another activation or not to
            be had offline, a text tower of another layout.
    """
    chosen = check_device(device)
    types = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
    dtype = types[one_of("precision", precision or "fp32", types)]
    rounding = "" if dtype == torch.float32 else f"-{precision}"  # features differ, too
    if name in GLYPH_NAMES:
        if pretrained is not None:
            raise ValueError(f"{name} carries its own weights; leave pretrained=None")
        model, seen = glyph_models.load_glyph_clip(name)
        mean, std = (glyph_models.MEAN,) * 3, (glyph_models.STD,) * 3
        return Backbone(
            name,
            model.to(chosen, dtype),
            glyph_tokenizer(),
            _glyph_preprocess,
            mean,
            std,
            seen,
            glyph_models.fingerprint(name) + rounding,
        )
    if not name.startswith(HUB):
        one_of("backbone", name, (*GLYPH_NAMES, *open_clip.list_models()))
    model, preprocess = open_clip_model(name, pretrained)
    if reason := misfit(model):
        raise ValueError(f"{name} cannot be used: {reason}. Use a CLIP such as ViT-B-16.")
    model = model.requires_grad_(False).to(chosen, dtype)
    shown = model.visual.preprocess_cfg
    shapes = hashlib.sha256()
    for parameter in model.parameters():
        # a sample of each tensor is enough to tell two sets of weights apart
        shapes.update(parameter.detach().flatten()[:64].float().cpu().numpy().tobytes())
    return Backbone(
        name,
        model,
        open_clip.get_tokenizer(name),
        preprocess,
        shown["mean"],
        shown["std"],
        None,
        shapes.hexdigest()[:12] + rounding,
    )
