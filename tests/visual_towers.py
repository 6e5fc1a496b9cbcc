"""Small frozen towers of either library, for the tests of visual prompts."""

from __future__ import annotations

import timm
import torch
from open_clip.transformer import VisionTransformer

from dip_lib import load_backbone
from dip_lib.clip.frozen_vision import frozen_vision_encoder
from dip_lib.clip.vision_encoder import VisionEncoder

TOWERS = ("glyph-vit", "open_clip, random", "timm, random", "timm, registers and mean")


def module(name: str) -> torch.nn.Module:
    """The tower itself; all read images of 48 pixels."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        if name == "glyph-vit":
            return load_backbone("glyph-vit").model.visual
        if name == "open_clip, random":
            return (
                VisionTransformer(48, 16, 64, 3, 4, 4.0, output_dim=32, ls_init_value=0.5)
                .eval()
                .requires_grad_(False)
            )
        plain = {"img_size": 48, "patch_size": 16, "num_classes": 0, "depth": 3}
        if name == "timm, random":
            return timm.create_model("vit_tiny_patch16_224", **plain).eval().requires_grad_(False)
        more = {"reg_tokens": 2, "global_pool": "avg", "init_values": 0.5, "qkv_bias": False}
        return (
            timm.create_model("vit_tiny_patch16_224", **plain, **more).eval().requires_grad_(False)
        )


def tower(name: str) -> VisionEncoder:
    return frozen_vision_encoder(module(name), name)


def pixels(count: int = 4) -> torch.Tensor:
    return torch.randn(count, 3, 48, 48, generator=torch.Generator().manual_seed(1))
