"""Datasets of picture files: each picture is decoded once and shown in all its views.

Symbols: N pictures of a split, B of a batch, V views, S the side that the encoder reads.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dip_lib.data.loader import BROKEN as BROKEN
from dip_lib.data.loader import (
    MESSAGE,
    Decoded,
    loader_processes,
    message,
    messages,
    show,
    unreadable,
)
from dip_lib.data.splits import plain_files
from dip_lib.data.views import AREA, RATIO, TRIES
from dip_lib.errors import one_of

CHUNK = 256
"""Images of one batch, all views together."""
SAMPLE = 256
"""Files of a split that the fingerprint reads whole."""


@dataclass(frozen=True, eq=False)
class Pictures:
    """A dataset of picture files.

    Attributes:
        name: of the dataset.
        class_names: C names; a label is an index of this list.
        root: the folder that holds the files.
        files: split -> (path below ``root``, label) of every picture, in order.
        template: the hand-written zero-shot template.
        workers: loader processes; None = as :func:`loader_processes` has it.
        left_out: what was found beside the pictures and does not count: what it is, and how many.

    Raises:
        ValueError: a label without a class name, or that is no whole number.
    """

    name: str
    class_names: tuple[str, ...]
    root: Path
    files: Mapping[str, Sequence[tuple[str, int]]]
    template: str = "a photo of a {}."
    workers: int | None = None
    left_out: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "files", plain_files(self.files))
        for path, label in (entry for entries in self.files.values() for entry in entries):
            if not 0 <= label < len(self.class_names):
                raise ValueError(
                    f"{path} of {self.name} has label {label}, but there are "
                    f"{len(self.class_names)} class names; labels count from 0"
                )

    @cached_property
    def fingerprint(self) -> str:
        """12 digits of the class names, of every file's path, size and label, and of the bytes of
        256 files a split, evenly spread.

        It is the same on every machine. It misses a picture outside these 256 that was changed
        and kept its exact size in bytes.
        """
        digest = hashlib.sha256(repr((AREA, RATIO, TRIES, self.class_names)).encode())
        for split in sorted(self.files):
            entries = self.files[split]
            read = set(np.linspace(0, len(entries) - 1, min(SAMPLE, len(entries))).astype(int))
            for i, (path, label) in enumerate(entries):
                file = self.root / path
                try:
                    about = (split, Path(path).as_posix(), file.stat().st_size, int(label))
                    digest.update(repr(about).encode() + (file.read_bytes() if i in read else b""))
                except OSError as error:
                    raise ValueError(unreadable(file, error)) from error
        return digest.hexdigest()[:12]

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
            ValueError: a picture that cannot be read, by name.
        """
        entries, side, where = self._entries(split), size or 224, torch.device(device)
        order = list(range(len(entries)) if rows is None else rows)
        digest = hashlib.sha256(f"{self.fingerprint}|{split}".encode()).digest()
        first = int.from_bytes(digest[:8], "big") >> 2
        items = [(self.root / entries[row][0], first + row) for row in order]
        crop = where.type == "cpu"
        read = partial(message, views=tuple(views), size=side, crop=crop)
        workers = loader_processes(len(order)) if self.workers is None else self.workers
        pending: list[Tensor] = []
        start = 0
        for part in messages(items, workers, read):
            if isinstance(part, str):
                raise ValueError(part)
            seeds = [seed for _, seed in items[start : start + MESSAGE]]
            start += MESSAGE
            if isinstance(part, Decoded):
                pending.append(show(part, views, seeds, side, where))
            else:
                pending.append(torch.from_numpy(part))
            if len(views) * sum(each.shape[1] for each in pending) >= CHUNK:
                yield torch.cat(pending, 1).float() / 255
                pending = []
        if pending:
            yield torch.cat(pending, 1).float() / 255
