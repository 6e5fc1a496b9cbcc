"""The interface of a dataset (images, labels, class names), and datasets by name."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from dip_lib.data.class_tree import SPLITS
from dip_lib.data.packed import PackedDataset, packed_dataset
from dip_lib.data.photos import PHOTOS, has_pictures, load_photos, warn_of_counts
from dip_lib.data.prepared import NAMES, TASKS, load_prepared, prepared
from dip_lib.errors import one_of
from dip_lib.plugins import plugins


class Dataset(Protocol):
    """The interface that the rest of the library needs of a dataset."""

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


@dataclass(frozen=True)
class DatasetSource:
    """Datasets that a package brings: the object of an entry point "dip_lib.datasets".

    Attributes:
        world: what the pages call the world they belong to ("Glyph World").
        names: of the datasets.
        load: (name, style) -> the dataset; style "default" is its own.
        styles: dataset -> the style that is its own, where datasets can be drawn in others.
        titles: dataset -> its name for readers, where that differs ("Caltech101").
        pictures: dataset -> where its pictures come from, if it has files: the name of one of the
            field's photo datasets, which `dip data get` fetches, or what to do by hand.
        sealed: dataset -> what opens it. Until then no run of it is measured or kept, so that it
            can test what was decided before it was looked at.
    """

    world: str
    names: tuple[str, ...]
    load: Callable[[str, str], Dataset]
    styles: Mapping[str, str] = field(default_factory=dict)
    titles: Mapping[str, str] = field(default_factory=dict)
    pictures: Mapping[str, str] = field(default_factory=dict)
    sealed: Mapping[str, str] = field(default_factory=dict)


def dataset_source(name: str) -> DatasetSource | None:
    """The package's source that brings the dataset; None for photo datasets and unknown names."""
    return next((each for each in plugins("dip_lib.datasets") if name in each.names), None)


def dataset_title(name: str) -> str:
    """What readers call a dataset: its title, or its name."""
    if known := prepared(name):
        return known[0].title
    source = dataset_source(name)
    return source.titles.get(name, name) if source else name


def picture_sources() -> dict[str, str]:
    """Dataset -> where its pictures come from, if not from `dip data get`: of packages
    (:attr:`DatasetSource.pictures`), and the tasks of VTAB-1k and FGVC."""
    brought = {k: v for source in plugins("dip_lib.datasets") for k, v in source.pictures.items()}
    return brought | {name: task.get for name, task in TASKS.items()}


def check_open(name: str) -> None:
    """Raise ValueError for a sealed dataset; says what opens it."""
    source = dataset_source(name)
    if source and name in source.sealed:
        raise ValueError(
            f"{name} is sealed: no run of it is measured or kept until it is opened by "
            f"{source.sealed[name]}, in a commit of its own"
        )


def dataset_names(folders: Iterable[str] = ()) -> list[str]:
    """Every valid name: of packages, of photo datasets, of the tasks of VTAB-1k and FGVC and their
    tuning parts, and of a profile's ``folders``."""
    brought = [each for source in plugins("dip_lib.datasets") for each in source.names]
    return [*brought, *PHOTOS, *NAMES, *folders]


def is_photos(name: str) -> bool:
    """Whether it is one of the field's photo datasets (:data:`dip_lib.data.photos.PHOTOS`)."""
    return name in PHOTOS


def packed_photos(name: str, data: str | os.PathLike[str] | None = None) -> PackedDataset | None:
    """A photo dataset from its feature packs; None if its pictures are there, or no pack is."""
    return None if has_pictures(name, data) else packed_dataset(name)


def load_dataset(
    name: str, style: str = "default", data: str | os.PathLike[str] | None = None
) -> Dataset:
    """A dataset by name.

    Args:
        name: one of the field's fifteen photo datasets, a task of VTAB-1k or FGVC
            (``dip_lib.data.prepared.NAMES``), or a dataset that an installed package brings,
            such as a family of Glyph World.
        style: the style it is drawn in; "default" is its own. Photos have no other.
        data: the folder that holds the photo datasets; default the variable ``DATA``. Photos whose
            folder is not there come from a feature pack (``dip_lib.data.packed``), if one is in
            the search path.

    Raises:
        ValueError: an unknown name or style, with the nearest names; for photos also what
            :func:`dip_lib.data.photos.load_photos`,
            ``dip_lib.data.prepared.load_prepared`` and ``dip_lib.data.packed.packed_dataset``
            say.
    """
    if source := dataset_source(name):
        return source.load(name, style)
    one_of("dataset", name, dataset_names())
    if style != "default":
        raise ValueError(f"{name} is photos and has no style {style!r}; leave the style out")
    if prepared(name):
        return load_prepared(name, data)
    if packed := packed_photos(name, data):
        counts = [len(packed.labels(split)) for split in SPLITS]
        warn_of_counts(PHOTOS[name], str(packed.files[0]), len(packed.class_names), counts)
        return packed
    return load_photos(name, data)
