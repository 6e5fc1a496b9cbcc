"""The small CLIPs of Glyph World: open_clip's own ``CLIP`` class in a small configuration.

Their text encoders have one layout (width 128, 3 layers, 32 positions, open_clip's byte-pair
vocabulary). Only the embedding rows of tokens that occur in captions were trained; only those are
stored, in half precision, and scattered into the full table on loading.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from dip_lib.errors import one_of

if TYPE_CHECKING:
    from open_clip.model import CLIP

WEIGHTS = Path(__file__).with_name("weights")
CARD = WEIGHTS / "weights.json"
"""Name -> sha256 of the weights file, recipe and measured accuracy; written by pre-training."""

VOCABULARY = 49_408
TEXT = {"context_length": 32, "vocab_size": VOCABULARY, "width": 128, "heads": 4, "layers": 3}
RESNET = {"image_size": 48, "width": 16, "layers": [1, 1, 1, 1], "head_width": 64}
VIT = {"image_size": 48, "patch_size": 8, "width": 128, "head_width": 32, "layers": 4}
VISION: dict[str, dict[str, Any]] = {
    "glyph-resnet": RESNET,
    "glyph-vit": VIT,
    "glyph-resnet-b": RESNET,
    "glyph-resnet-c": RESNET,
    "glyph-vit-b": VIT,
}
"""Name -> image encoder of what can be pre-trained; :func:`committed` names those that were.
``glyph-vit`` has the text encoder of ``glyph-resnet``; every other has one of its own."""
EMBEDDING = 128
MEAN, STD = 0.5, 0.3
"""Normalisation of the images, the same for the three colours."""


def build(name: str, vocabulary: int = VOCABULARY) -> CLIP:
    """The untrained model ``name``; ``vocabulary`` is smaller during pre-training."""
    from open_clip.model import CLIP

    one_of("glyph backbone", name, VISION)
    return CLIP(
        embed_dim=EMBEDDING, vision_cfg=VISION[name], text_cfg=TEXT | {"vocab_size": vocabulary}
    )


def normalise(images: Tensor) -> Tensor:
    """Images in 0..1 to the encoders' input; any shape."""
    return (images - MEAN) / STD


def pack(model: CLIP, token_ids: np.ndarray) -> bytes:
    """Weights of a pre-trained model as safetensors bytes.

    Args:
        model: built with ``vocabulary = len(token_ids)``.
        token_ids: (V,) the token of the full vocabulary that each embedding row stands for.
    """
    kept = {"token_ids": torch.from_numpy(token_ids.astype(np.int32))}
    for key, value in model.state_dict().items():
        if key.endswith(("attn_mask", "num_batches_tracked")):
            continue
        # running statistics span more decades than half precision holds
        kept[key] = value if "running" in key else value.half()
    return save({key: value.contiguous() for key, value in kept.items()})


def unpack(name: str, data: bytes) -> tuple[CLIP, frozenset[int]]:
    """Model in fp32 and eval mode with the full embedding table, and the tokens it has seen."""
    stored = load(data)
    token_ids = stored.pop("token_ids").long()
    model = build(name)
    table = torch.zeros(VOCABULARY, TEXT["width"])
    table[token_ids] = stored["token_embedding.weight"].float()
    stored["token_embedding.weight"] = table
    missing, unexpected = model.load_state_dict(
        {key: value.float() for key, value in stored.items()}, strict=False
    )
    if unexpected or any(not k.endswith(("attn_mask", "num_batches_tracked")) for k in missing):
        raise ValueError(f"weights of {name} do not fit: missing {missing}, unknown {unexpected}")
    return model.eval().requires_grad_(False), frozenset(token_ids.tolist())


def weights_path(name: str) -> Path:
    return WEIGHTS / f"{one_of('glyph backbone', name, VISION)}.safetensors"


def committed() -> list[str]:
    """Names of the models that have weights, which the model card lists, in the order of VISION."""
    card = json.loads(CARD.read_text())
    return [name for name in VISION if name in card]


def fingerprint(name: str) -> str:
    """First 12 digits of the sha256 that the model card records for ``name``."""
    return str(json.loads(CARD.read_text())[one_of("glyph backbone", name, committed())]["sha256"])[
        :12
    ]


def load_glyph_clip(name: str) -> tuple[CLIP, frozenset[int]]:
    """The committed model, frozen, on the CPU, and the token ids it was trained on.

    Raises:
        ValueError: an unknown name; a weights file whose hash is not the card's or that cannot
            be read, with the remedy.
    """
    path = weights_path(name)
    remedy = (
        "Restore it (git checkout, or install the package again), or train it anew with "
        "`python pretraining/pretrain.py`."
    )
    if not path.is_file():
        raise ValueError(f"the weights {path} are missing. {remedy}")
    data = path.read_bytes()
    recorded = json.loads(CARD.read_text())[name]["sha256"]
    if (digest := hashlib.sha256(data).hexdigest()) != recorded:
        raise ValueError(
            f"the weights {path} are damaged: sha256 {digest[:12]}…, expected {recorded[:12]}…. "
            + remedy
        )
    try:
        return unpack(name, data)
    except SafetensorError as error:
        raise ValueError(f"the weights {path} cannot be read ({error}). {remedy}") from error
