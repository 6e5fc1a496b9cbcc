"""Page 17, its first part: changes of a prompt that a tower should not see.

Each is a function of a tower, a size and a seed: what Information Density is taken of before and
after the change, how block 1 reads it, and what the tower makes of it. Symbols: n vectors, d and w
widths of the text and the image encoder, e embedding size, B images.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from dip_lib.clip.arbitrary_words import arbitrary_words
from dip_lib.clip.backbone import Backbone
from dip_lib.clip.prompted_vision import encode_prompted, image_as_read, image_width
from dip_lib.clip.same_model import moved_gauge
from dip_lib.methods.cocoop import CoCoOp
from dip_lib.methods.maple import MaPLe
from dip_lib.methods.prompts import FrozenClip, Learned, random_vectors
from dip_lib.randomness import normal

WORDS = "a photo of a"


@dataclass(frozen=True, eq=False)
class Change:
    """A prompt before and after a change of one size.

    Attributes:
        prompt: (n, d) each.
        read: what block 1 reads of either, (n, d).
        output: what the tower makes of any prompt (n, d): entries of unit embeddings, or cosines
            of these with images.
        after: the same of the changed prompt, with whatever else was changed.
    """

    prompt: tuple[Tensor, Tensor]
    read: tuple[Tensor, Tensor]
    output: Callable[[Tensor], Tensor]
    after: Tensor


Invariance = Callable[[Backbone, float, int], Change]


def _names(clip: Backbone) -> tuple[str, ...]:
    return arbitrary_words(clip, (WORDS,), 5)


def _constant(prompt: Tensor, size: float, seed: int) -> Tensor:
    """a 1^T with random a (n, 1), ``size`` times the prompt's standard deviation."""
    a = normal(seed, (len(prompt), 1), 1).to(prompt)
    return (size * prompt.std() * a).expand_as(prompt)


def _vector(prompt: Tensor, size: float, seed: int) -> Tensor:
    """A random vector (d,), ``size`` times the prompt's standard deviation."""
    return size * prompt.std() * normal(seed, prompt.shape[1:], 3).to(prompt)


def _picture(clip: Backbone, seed: int) -> Tensor:
    """Noise as the encoder reads a picture, for one run: (1, 1, 3, S, S)."""
    return normal(seed, (1, 1, 3, clip.image_size, clip.image_size), 5).to(clip.device)


def constant(clip: Backbone, size: float, seed: int) -> Change:
    """A constant added to all entries of a token: P + a 1^T."""
    names, prompt = _names(clip), clip.context(WORDS)

    def output(p: Tensor) -> Tensor:
        return clip.class_embeddings(p, names)

    after = prompt + _constant(prompt, size, seed)
    return Change(
        (prompt, after), (clip.as_read(prompt), clip.as_read(after)), output, output(after)
    )


def deep_constant(clip: Backbone, size: float, seed: int) -> Change:
    """The same in the prompts of deeper blocks, which these read as they are."""
    names, context = _names(clip), clip.context(WORDS)

    def output(p: Tensor) -> Tensor:
        return clip.class_embeddings(context, names, (p, p))

    prompt = random_vectors(seed, context.shape, 2).to(context)
    both = prompt, prompt + _constant(prompt, size, seed)
    return Change(both, both, output, output(both[1]))


def gauge(clip: Backbone, size: float, seed: int) -> Change:
    """A vector moved from the token table to the positional embeddings: the same model."""
    names, prompt = _names(clip), clip.context(WORDS)

    def output(p: Tensor) -> Tensor:
        return clip.class_embeddings(p, names)

    moved = moved_gauge(clip, _vector(prompt, size, seed))
    after = moved.context(WORDS)
    reads = clip.as_read(prompt), moved.as_read(after)
    return Change((prompt, after), reads, output, moved.class_embeddings(after, names))


def image_scale(clip: Backbone, size: float, seed: int) -> Change:
    """Image prompts of block 1, behind ``ln_pre``: tokens times different numbers from 1 to 1 +
    ``size``."""
    pixels, shape = _picture(clip, seed), (4, image_width(clip))

    def output(p: Tensor) -> Tensor:
        return encode_prompted(clip, pixels, [p[None]])

    prompt = random_vectors(seed, shape, 4).to(clip.device)
    after = prompt * torch.linspace(1, 1 + size, len(prompt), device=clip.device)[:, None]
    reads = image_as_read(clip, prompt), image_as_read(clip, after)
    return Change((prompt, after), reads, output, output(after))


def absorbed_shift(clip: Backbone, size: float, seed: int) -> Change:
    """CoCoOp: a vector added to every token and taken from its meta-net's last bias."""
    method, frozen = CoCoOp(context=WORDS), FrozenClip(clip, _names(clip), "{}", {})
    width = clip.model.text_projection.shape[1]
    images = F.normalize(normal(seed, (3, width), 6), dim=-1).to(clip.device)
    start = method.start(frozen, seed)
    (prompt,), (w1, b1, w2, b2) = start.prompts, start.others

    def output(p: Tensor, bias: Tensor = b2) -> Tensor:
        learned = Learned((p[None],), (w1[None], b1[None], w2[None], bias[None]))
        return method.classifier(learned, frozen, frozen.names)(images) / clip.logit_scale

    def read(p: Tensor, bias: Tensor) -> Tensor:
        return clip.as_read(p + F.linear(F.linear(images[0], w1, b1).relu(), w2, bias))

    vector = _vector(prompt, size, seed)
    after, bias = prompt + vector, b2 - vector
    return Change(
        (prompt, after), (read(prompt, b2), read(after, bias)), output, output(after, bias)
    )


def coupled_constant(clip: Backbone, size: float, seed: int) -> Change:
    """MaPLe: a constant in the text prompt's tokens, which its linear layers hand to the images."""
    method, frozen = MaPLe(context=WORDS, depth=1), FrozenClip(clip, _names(clip), "{}", {})
    start, pixels = method.start(frozen, seed), _picture(clip, seed)
    layers = tuple(layer[None] for layer in start.others)

    def output(p: Tensor) -> Tensor:
        return method.encode(Learned((p[None],), layers), frozen, pixels)

    (prompt,) = start.prompts
    after = prompt + _constant(prompt, size, seed)
    return Change(
        (prompt, after), (clip.as_read(prompt), clip.as_read(after)), output, output(after)
    )


ON_TEXT: Mapping[str, Invariance] = {
    "constant in a token": constant,
    "constant in deep prompts": deep_constant,
    "gauge of the tables": gauge,
    "CoCoOp absorbs a shift": absorbed_shift,
}
ON_IMAGES: Mapping[str, Invariance] = {
    "image token's scale": image_scale,
    "constant through MaPLe": coupled_constant,
}
"""What needs an image encoder with blocks."""
CHANGES = (*ON_TEXT, *ON_IMAGES)
