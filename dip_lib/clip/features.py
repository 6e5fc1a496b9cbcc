"""Image features, encoded once and kept on disk: prompts on the text side never change them.

A picture is drawn or decoded once for all the views that are missing. Symbols: V views, N images
of a split, e embedding size.
"""

from __future__ import annotations

import hashlib
import time
import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing import parent_process
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from dip_lib.clip.backbone import Backbone
from dip_lib.clip.feature_files import begun_parts, part_path, read_features, write_features
from dip_lib.clip.from_packs import packed_features
from dip_lib.data.dataset import Dataset
from dip_lib.data.packed import PackedDataset
from dip_lib.data.protocols import Draw
from dip_lib.errors import out_of_memory
from dip_lib.files import sweep
from dip_lib.paths import home

PIXELS = {"cpu": 2**19, "cuda": 2**24}
"""Pixels that an encoder encodes at once; on a CPU more would spill its caches."""
PART_SECONDS = 30.0
"""An interrupted encoding loses at most about this much work."""

View = int | None
Rows = Sequence[int] | None


@dataclass(frozen=True)
class Features:
    """What text-side training needs of a dataset: unit image features and labels, on one device.

    Attributes:
        train: (V, N, e), V augmented views of the training images.
        val, test: (M, e).
        labels: split -> (N,) class index of every image of the dataset.
        drawn: (split, rows) -> the features of these images, where only draws were encoded; then
            ``train`` and ``val`` are empty.
    """

    train: Tensor
    val: Tensor
    test: Tensor
    labels: dict[str, Tensor]
    drawn: Mapping[tuple[str, tuple[int, ...]], Tensor] = field(default_factory=dict)

    def pick(self, split: str, rows: Sequence[int]) -> Tensor:
        """Features of some images of the dataset: "train" (V, M, e), "val" and "test" (M, e)."""
        drawn = self.drawn.get((split, tuple(rows)))
        return getattr(self, split)[..., list(rows), :] if drawn is None else drawn


