"""Captions: what a drawn character is called during pre-training, and the tokens that occur."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from glyph_world.world import PRETRAINING_FONTS, characters, full_name, split_name

if TYPE_CHECKING:
    from open_clip import SimpleTokenizer

CONTEXT_LENGTH = 32
TEMPLATES = (
    "a photo of a {}.",
    "a photo of the {}.",
    "an image of a {}.",
    "a picture of a {}.",
    "a drawing of a {}.",
    "a rendering of a {}.",
    "the character {}.",
    "{}.",
    "a [look] photo of a {}.",
    "a [look] image of the {}.",
    "a photo of a [look] {}.",
    "a [look] {}.",
    "a photo of a {}, [look] style.",
)
FONT_WORDS = dict(
    zip(
        PRETRAINING_FONTS,
        ("sans", "bold", "italic", "mono", "serif", "italic serif", "roman", "bold roman"),
        strict=True,
    )
)
LOOKS: tuple[str, ...] = (
    "bold",
    "outline",
    "blurry",
    "pixelated",
    "noisy",
    "light",
    "textured",
    "large",
    "small",
)
LOOKS += ("tilted", *FONT_WORDS.values())


def _named(point: int, random: np.random.Generator) -> str:
    """A name of the character: full, short, with its group, or with words dropped."""
    full, (short, group) = full_name(point), split_name(point)
    draw = random.random()
    if draw < 0.5:
        return full
    if draw < 0.75:
        return short
    if group and draw < 0.92:
        return f"{short}, a type of {group}" if random.random() < 0.5 else f"{group} {short}"
    return " ".join(word for word in full.split() if random.random() > 0.2) or full


def caption(point: int, looks: list[str], random: np.random.Generator) -> str:
    """A caption of a character; ``looks`` are the words that describe this drawing of it."""
    template = TEMPLATES[random.integers(len(TEMPLATES))]
    look = looks[random.integers(len(looks))] if looks and random.random() < 0.8 else ""
    text = template.replace("[look]", look).replace("{}", _named(point, random))
    return " ".join(text.split()).replace(" ,", ",")


@cache
def tokenizer() -> SimpleTokenizer:
    """open_clip's tokenizer at the encoders' context length."""
    from open_clip import SimpleTokenizer

    return SimpleTokenizer(context_length=CONTEXT_LENGTH)


@cache
def vocabulary() -> np.ndarray:
    """Ascending ids of every token that a caption can hold, start and end token included."""
    encode = tokenizer().encode
    texts = [*LOOKS, *TEMPLATES, "a type of", ", style"]
    texts += [f"{name}, {name}." for p in characters() for name in (full_name(p), *split_name(p))]
    used = {t for text in texts for t in encode(text.replace("[look]", "").replace("{}", ""))}
    ends = {tokenizer().sot_token_id, tokenizer().eot_token_id}
    return np.array(sorted(used | ends))
