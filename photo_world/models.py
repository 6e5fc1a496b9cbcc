"""The CLIPs of Photo World: open_clip's own ``CLIP`` class in a small configuration.

One image encoder, EfficientNet-Lite0 through timm with a linear projection, and a text encoder for
each name (width 192, 4 layers, 32 positions, open_clip's byte-pair vocabulary). Projection and
text encoders are committed in half precision; of the embedding table only the rows of tokens that
were trained. Without the package of the image encoder's weights everything but pixels works.
"""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from dip_lib.errors import DamagedFileError, one_of
from photo_world import trunk

if TYPE_CHECKING:
    from open_clip import SimpleTokenizer
    from open_clip.model import CLIP

WEIGHTS = Path(__file__).with_name("weights")
CARD = WEIGHTS / "weights.json"
"""Name -> sha256 of the weights file, recipe and measured accuracy; written by pre-training."""
PROJECTION, VIT = "projection", "photo-vit"
NAMES = ("photo-lite0", "photo-lite0-4", "photo-lite0-b")
"""One web photograph a class in pre-training; four; one, pre-trained with another seed.
``photo-vit`` (:mod:`photo_world.vit`) has an image encoder of its own."""
STORED = (*NAMES, PROJECTION, VIT)
"""What has a file of weights."""

VOCABULARY = 49_408
EMBEDDING = 256
TEXT = {"context_length": 32, "vocab_size": VOCABULARY, "width": 192, "heads": 4, "layers": 4}
VISION: dict[str, Any] = {
    "timm_model_name": trunk.TIMM_NAME,
    "timm_model_pretrained": False,
    "timm_pool": "avg",
    "timm_proj": "linear",
    "timm_proj_bias": True,
    "image_size": 224,
}
MEAN, STD = 0.5, 0.5
"""Normalisation of the images, the same for the three colours; ImageNet's would cost 10 points."""

PROGRAMS = {VIT: "pretrain_vit.py WORK --photos DATA"}
"""Backbone -> the program that trains its weights, where it is not the text encoders'."""


def remedy(name: str) -> str:
    """How to get the weights of ``name`` back, or for the first time."""
    program = PROGRAMS.get(name, "pretrain_photos.py")
    return (
        "Restore it (git checkout, or install the package again) if it is committed, or train it "
        f"with `python pretraining/photo_world/{program}`."
    )


class NoTrunk(nn.Module):
    """In the place of the image encoder where its package is not installed."""

    def __init__(self, projection: nn.Module) -> None:
        super().__init__()
        self.image_size = (VISION["image_size"],) * 2
        self.head = projection

    def forward(self, images: Tensor) -> Tensor:
        """Raises MissingTrunkError."""
        raise trunk.MissingTrunkError


@cache
def tokenizer() -> SimpleTokenizer:
    """open_clip's tokenizer at the text encoders' context length."""
    from open_clip import SimpleTokenizer

    return SimpleTokenizer(context_length=TEXT["context_length"])


def normalise(images: Tensor) -> Tensor:
    """Images in 0..1 to the encoder's input; any shape."""
    return (images - MEAN) / STD


def build() -> CLIP:
    """The untrained model, on the CPU."""
    from open_clip.model import CLIP

    return CLIP(embed_dim=EMBEDDING, vision_cfg=VISION, text_cfg=TEXT)


def weights_path(name: str) -> Path:
    """The committed file of a text encoder, of the projection or of ``photo-vit``'s images."""
    return WEIGHTS / f"{one_of('photo backbone', name, STORED)}.safetensors"


def recorded_hash(name: str) -> str:
    """sha256 that the model card records for the file of ``name``."""
    card = json.loads(CARD.read_text())
    if name not in card and name in STORED:
        raise DamagedFileError(str(CARD), f"it does not list {name}. {remedy(name)}")
    return str(card[one_of("weights", name, STORED)]["sha256"])


def digest_of(*hashes: str) -> str:
    """12 digits of several hashes together."""
    return hashlib.sha256(" ".join(hashes).encode()).hexdigest()[:12]


def image_fingerprint() -> str:
    """Changes when the image encoder's weights or the projection change; shared by all names."""
    return digest_of(trunk.SHA256, recorded_hash(PROJECTION))


def fingerprint(name: str) -> str:
    """Changes when any weights of backbone ``name`` change, on either side."""
    return digest_of(
        trunk.SHA256, recorded_hash(PROJECTION), recorded_hash(one_of("backbone", name, NAMES))
    )


def read(name: str) -> dict[str, Tensor]:
    """The tensors of a committed file, as stored.

    Raises:
        DamagedFileError: a file that is missing, cannot be read or is not the card's.
    """
    path = weights_path(name)
    if not path.is_file():
        raise DamagedFileError(str(path), f"it is missing. {remedy(name)}")
    data, recorded = path.read_bytes(), recorded_hash(name)
    if (digest := hashlib.sha256(data).hexdigest()) != recorded:
        reason = f"sha256 {digest[:12]}…, expected {recorded[:12]}…. {remedy(name)}"
        raise DamagedFileError(str(path), reason)
    try:
        tensors: dict[str, Tensor] = load(data)
    except SafetensorError as error:
        raise DamagedFileError(str(path), f"{error}. {remedy(name)}") from error
    return tensors


def pack(text: CLIP, token_ids: np.ndarray) -> bytes:
    """A pre-trained text encoder as safetensors bytes.

    Args:
        text: its embedding table has a row for each of ``token_ids``; its image side is left out.
        token_ids: (V,) the tokens of the full vocabulary.
    """
    kept = {
        key: value.half().contiguous()
        for key, value in text.state_dict().items()
        if not key.startswith("visual.") and key != "attn_mask"
    }
    return save(kept | {"token_ids": torch.from_numpy(token_ids.astype(np.int32))})


def text_side(name: str) -> tuple[dict[str, Tensor], frozenset[int]]:
    """State of the text encoder with the full embedding table, fp32, and the tokens it has seen."""
    stored = read(name)
    token_ids = stored.pop("token_ids").long()
    state = {key: value.float() for key, value in stored.items()}
    table = torch.zeros(VOCABULARY, TEXT["width"])
    table[token_ids] = state["token_embedding.weight"]
    return state | {"token_embedding.weight": table}, frozenset(token_ids.tolist())


def load_photo_clip(name: str) -> tuple[CLIP, frozenset[int]]:
    """The committed model, frozen, fp32 on the CPU, and the token ids it was trained on.

    Without the image encoder's package its ``visual`` raises when it is called, and only then.

    Raises:
        ValueError: an unknown name; damaged weights, of the world or of the package.
    """
    state, known_tokens = text_side(one_of("photo backbone", name, NAMES))
    model = build()
    projection = read(PROJECTION)
    head = model.visual.head.proj
    head.weight.data, head.bias.data = projection["weight"].float(), projection["bias"].float()
    missing, unexpected = model.load_state_dict(state, strict=False)
    if unexpected or any(not key.startswith("visual.") and key != "attn_mask" for key in missing):
        raise ValueError(f"weights of {name} do not fit: missing {missing}, unknown {unexpected}")
    try:
        trunk.load_trunk(model.visual.trunk)
    except trunk.MissingTrunkError:
        model.visual = NoTrunk(model.visual.head)
    return model.eval().requires_grad_(False), known_tokens
