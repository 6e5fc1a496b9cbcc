"""Class names that belong to no dataset: words that a text encoder knows.

How far a prompt moves their embeddings shows, without images and without the names that it will
meet, how far it has left what CLIP knows.
"""

from __future__ import annotations

from collections.abc import Iterable

from dip_lib.clip.backbone import Backbone

SHORTEST = 3
"""Letters of the shortest word."""


def arbitrary_words(clip: Backbone, apart_from: Iterable[str], count: int = 64) -> tuple[str, ...]:
    """Words of one token, spread evenly over the alphabetical list of all that the encoder knows.

    Args:
        clip: whose tokenizer and training decide which words there are.
        apart_from: class names, of whose words none is taken.
        count: how many words; fewer where the encoder knows fewer.

    Returns:
        The same words on every machine.
    """
    taken = {word for name in apart_from for word in name.replace("_", " ").lower().split()}
    every = clip.known_words or [
        piece.removesuffix("</w>")
        for piece in sorted(clip.tokenizer.decoder.values())
        if piece.endswith("</w>")
    ]
    usable = [
        word
        for word in every
        if word.isascii() and word.isalpha() and len(word) >= SHORTEST and word not in taken
    ]
    if len(usable) <= count:
        return tuple(usable)
    return tuple(usable[i * len(usable) // count] for i in range(count))