def batch_size(backbone: Backbone) -> int:
    """Images that an encoder encodes at once, while memory allows."""
    return max(1, PIXELS[backbone.device.type] // backbone.image_size**2)


def _encode(backbone: Backbone, images: Tensor, most: int) -> tuple[Tensor, int]:
    """Features (M, e) of images (M, 3, S, S) in 0..1, at most ``most`` at once.

    Out of memory halves ``most`` until it fits; what fitted is returned beside the features.
    """
    parts: list[Tensor] = []
    start = 0
    while start < len(images):
        try:
            batch = backbone.normalise(images[start : start + most])
            parts.append(backbone.encode_image(batch))
            start += most
        except RuntimeError as error:
            if not out_of_memory(error) or most == 1:
                raise
            if most == batch_size(backbone):
                warnings.warn(
                    f"out of memory with {most} images at once: continuing with fewer", stacklevel=5
                )
            most //= 2
    return torch.cat(parts), most


def _encode_rest(
    backbone: Backbone,
    dataset: Dataset,
    split: str,
    files: dict[View, Path],
    rows: Sequence[int],
    start: int,
    bar: tqdm,
) -> Tensor:
    """Features of ``rows[start:]`` in the views of ``files``: (V, M, e); keeps parts on disk."""
    parts: list[Tensor] = []
    begin, kept, since, most = start, 0, time.monotonic(), batch_size(backbone)
    size, device = backbone.image_size, backbone.device
    for images in dataset.batches(split, tuple(files), rows[start:], size, device):
        features, most = _encode(backbone, images.to(device).flatten(0, 1), most)
        parts.append(features.unflatten(0, images.shape[:2]))
        bar.update(len(features))
        if time.monotonic() - since > PART_SECONDS:
            new = torch.cat(parts[kept:], 1)
            for path, each in zip(files.values(), new, strict=True):
                write_features(part_path(path, begin), each)
            begin, kept, since = begin + new.shape[1], len(parts), time.monotonic()
    if not parts:  # an empty split has features of the right width
        nothing = torch.zeros(len(files), 3, size, size, device=device)
        return backbone.encode_image(nothing)[:, None][:, :0]
    return torch.cat(parts, 1)


def _encode_missing(
    backbone: Backbone, dataset: Dataset, split: str, files: dict[View, Path], rows: Sequence[int]
) -> dict[View, Tensor]:
    """Encode ``rows`` in the views of ``files`` and write these; resumes where it was interrupted.

    Views with the same images done resume together: each image is decoded once.
    """
    begun = {view: begun_parts(path, backbone.device) for view, path in files.items()}
    done = {view: sum(map(len, parts)) for view, parts in begun.items()}
    encoded: dict[View, Tensor] = {}
    label, total = f"encoding {split} of {dataset.name}", len(files) * len(rows)
    # what takes less than two seconds shows no bar, nor does one of many processes
    bar_options = {"unit": "image", "delay": 2, "leave": False}
    bar_options |= {"disable": True} if parent_process() else {}  # else as TQDM_DISABLE says
    with tqdm(desc=label, total=total, initial=sum(done.values()), **bar_options) as bar:
        for start in sorted(set(done.values())):
            group = {view: path for view, path in files.items() if done[view] == start}
            rest = _encode_rest(backbone, dataset, split, group, rows, start, bar)
            for view, features in zip(group, rest, strict=True):
                encoded[view] = torch.cat([*begun[view], features])
                write_features(files[view], encoded[view])
    return encoded


def encode_views(
    backbone: Backbone, dataset: Dataset, split: str, views: Sequence[View], rows: Rows = None
) -> Tensor:
    """Unit features (V, N, e) of one split, from the cache, or encoded now in one pass.

    A file is named by the contents (weights, dataset, split, view, rows), so it is never stale; a
    damaged one is named, replaced and encoded again. A long encoding shows its progress, and
    resumes where it was interrupted. A dataset that stands on feature packs is answered by them.

    Args:
        views: None for the images themselves, a number for an augmented view.
        rows: indices of the images wanted, in any order; default all.

    Raises:
        ValueError: a row that the split does not have; features that no pack holds.
    """
    count = len(dataset.labels(split))
    if rows and not 0 <= min(rows) <= max(rows) < count:
        raise ValueError(
            f"rows {min(rows)} to {max(rows)} asked for, but {split!r} of {dataset.name} has "
            f"{count} images, counted from 0"
        )
    if isinstance(dataset, PackedDataset):
        return packed_features(
            backbone, dataset, split, views, range(count) if rows is None else rows
        )
    wanted = range(count) if rows is None else sorted(set(rows))
    subset = "" if rows is None else f"|{wanted}"
    folder, files = home() / "features", dict[View, Path]()
    for view in views:
        what = f"{backbone.encodes_as}|{dataset.fingerprint}|{split}|{view}{subset}"
        files[view] = folder / f"{hashlib.sha256(what.encode()).hexdigest()[:16]}.safetensors"
    read = {view: read_features(path, backbone.device) for view, path in files.items()}
    by_view = {view: features for view, features in read.items() if features is not None}
    if missing := {view: path for view, path in files.items() if view not in by_view}:
        sweep(folder)
        by_view |= _encode_missing(backbone, dataset, split, missing, wanted)
    for path in files.values():
        for part in folder.glob(f"{path.stem}.*.part"):
            part.unlink(missing_ok=True)
    stacked = torch.stack([by_view[view] for view in views])
    if rows is None:
        return stacked
    place = {row: i for i, row in enumerate(wanted)}
    return stacked[:, [place[row] for row in rows]]


def encode_split(
    backbone: Backbone, dataset: Dataset, split: str, view: View = None, rows: Rows = None
) -> Tensor:
    """Unit features (N, e) of one split in one view: see :func:`encode_views`."""
    return encode_views(backbone, dataset, split, [view], rows)[0]


def load_features(
    backbone: Backbone,
    dataset: Dataset,
    views: int,
    draws: Collection[Draw] = (),
    test: bool = True,
) -> Features:
    """All features that base-to-new or few-shot runs of ``dataset`` need.

    Args:
        views: augmented views of each training image.
        draws: rows of "train" and of "val"; nothing else of these splits is encoded, and each draw
            has files of its own, so that a further one encodes itself alone. Default: all rows.
        test: whether test images are wanted; if not, none is encoded or read.
    """
    labels = {s: dataset.labels(s).to(backbone.device) for s in ("train", "val", "test")}
    if not draws:
        whole = encode_views(backbone, dataset, "train", range(views))
        validation = encode_split(backbone, dataset, "val")
        tested = encode_split(backbone, dataset, "test") if test else validation[:0]
        return Features(whole, validation, tested, labels)
    drawn, of_test = {}, encode_split(backbone, dataset, "test") if test else None
    for train, val in draws:
        features = encode_views(backbone, dataset, "train", range(views), train)
        drawn["train", tuple(train)] = features
        drawn["val", tuple(val)] = encode_split(backbone, dataset, "val", rows=val)
    nothing = features[0, :0]
    tested = nothing if of_test is None else of_test
    return Features(nothing.expand(views, 0, -1), nothing, tested, labels, drawn)
