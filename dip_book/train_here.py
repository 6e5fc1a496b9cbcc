"""What the page that learns is given: image features, pictures and words, as small files.

``python -m dip_book.train_here`` writes ``book/train_here/`` and the pictures in
``book/_static/train/pictures/``, the same on every call. The page trains prompts in the browser.
Each family of Glyph World comes with image features: of one few-shot draw in all views, and of all
test images. A number of a feature is one of eight levels, three bits. The page is tested against
the library on the same rounded features (:class:`Given`).

Symbols: V views, N training images, M test images, e embedding size.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors import safe_open
from safetensors.numpy import save
from torch import Tensor

from dip_lib import load_backbone
from dip_lib.clip.backbone import Backbone
from dip_lib.clip.features import encode_split, encode_views
from dip_lib.data.protocols import Classes, draw
from dip_lib.paths import root
from glyph_world.captions import tokenizer
from glyph_world.families import glyph_dataset
from glyph_world.models import weights_path
from glyph_world.world import FAMILIES

TOWER = "glyph-resnet"
SHOTS, VIEWS, SEED = 16, 4, 1
"""Of the draw whose features the page has: those of the profile ``embedded-full``, first seed."""
BITS = 3
SHOWN = 8
"""Test images of base and as many of new classes that the page shows, four in a row."""
TILE = 48
ABOUT = "about"
"""The one entry of a file's metadata: safetensors writes several in no fixed order."""

Numbers = NDArray[np.float32]


@dataclass(frozen=True)
class Given:
    """What the page has of one family.

    Attributes:
        names: of all classes; the first ``base`` are trained.
        train: (V, N, e) unit features of the few-shot draw of the base classes.
        test: (M, e) unit features of all test images.
        train_labels, test_labels: (N,) and (M,).
        shown: test images whose pictures the page shows.
    """

    names: tuple[str, ...]
    base: int
    train: Tensor
    test: Tensor
    train_labels: Tensor
    test_labels: Tensor
    shown: tuple[int, ...]

    @classmethod
    def read(cls, path: Path) -> Given:
        """A family as the page reads it."""
        with safe_open(path, "numpy") as file:
            about = json.loads(file.metadata()[ABOUT])
            stored = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        size, levels = about["size"], stored["levels"]
        train, test = (torch.from_numpy(unpack(stored[s], levels, size)) for s in ("train", "test"))
        return cls(
            tuple(about["names"]),
            about["base"],
            train.view(about["views"], -1, size),
            test,
            torch.from_numpy(stored["train_labels"]).long(),
            torch.arange(len(about["names"])).repeat_interleave(about["per_class"]),
            tuple(about["shown"]),
        )


def best_levels(values: Numbers, bits: int = BITS, rounds: int = 60) -> Numbers:
    """The 2^bits numbers to which ``values`` can be rounded with least squared error (Lloyd)."""
    count = 2**bits
    levels = np.quantile(values, (np.arange(count) + 0.5) / count)
    for _ in range(rounds):
        nearest = np.searchsorted((levels[1:] + levels[:-1]) / 2, values)
        levels = np.bincount(nearest, values, count) / np.bincount(nearest, minlength=count)
    return levels.astype(np.float32)


def pack(values: Numbers, levels: Numbers) -> NDArray[np.uint8]:
    """Numbers as places of their nearest levels, without gaps, the first in the highest bits."""
    places = np.searchsorted((levels[1:] + levels[:-1]) / 2, values.ravel()).astype(np.uint8)
    bits = int(np.log2(len(levels)))
    return np.packbits(np.unpackbits(places[:, None], axis=1)[:, 8 - bits :])


