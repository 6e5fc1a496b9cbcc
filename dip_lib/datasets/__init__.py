"""Datasets: images, labels and class names behind one face, and the protocols' splits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from torch import Tensor

from dip_lib.datasets.splits import base_new, few_shot, harmonic_mean
from dip_lib.errors import one_of
from dip_lib.glyphs import families

__all__ = ["Dataset", "base_new", "few_shot", "harmonic_mean", "load_dataset"]


PHOTOGRAPHS = (
    "imagenet",
    "caltech101",
    "oxford_pets",
    "stanford_cars",
    "flowers102",
    "food101",
    "fgvc_aircraft",
    "sun397",
    "dtd",
    "eurosat",
    "ucf101",
)
"""The eleven datasets of the profile ``paper``."""


class Dataset(Protocol):
    """What the rest of the library asks of a dataset."""

    @property
    def name(self) -> str: ...
    @property
    def class_names(self) -> tuple[str, ...]: ...
    @property
    def template(self) -> str:
        """The hand-written zero-shot template, with {} for the class name."""
        ...

    @property
    def fingerprint(self) -> str:
        """Changes whenever any image of any split may change."""
        ...

    def labels(self, split: str) -> Tensor:
        """(N,) class index of every image of "train", "val" or "test"."""
        ...

    def groups(self, split: str) -> list[str]:
        """(N) name of the sub-population of each image; all alike where there is only one."""
        ...

    def batches(self, split: str, view: int | None = None) -> Iterator[Tensor]:
        """The split's images in order, (B, 3, S, S) in 0..1; ``view`` numbers an augmented one."""
        ...


def load_dataset(name: str, style: str = "default") -> Dataset:
    """A dataset by name.

    Args:
        name: a family of Glyph World, "source" or one of its shifts.
        style: the style a family is drawn in; "default" is its own.

    Raises:
        ValueError: an unknown name or style, with the nearest names; a photo dataset.
    """
    if name in PHOTOGRAPHS:
        raise ValueError(
            f"dataset {name!r} is one of the field's photo datasets, which this version cannot "
            "read yet. Use the profile 'embedded', or a dataset of Glyph World: "
            f"{', '.join(families.NAMES)}."
        )
    one_of("dataset", name, families.NAMES)
    return families.glyph_dataset(name, style)
