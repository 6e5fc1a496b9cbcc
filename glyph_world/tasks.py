"""Glyph World's tasks for visual prompts: 1,000 images each, declared in ``tasks.toml``.

A task is two datasets. Its own trains on all 1,000 images and is tested on the test set;
"<task>-800" trains on the first 800 and is tested on the other 200, which choose settings. So test
images cannot be read by what chooses. Labels are evenly split in each part. There are no augmented
views, as VTAB has none: a crop would change how many letters an image shows.

Symbols: N images, S = 48 pixels.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache, cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dip_lib.data.prepared import TUNING
from dip_lib.errors import one_of
from glyph_world import scenes
from glyph_world.draw import draw
from glyph_world.families import CHUNK, DRAWING, glyph_dataset, resized, seed_of
from glyph_world.render import IMAGE_SIZE, render
from glyph_world.structured import DRAWINGS
from glyph_world.styles import STYLES
from glyph_world.world import FONTS, WORLD_FILE

FILE = Path(__file__).with_name("tasks.toml")
DECLARED = tomllib.loads(FILE.read_text("utf-8"))
IMAGES: Mapping[str, int] = DECLARED["images"]
TASKS: Mapping[str, Mapping[str, Any]] = DECLARED["tasks"]
NAMES = tuple(name + part for name in TASKS for part in ("", TUNING))
TEMPLATE = "a photo of a {}."
LOOKS = {**STYLES, "still": scenes.STILL}


@dataclass(frozen=True)
class TaskDataset:
    """One part of a task: :func:`task_dataset` makes them.

    Attributes:
        task: "how-many", ...
        tuning: whether it is the part that tunes and chooses.
    """

    task: str
    tuning: bool = False

    @property
    def name(self) -> str:
        return self.task + (TUNING if self.tuning else "")

    @property
    def template(self) -> str:
        return TEMPLATE

    @property
    def group(self) -> str:
        """ "natural", "specialised" or "structured"."""
        return str(TASKS[self.task]["group"])

    @cached_property
    def class_names(self) -> tuple[str, ...]:
        return _drawing(self.task)[0]

    @cached_property
    def fingerprint(self) -> str:
        """12 digits that change when any pixel of any split may change."""
        declared = TASKS[self.task]
        parts = (DRAWING, WORLD_FILE.read_bytes(), self, sorted(declared.items()), sorted(IMAGES))
        looks = asdict(LOOKS[declared["style"]])
        return hashlib.sha256(repr((parts, looks, CHUNK)).encode()).hexdigest()[:12]

    def _part(self, split: str) -> tuple[str, int, int]:
        """Which drawn images a split has: "tune" or "test", from the first to before the last."""
        train, val = IMAGES["train"], IMAGES["val"]
        one_of(f"split of {self.name}", split, ("train", "val", "test"))
        if split == "test" and not self.tuning:
            return "test", 0, IMAGES["test"]
        if split == "train":
            return "tune", 0, train if self.tuning else train + val
        return "tune", train, train + val

    def labels(self, split: str) -> Tensor:
        """(N,) class index of every image of the split."""
        _, begin, end = self._part(split)
        return torch.arange(begin, end) % len(self.class_names)

    def groups(self, split: str) -> list[str]:
        return ["all"] * len(self.labels(split))

    def batches(
        self,
        split: str,
        views: Sequence[int | None] = (None,),
        rows: Sequence[int] | None = None,
        size: int | None = None,
        device: str | torch.device = "cpu",
    ) -> Iterator[Tensor]:
        """The split's images in order: (V, <= 256, 3, S, S) in 0..1.

        Args:
            split: "train", "val" or "test".
            views: None alone, once or more often: the image itself.
            rows: ascending indices of the images wanted; default all.
            size: S; default 48, as they are drawn.
            device: where the images are handed over.

        Raises:
            ValueError: an augmented view, or ``rows`` out of order.
        """
        if any(view is not None for view in views):
            raise ValueError(f"{self.name} has no augmented views: give views=0")
        part, begin, end = self._part(split)
        wanted = np.arange(end - begin) if rows is None else np.array(rows, dtype=int)
        if (np.diff(wanted) <= 0).any():
            raise ValueError("Glyph World draws in order: give rows ascending, each once")
        images = _images(self.task, part)
        for chunk in torch.from_numpy(begin + wanted).split(CHUNK):
            chosen = images[chunk].to(device).expand(len(views), -1, -1, -1, -1)
            yield chosen if size in (None, IMAGE_SIZE) else resized(chosen, size)


def task_dataset(name: str, style: str = "default") -> TaskDataset:
    """A part of a task by name.

    Raises:
        ValueError: an unknown task, with the nearest names; another style than its own.
    """
    one_of("task of Glyph World", name, NAMES)
    if style != "default":
        raise ValueError(f"{name} has no style {style!r} but its own; leave the style out")
    return TaskDataset(name.removesuffix(TUNING), name.endswith(TUNING))


Masks = Callable[[np.ndarray, np.random.Generator], np.ndarray]


@cache
def _drawing(task: str) -> tuple[tuple[str, ...], Masks]:
    """The class names of a task, and what draws the masks of labels."""
    declared = TASKS[task]
    if declared["draws"] in DRAWINGS:
        names, one = DRAWINGS[declared["draws"]]
        return names[: declared["classes"]], lambda labels, random: np.stack(
            [one(int(label), random) for label in labels]
        )
    family = glyph_dataset(declared["family"])
    chosen = np.linspace(0, len(family.points) - 1, declared["classes"]).round().astype(int)
    points = [family.points[i] for i in chosen]
    return tuple(family.class_names[i] for i in chosen), lambda labels, random: np.stack(
        [_character(points[label], random) for label in labels]
    )


def _character(point: int, random: np.random.Generator) -> np.ndarray:
    """A character in one of the fonts that have it."""
    masks = [mask for font in FONTS if (mask := _mask(point, font)) is not None]
    return masks[random.integers(len(masks))]


@cache
def _mask(point: int, font: str) -> np.ndarray | None:
    return draw(point, font)


@lru_cache(maxsize=4)
def _images(task: str, part: str) -> Tensor:
    """All images of a part, (N, 3, S, S): drawn in about a second, then kept."""
    names, draws = _drawing(task)
    count = IMAGES["test"] if part == "test" else IMAGES["train"] + IMAGES["val"]
    random = np.random.default_rng(seed_of(task, part, "masks"))
    masks = torch.from_numpy(draws(np.arange(count) % len(names), random))
    source = torch.Generator().manual_seed(seed_of(task, part, "looks"))
    look = LOOKS[TASKS[task]["style"]]
    return torch.cat([render(each, look, source)[0] for each in masks.split(CHUNK)])