def unpack(packed: NDArray[np.uint8], levels: Numbers, size: int) -> Numbers:
    """The reverse of :func:`pack`, as rows of ``size`` numbers scaled to unit length."""
    bits = int(np.log2(len(levels)))
    count = 8 * len(packed) // (bits * size) * size
    each = np.unpackbits(packed)[: count * bits].reshape(count, bits)
    rows = levels[each @ (1 << np.arange(bits)[::-1])].reshape(-1, size).astype(np.float64)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def write_family(name: str, clip: Backbone, data: Path, pictures: Path) -> None:
    """One family's features into ``data``, and the pictures that are shown into ``pictures``."""
    dataset = glyph_dataset(name)
    drawn, _ = draw(dataset.labels, SHOTS, SEED, Classes())
    base, new = Classes().part(range(len(dataset.class_names)))
    train = encode_views(clip, dataset, "train", range(VIEWS), drawn).numpy()
    test = encode_split(clip, dataset, "test").numpy()
    per_class = len(test) // len(dataset.class_names)
    halves = (np.linspace(half[0], half[-1], SHOWN).round() for half in (base, new))
    shown = [per_class * int(label) for half in halves for label in half]
    levels = best_levels(train.ravel())
    about = {
        "names": dataset.class_names,
        "base": len(base),
        "views": VIEWS,
        "size": train.shape[-1],
        "per_class": per_class,
        "shown": shown,
        "style": dataset.style,
    }
    stored: dict[str, NDArray[Any]] = {
        "levels": levels,
        "train": pack(train, levels),
        "test": pack(test, levels),
        "train_labels": dataset.labels("train").numpy()[drawn].astype(np.uint8),
    }
    content = save(stored, {ABOUT: json.dumps(about)})
    (data / f"{name}.safetensors").write_bytes(content)
    (images,) = torch.cat(list(dataset.batches("test", rows=sorted(shown))), 1)
    rows = (images * 255).byte().permute(0, 2, 3, 1).reshape(-1, 4, TILE, TILE, 3)
    sheet = rows.permute(0, 2, 1, 3, 4).reshape(-1, 4 * TILE, 3)
    Image.fromarray(sheet.numpy()).save(pictures / f"{name}.webp", quality=80, method=6)


def vocabulary(known: NDArray[np.int32]) -> dict[str, str]:
    """The tokens that the text encoder knows, and the merges whose halves occur in these.

    Each is one text with blanks between; merges are pairs, the first of which applies first.

    A word that is split into known tokens meets no other merge, and what any other word meets
    first among these leads to an unknown token: the page needs no more of CLIP's 48,894.
    """
    words = tokenizer()
    merges = {first + second: (first, second) for first, second in words.bpe_ranks}
    pieces: set[str] = set()
    left = [words.decoder[int(token)] for token in known]
    while left:
        if (piece := left.pop()) not in pieces:
            pieces.add(piece)
            left += merges.get(piece, ())
    inside = [f"{a} {b}" for a, b in words.bpe_ranks if a in pieces and b in pieces]
    tokens = [words.decoder[int(token)] for token in known]
    return {"tokens": " ".join(tokens), "merges": " ".join(inside)}


def attention_pool(clip: Backbone) -> dict[str, Numbers]:
    """The image encoder's attention pool as few numbers, of an image that fills one place m.

    It reads m twice, with two positions p: as their mean and as itself. So its keys differ by a
    constant, a head's share s is a logistic function of m, and its output is
    ``whole m + constant + sum_h s_h first_h + (1 - s_h) second_h``, s_h =
    ``sigmoid(question_h m + threshold_h)``: a tenth of the weights, the same function.
    """
    pool = clip.model.visual.attnpool
    q, k, v, c = (
        getattr(pool, f"{name}_proj").weight.detach().double() for name in ("q", "k", "v", "c")
    )
    asked, told, out = (getattr(pool, f"{n}_proj").bias.detach().double() for n in ("q", "v", "c"))
    places = pool.positional_embedding.detach().double()  # (2, d)
    heads = pool.num_heads
    apart = (k @ (places[0] - places[1])).view(heads, -1, 1) / (len(k) / heads) ** 0.5
    question = (q.view(heads, -1, len(q)) * apart).sum(1)  # (H, d)
    by_head = c.view(len(c), heads, -1).transpose(0, 1)  # (H, e, h)
    first, second = (
        (by_head @ (v @ place).view(heads, -1, 1)).squeeze(-1) for place in places
    )  # (H, e)
    found = {
        "whole": c @ v,
        "constant": c @ told + out,
        "question": question,
        "threshold": question @ places[0] + (asked.view(heads, -1, 1) * apart).sum((1, 2)),
        "first": first,
        "second": second,
    }
    return {f"pool.{name}": tensor.float().numpy() for name, tensor in found.items()}


def main() -> None:
    """Write every file of the page that is committed, into the checkout."""
    if not (checkout := root()):
        raise SystemExit("the page's files are written into a checkout: run this in a clone")
    data = checkout / "book" / "train_here"
    pictures = checkout / "book" / "_static" / "train" / "pictures"
    for folder in (data, pictures):
        folder.mkdir(exist_ok=True)
    clip = load_backbone(TOWER)
    with safe_open(weights_path(TOWER), "numpy") as file:
        known = file.get_tensor("token_ids")
    (data / "vocabulary.json").write_text(json.dumps(vocabulary(known)) + "\n", "utf-8")
    (data / "image_tower.safetensors").write_bytes(save(attention_pool(clip)))
    for name in FAMILIES:
        write_family(name, clip, data, pictures)


if __name__ == "__main__":
    main()
