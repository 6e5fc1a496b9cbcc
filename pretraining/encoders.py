"""Both encoders of a small CLIP as pre-training uses them: shorter texts, bf16, compiled.

Symbols: B images or texts, L positions, e embedding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

import torch
import torch.nn.functional as F
from open_clip.model import CLIP
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from glyph_world.captions import vocabulary
from glyph_world.models import VISION, build, load_glyph_clip


def compact(name: str) -> CLIP:
    """A finished backbone with the compact vocabulary, frozen."""
    whole, _ = load_glyph_clip(name)
    model = build(name, len(vocabulary()))
    state = whole.state_dict()
    state["token_embedding.weight"] = state["token_embedding.weight"][vocabulary()]
    model.load_state_dict(state, strict=False)
    return model.eval().requires_grad_(False)


def text_features(model: CLIP, tokens: Tensor) -> Tensor:
    """Unit text features (B, e) of (B, L) tokens; as the model's own, without its padding.

    The shorter half of the texts is encoded without the positions that only the longer half needs.
    """
    order = tokens.argmax(-1).argsort()  # by where the end token is, the largest
    halves = [_text_features(model, tokens[rows]) for rows in order.chunk(2)]
    return torch.cat(halves)[order.argsort()]


def _text_features(model: CLIP, tokens: Tensor) -> Tensor:
    length = int(tokens.argmax(-1).max()) + 1
    tokens = tokens[:, :length]
    x = model.token_embedding(tokens) + model.positional_embedding[:length]
    x = model.ln_final(model.transformer(x, attn_mask=model.attn_mask[:length, :length]))
    x = x[torch.arange(len(tokens)), tokens.argmax(-1)] @ model.text_projection
    return F.normalize(x.float(), dim=-1)


def convolutional(name: str) -> bool:
    """Whether the image encoder is a ResNet: it is always trained in bf16."""
    return "patch_size" not in VISION[name]


@contextmanager
def precision(bf16: bool, device: str) -> Iterator[None]:
    """Matrix products in bf16, or as they are."""
    # on a CPU the gradient of PyTorch's fused attention takes most of a step in bf16
    plain = sdpa_kernel(SDPBackend.MATH) if bf16 else nullcontext()
    with plain, torch.autocast(torch.device(device).type, torch.bfloat16, enabled=bf16):
        yield


def image_encoder(model: CLIP, compiled: bool, batch: int) -> Callable[[Tensor], Tensor]:
    """The model's own, compiled for batches of at most ``batch`` images if that is asked for."""
    if not compiled:
        return model.encode_image
    whole = torch.compile(model.encode_image, dynamic=False)

    def encode(images: Tensor) -> Tensor:
        # batches differ a little in size, and another size would compile anew: fill it up
        filled = F.pad(images, (0, 0, 0, 0, 0, 0, 0, batch - len(images)))
        return whole(filled)[: len(images)]

    return encode
