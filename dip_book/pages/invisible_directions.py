"""Page 17, its first part: changes of a prompt that a tower cannot see, measured on each tower.

Each is a function of a tower, a size and a seed: what Information Density is taken of before and
after the change, how block 1 reads it, and what the tower makes of it. Symbols: n vectors, d and w
widths of the text and the image encoder, e embedding size, B images.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor

from dip_lib.clip.arbitrary_words import arbitrary_words
from dip_lib.clip.backbone import Backbone
from dip_lib.clip.prompted_vision import encode_prompted, image_as_read, image_width
from dip_lib.clip.same_model import moved_gauge, without_eps
from dip_lib.methods.cocoop import CoCoOp
from dip_lib.methods.maple import MaPLe
from dip_lib.methods.prompts import FrozenClip, Learned, random_vectors
from dip_lib.prompt.density import information_density
from dip_lib.randomness import normal

WORDS = "a photo of a"
SIZES = (1.0, 10.0, 100.0)
"""Of the change, as multiples of the prompt's standard deviation."""
EXACT = 1e-5
"""Largest change of an entry of a unit embedding that counts as rounding of float32: a token that
is changed by 100 deviations is rounded at 6e-6 of one."""
BEYOND = "up to eps"
FAILS = "fails"


class Change(NamedTuple):
    """A prompt before and after a change, and a random change of the same norm beside it."""

    prompt: tuple[Tensor, Tensor]  # (n, d)
    read: tuple[Tensor, Tensor]  # (n, d) what block 1 reads of it
    output: tuple[Tensor, Tensor]  # (..., e) unit embeddings, or their cosines with images
    random: Tensor  # the same after the random change


Invariance = Callable[[Backbone, float, int], Change]


def _names(clip: Backbone) -> tuple[str, ...]:
    return arbitrary_words(clip, (WORDS,), 5)


def _like(change: Tensor, seed: int) -> Tensor:
    """A random matrix with the norm of a change."""
    noise = normal(seed, change.shape, 7).to(change)
    return noise * change.norm() / noise.norm()


def _constant(prompt: Tensor, size: float, seed: int) -> Tensor:
    """a 1^T with random a (n, 1), ``size`` times the prompt's standard deviation."""
    a = normal(seed, (len(prompt), 1), 1).to(prompt)
    return (size * prompt.std() * a).expand_as(prompt)


def constant(clip: Backbone, size: float, seed: int) -> Change:
    """A constant added to all entries of a token: P + a 1^T."""
    prompt, names = clip.context(WORDS), _names(clip)
    added = _constant(prompt, size, seed)
    each = prompt, prompt + added, prompt + _like(added, seed)
    outputs = [clip.class_embeddings(p, names) for p in each]
    reads = clip.as_read(each[0]), clip.as_read(each[1])
    return Change(each[:2], reads, (outputs[0], outputs[1]), outputs[2])


def deep_constant(clip: Backbone, size: float, seed: int) -> Change:
    """The same in the prompts of deeper blocks, which these read as they are."""
    context, names = clip.context(WORDS), _names(clip)
    prompt = random_vectors(seed, context.shape, 2).to(context)
    added = _constant(prompt, size, seed)
    each = prompt, prompt + added, prompt + _like(added, seed)
    outputs = [clip.class_embeddings(context, names, (p, p)) for p in each]
    return Change(each[:2], each[:2], (outputs[0], outputs[1]), outputs[2])


def gauge(clip: Backbone, size: float, seed: int) -> Change:
    """A vector moved from the token table to the positional embeddings: the same model."""
    prompt, names = clip.context(WORDS), _names(clip)
    vector = size * prompt.std() * normal(seed, prompt.shape[1:], 3).to(prompt)
    moved = moved_gauge(clip, vector)
    other = moved.context(WORDS)
    each = [
        clip.class_embeddings(prompt, names),
        moved.class_embeddings(other, names),
        clip.class_embeddings(prompt + _like(other - prompt, seed), names),
    ]
    reads = clip.as_read(prompt), moved.as_read(other)
    return Change((prompt, other), reads, (each[0], each[1]), each[2])


def image_scale(clip: Backbone, size: float, seed: int) -> Change:
    """Image prompts of block 1, behind ``ln_pre``: tokens times different numbers from 1 to 1 +
    ``size``."""
    prompt = random_vectors(seed, (4, image_width(clip)), 4).to(clip.device)
    pixels = normal(seed, (1, 2, 3, clip.image_size, clip.image_size), 5).to(clip.device)
    added = prompt * torch.linspace(0, size, len(prompt), device=clip.device)[:, None]
    each = prompt, prompt + added, prompt + _like(added, seed)
    outputs = [encode_prompted(clip, pixels, [p[None]]) for p in each]
    reads = image_as_read(clip, each[0]), image_as_read(clip, each[1])
    return Change(each[:2], reads, (outputs[0], outputs[1]), outputs[2])


