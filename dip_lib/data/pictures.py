"""Datasets of picture files: each picture is decoded once and shown in all its views.

Decoding runs in loader processes; crops and resizes run on the device of the encoder. Symbols:
N pictures of a split, B of a batch, V views, S the side that the encoder reads.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from multiprocessing import parent_process
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from dip_lib.data.contents import digests
from dip_lib.data.decode import BROKEN, read_picture, unreadable
from dip_lib.data.names import nfc
from dip_lib.data.views import AREA, RATIO, TRIES, plain_view, random_view
from dip_lib.errors import UnreadablePictureError, one_of
from dip_lib.randomness import uniform

CHUNK = 256
"""Images of one batch, all views together."""
MESSAGE = 8
"""Pictures that a loader process hands over at once: few, since a photograph can be large."""
Decoded = tuple[Tensor, list[tuple[int, int]], Tensor]


def _decode(paths: list[Path], size: int, whole: bool, plain: bool) -> Decoded | str:
    """What one loader message holds, or what is wrong with a picture.

    Returns:
        All pixels of the pictures one after another, uint8, if ``whole``; their (H, W); their
        plain views (B, 3, S, S), uint8, if ``plain``.
    """
    pixels, shapes, views = [torch.empty(0, dtype=torch.uint8)], [], []
    for path in paths:
        try:
            picture = read_picture(path)
        except BROKEN as error:
            return unreadable(path, error)
        shapes.append((picture.height, picture.width))
        if whole:
            pixels.append(torch.from_numpy(np.array(picture)).flatten())
        if plain:
            views.append(plain_view(picture, size))
    return torch.cat(pixels), shapes, torch.stack(views) if plain else torch.empty(0)


def _show(
    decoded: Decoded, views: Sequence[int | None], seeds: Tensor, size: int, device: torch.device
) -> Tensor:
    """All views of one message: (V, B, 3, S, S), uint8, on the device."""
    pixels, shapes, plain = decoded
    pictures: list[Tensor] = []
    if len(pixels):
        parts = pixels.to(device, non_blocking=True).split([3 * h * w for h, w in shapes])
        sized = zip(parts, shapes, strict=True)
        pictures = [part.view(h, w, 3).permute(2, 0, 1) for part, (h, w) in sized]
    view_images = []
    for view in views:
        if view is None:
            view_images.append(plain.to(device, non_blocking=True))
        else:
            draws = uniform(seeds, view, (1 + 4 * TRIES,), stream=3).tolist()
            each = zip(pictures, draws, strict=True)
            view_images.append(torch.stack([random_view(p, numbers, size) for p, numbers in each]))
    return torch.stack(view_images)


@dataclass(frozen=True, eq=False)
class Pictures:
    """A dataset of picture files.

    Attributes:
        name: of the dataset.
        class_names: C names; a label is an index of this list.
        root: the folder that holds the files.
        files: split -> (path below ``root``, label) of every picture, in order.
        template: the hand-written zero-shot template.
        workers: loader processes; None = one a core, at most 8, and none for a few pictures or
            inside a worker process.
        left_out: what was found beside the pictures and does not count: what it is, and how many.
        notes: what else its reader says of the folder that it comes from.
        known: fingerprint -> the one that committed packs of the same pictures have instead.

    Raises:
        ValueError: a label without a class name.
    """

    name: str
    class_names: tuple[str, ...]
    root: Path
    files: Mapping[str, Sequence[tuple[str, int]]]
    template: str = "a photo of a {}."
    workers: int | None = None
    left_out: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    known: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for path, label in (entry for entries in self.files.values() for entry in entries):
            if not 0 <= label < len(self.class_names):
                raise ValueError(
                    f"{path} of {self.name} has label {label}, but there are "
                    f"{len(self.class_names)} class names; labels count from 0"
                )

    @cached_property
    def fingerprint(self) -> str:
        """12 digits of the class names, and of every file's path, label and whole content.

        It is the same on every machine: names count in one Unicode form. All files are read, once
        (:mod:`dip_lib.data.contents`); the object keeps it, so a folder that changes afterwards is
        to be read again.

        Raises:
            ValueError: a picture that cannot be read, by name.
        """
        names = tuple(nfc(name) for name in self.class_names)
        digest = hashlib.sha256(repr((AREA, RATIO, TRIES, names)).encode())
        paths = dict.fromkeys(path for split in self.files for path, _ in self.files[split])
        content = digests(self.root, paths, self.name)
        for split in sorted(self.files):
            for path, label in self.files[split]:
                about = (split, nfc(Path(path).as_posix()), int(label))
                digest.update(repr(about).encode() + content[path])
        found = digest.hexdigest()[:12]
        return self.known.get(found, found)

    def _entries(self, split: str) -> Sequence[tuple[str, int]]:
        return self.files[one_of(f"split of {self.name}", split, self.files)]

    def labels(self, split: str) -> Tensor:
        """(N,) class index of every picture of the split."""
        return torch.tensor([label for _, label in self._entries(split)], dtype=torch.int64)

    def groups(self, split: str) -> list[str]:
        """The same group for all images: a list of files has no sub-populations."""
        return ["all"] * len(self._entries(split))

    def batches(
        self,
        split: str,
        views: Sequence[int | None] = (None,),
        rows: Sequence[int] | None = None,
        size: int | None = None,
        device: str | torch.device = "cpu",
    ) -> Iterator[Tensor]:
        """The pictures in order, each decoded once: (V, B, 3, S, S) in 0..1, on ``device``.

        Args:
            split: a key of ``files``.
            views: None is CLIP's test transform; a number is a random resized crop and flip, a
                pure function of (fingerprint, split, row, number).
            rows: the pictures wanted, in this order; default all.
            size: S, default 224.

        Raises:
            UnreadablePictureError: a picture that cannot be read, by name, and the remedy.
        """
        entries, side, where = self._entries(split), size or 224, torch.device(device)
        order = list(range(len(entries)) if rows is None else rows)
        digest = hashlib.sha256(f"{self.fingerprint}|{split}".encode()).digest()
        seeds = (int.from_bytes(digest[:8], "big") >> 2) + torch.tensor(order, dtype=torch.int64)
        numbered = any(view is not None for view in views)
        workers = self.workers
        if workers is None:
            most = min(8, os.cpu_count() or 1, len(order) // (8 * MESSAGE))
            workers = 0 if parent_process() else most
        loader: DataLoader[Any] = DataLoader(
            cast(Any, [self.root / entries[row][0] for row in order]),
            batch_size=MESSAGE,
            num_workers=workers,  # each has one torch thread, as torch's own loader sets it
            collate_fn=partial(_decode, size=side, whole=numbered, plain=None in views),
            pin_memory=where.type == "cuda",
            generator=torch.Generator(),  # the caller's random numbers stay where they are
        )
        pending: list[Tensor] = []
        for decoded, seed in zip(loader, seeds.split(MESSAGE), strict=False):
            if isinstance(decoded, str):
                raise UnreadablePictureError(decoded)
            pending.append(_show(decoded, views, seed, side, where))
            if len(views) * sum(part.shape[1] for part in pending) >= CHUNK:
                yield torch.cat(pending, 1).float() / 255
                pending = []
        if pending:
            yield torch.cat(pending, 1).float() / 255
