"""``photo-vit``: a small vision transformer of photographs, beside a text encoder of Photo World.

open_clip's own: 64 pixels in patches of 8, width 192, 6 blocks, a class token, a LayerNorm before
the blocks; so prompts are put into it by the code that puts them into CLIP's. It is for visual
prompts, which train through the image encoder. ``pretraining/photo_world/pretrain_vit.py`` trained
it; its text encoder is that of ``photo-lite0``, whose embedding space it learned.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import save
from torch import Tensor, nn

from photo_world.models import EMBEDDING, TEXT, VIT, digest_of, read, recorded_hash, text_side

if TYPE_CHECKING:
    from open_clip.model import CLIP

TEXT_OF = "photo-lite0"
"""The backbone whose text encoder it has."""
VISION: dict[str, Any] = {
    "image_size": 64,
    "patch_size": 8,
    "width": 192,
    "head_width": 48,
    "layers": 6,
}


def build(dropped: float = 0.0) -> CLIP:
    """The untrained model, on the CPU.

    Args:
        dropped: share of the patches that the image encoder leaves out while it trains.
    """
    from open_clip.model import CLIP

    vision = VISION | {"patch_dropout": dropped}
    return CLIP(embed_dim=EMBEDDING, vision_cfg=vision, text_cfg=TEXT)


def pack(visual: nn.Module) -> bytes:
    """An image encoder as safetensors bytes, in half precision."""
    state: dict[str, Tensor] = visual.state_dict()
    return save({key: value.half().contiguous() for key, value in state.items()})


def image_fingerprint() -> str:
    """Changes when the image encoder's weights change."""
    return digest_of(recorded_hash(VIT))


def fingerprint(name: str = VIT) -> str:
    """Changes when any weights change, on either side."""
    return digest_of(recorded_hash(name), recorded_hash(TEXT_OF))


def assemble(image: dict[str, Tensor]) -> tuple[CLIP, frozenset[int]]:
    """The model with these image weights and the committed text encoder, frozen, fp32, on the CPU.

    Returns:
        The model, and the token ids that its text encoder was trained on.

    Raises:
        ValueError: weights of another layout; a damaged file of the text encoder.
    """
    state, known_tokens = text_side(TEXT_OF)
    with torch.random.fork_rng(devices=[]):
        model = build()
    whole = state | {f"visual.{key}": value.float() for key, value in image.items()}
    missing, unexpected = model.load_state_dict(whole, strict=False)
    if wrong := {*unexpected, *missing} - {"attn_mask"}:
        raise ValueError(f"weights of {VIT} do not fit: {sorted(wrong)}")
    return model.eval().requires_grad_(False), known_tokens


def load_photo_vit(name: str = VIT) -> tuple[CLIP, frozenset[int]]:
    """The committed model, and the token ids that its text encoder was trained on.

    Raises:
        ValueError: damaged or missing weights, on either side, with the remedy.
    """
    return assemble(read(name))
