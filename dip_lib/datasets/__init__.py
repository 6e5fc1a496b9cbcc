"""Datasets: images, labels and class names behind one face, and the protocols' splits."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Protocol

import torch
from torch import Tensor

from dip_lib.datasets.photos import PHOTOS, load_photos
from dip_lib.datasets.splits import base_new, few_shot, harmonic_mean
from dip_lib.errors import one_of
from glyph_world import families

__all__ = ["Dataset", "base_new", "few_shot", "harmonic_mean", "load_dataset"]


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

    def __hash__(self) -> int: ...
    def labels(self, split: str) -> Tensor:
        """(N,) class index of every image of "train", "val" or "test"."""
        ...

    def groups(self, split: str) -> list[str]:
        """(N) name of the sub-population of each image; all alike where there is only one."""
        ...

    def batches(
        self,
        split: str,
        views: Sequence[int | None] = (None,),
        rows: Sequence[int] | None = None,
        size: int | None = None,
        device: str | torch.device = "cpu",
    ) -> Iterator[Tensor]:
        """The split's images in order, all views of an image together: (V, B, 3, S, S) in 0..1.

        Args:
            split: "train", "val" or "test".
            views: None for the image itself, a number for an augmented view of it.
            rows: ascending indices of the images wanted; default all.
            size: S, the side of the images; default the dataset's own.
            device: where the images are augmented and handed over.
        """
        ...


def load_dataset(
    name: str, style: str = "default", data: str | os.PathLike[str] | None = None
) -> Dataset:
    """A dataset by name.

    Args:
        name: a family of Glyph World, "source" or one of its shifts; or one of the field's
            fifteen photo datasets.
        style: the style a family is drawn in; "default" is its own. Photos have no other.
        data: the folder that holds the photo datasets; default the variable ``DATA``.

    Raises:
        ValueError: an unknown name or style, with the nearest names; for photos also what
            :func:`dip_lib.datasets.photos.load_photos` says.
    """
    one_of("dataset", name, (*families.NAMES, *PHOTOS))
    if name not in PHOTOS:
        return families.glyph_dataset(name, style)
    if style != "default":
        raise ValueError(f"{name} is photos, which have no style {style!r}; leave the style out")
    return load_photos(name, data)