def absorbed_shift(clip: Backbone, size: float, seed: int) -> Change:
    """CoCoOp: a vector added to every token and taken from its meta-net's last bias."""
    names, images = _names(clip), _images(clip, seed)
    frozen = FrozenClip(clip, names, "{}", {})
    start = CoCoOp(context=WORDS).start(frozen, seed)
    (prompt,), (w1, b1, w2, b2) = start.prompts, start.others
    vector = size * prompt.std() * normal(seed, prompt.shape[1:], 3).to(prompt)
    others = (w1, b1, w2, b2), (w1, b1, w2, b2 - vector), (w1, b1, w2, b2)
    each = prompt, prompt + vector, prompt + _like(vector.expand_as(prompt), seed)
    reads, outputs = [], []
    for p, layers in zip(each, others, strict=True):
        learned = Learned((p[None],), tuple(layer[None] for layer in layers))
        logits = CoCoOp(context=WORDS).classifier(learned, frozen, names)(images)
        outputs.append(logits / clip.logit_scale)
        hidden = F.relu(F.linear(images[0], layers[0], layers[1]))
        reads.append(clip.as_read(p + F.linear(hidden, layers[2], layers[3])))
    return Change(each[:2], (reads[0], reads[1]), (outputs[0], outputs[1]), outputs[2])


def _images(clip: Backbone, seed: int) -> Tensor:
    """Random unit features (B, e)."""
    width = clip.model.text_projection.shape[1]
    return F.normalize(normal(seed, (3, width), 6), dim=-1).to(clip.device)


def coupled_constant(clip: Backbone, size: float, seed: int) -> Change:
    """MaPLe: a constant in the text prompt's tokens, which its linear layers hand to the images."""
    method, frozen = MaPLe(context=WORDS, depth=1), FrozenClip(clip, _names(clip), "{}", {})
    start = method.start(frozen, seed)
    (prompt,), layers = start.prompts, tuple(layer[None] for layer in start.others)
    pixels = normal(seed, (1, 2, 3, clip.image_size, clip.image_size), 5).to(clip.device)
    added = _constant(prompt, size, seed)
    each = prompt, prompt + added, prompt + _like(added, seed)
    outputs = [method.encode(Learned((p[None],), layers), frozen, pixels) for p in each]
    reads = clip.as_read(each[0]), clip.as_read(each[1])
    return Change(each[:2], reads, (outputs[0], outputs[1]), outputs[2])


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


@dataclass(frozen=True)
class Seen:
    """What a tower sees of a change.

    Attributes:
        changes: the largest change of an entry of its output at each of :data:`SIZES`.
        random: the same of random changes of the same norm.
        without_eps: the largest of ``changes`` where every LayerNorm's eps is 0; nan where it was
            not asked for, the change being exact.
        densities: of the prompt, of the prompt centred, and as read and centred: ID_1 before the
            change and after the largest.
    """

    changes: tuple[float, ...]
    random: tuple[float, ...]
    without_eps: float
    densities: Mapping[str, tuple[float, float]]

    @property
    def kind(self) -> str:
        """ "exact", "up to eps" or "fails", by :data:`EXACT`."""
        if max(self.changes) <= EXACT:
            return "exact"
        return BEYOND if self.without_eps <= EXACT else FAILS


def _largest(change: Change) -> float:
    before, after = change.output
    return float((after - before).abs().max())


@torch.no_grad()
def seen(clip: Backbone, invariance: Invariance, seed: int = 1) -> Seen:
    """What one tower sees of one change, at every size."""
    found = [invariance(clip, size, seed) for size in SIZES]
    changes = tuple(map(_largest, found))
    random = tuple(float((each.random - each.output[0]).abs().max()) for each in found)
    bare = float("nan")
    if max(changes) > EXACT:
        exact = without_eps(clip)
        bare = max(_largest(invariance(exact, size, seed)) for size in SIZES)
    last = found[-1]
    densities = {
        "ID₁": _pair(last.prompt, centred=False),
        "ID₁ centred": _pair(last.prompt, centred=True),
        "ID₁ as read": _pair(last.read, centred=True),
    }
    return Seen(changes, random, bare, densities)


def _pair(prompts: tuple[Tensor, Tensor], centred: bool) -> tuple[float, float]:
    before, after = (float(information_density(each, centred=centred)) for each in prompts)
    return before, after


def of_tower(clip: Backbone) -> dict[str, Seen]:
    """Every change that concerns a tower; a ResNet has no image tokens, Photo World's neither."""
    found = {name: seen(clip, each) for name, each in ON_TEXT.items()}
    try:
        image_width(clip)
    except ValueError:
        return found
    return found | {name: seen(clip, each) for name, each in ON_IMAGES.items()}


def kinds_table(towers: Mapping[str, Mapping[str, Seen]]) -> pd.DataFrame:
    """Tower x change: "exact", "up to eps" or "fails"; "" where a tower has no such tokens."""
    rows = {
        tower: {name: found[name].kind if name in found else "" for name in CHANGES}
        for tower, found in towers.items()
    }
    return pd.DataFrame(rows).T


def sizes_table(towers: Mapping[str, Mapping[str, Seen]]) -> pd.DataFrame:
    """Tower and change: the largest change at each size, that of a random change as large as the
    smallest, and the largest with eps = 0."""
    columns = [f"{size:g} SD" for size in SIZES]
    rows = {}
    for tower, found in towers.items():
        for name, each in found.items():
            row = dict(zip(columns, each.changes, strict=True))
            rows[tower, name] = row | {"random, 1 SD": each.random[0], "eps = 0": each.without_eps}
    return pd.DataFrame(rows).T


def densities_table(found: Mapping[str, Seen]) -> pd.DataFrame:
    """Of one tower: ID_1 before and after the largest change, of the prompt and as it is read."""
    rows = {
        name: {f"{which}, {when}": value for which, pair in each.densities.items()
               for when, value in zip(("before", "after"), pair, strict=True)}
        for name, each in found.items()
    }  # fmt: skip
    return pd.DataFrame(rows).T
