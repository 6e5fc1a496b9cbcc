"""Datasets of picture files: each picture is decoded once and shown in all its views.

Symbols: N pictures of a split, B of a batch, V views, S the side that the encoder reads.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path

import torch
from torch import Tensor

from dip_lib.data.contents import digests
from dip_lib.data.loader import MESSAGE, Decoded, loader_processes, message, messages, show
from dip_lib.data.names import nfc
from dip_lib.data.splits import plain_files
from dip_lib.data.views import AREA, RATIO, TRIES
from dip_lib.errors import UnreadablePictureError, one_of

CHUNK = 256
"""Images of one batch, all views together."""


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
        notes: what else its reader says of the folder that it comes from.
        squeezed: whether the plain view is the whole picture, squeezed to a square, as VTAB has it;
            else it is CLIP's test transform.
        known: fingerprint -> the one that committed packs of the same pictures have instead.

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
    notes: tuple[str, ...] = ()
    known: Mapping[str, str] = field(default_factory=dict)
    squeezed: bool = False

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
        """12 digits of the class names, and of every file's path, label and whole content.

        It is the same on every machine: names count in one Unicode form. All files are read, once
        (:mod:`dip_lib.data.contents`); the object keeps it, so a folder that changes afterwards is
        to be read again.

        Raises:
            ValueError: a picture that cannot be read, by name.
        """
        names = tuple(nfc(name) for name in self.class_names)
        digest = hashlib.sha256(repr((AREA, RATIO, TRIES, names)).encode())
        digest.update(b"squeezed" * self.squeezed)
        paths = dict.fromkeys(path for split in self.files for path, _ in self.files[split])
        content = digests(self.root, paths, self.name)
        for split in sorted(self.files):
            for path, label in self.files[split]:
                about = (split, nfc(Path(path).as_posix()), label)
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
            views: None is the plain view (:attr:`squeezed`); a number is a random resized crop and
                flip, a pure function of (fingerprint, split, row, number).
            rows: the pictures wanted, in this order; default all.
            size: S, default 224.

        Raises:
            UnreadablePictureError: a picture that cannot be read, by name, and the remedy.
        """
        entries, side, where = self._entries(split), size or 224, torch.device(device)
        order = list(range(len(entries)) if rows is None else rows)
        digest = hashlib.sha256(f"{self.fingerprint}|{split}".encode()).digest()
        first = int.from_bytes(digest[:8], "big") >> 2
        items = [(self.root / entries[row][0], first + row) for row in order]
        crop = where.type == "cpu"
        read = partial(message, views=tuple(views), size=side, crop=crop, squeezed=self.squeezed)
        workers = loader_processes(len(order)) if self.workers is None else self.workers
        pending: list[Tensor] = []
        start = 0
        for part in messages(items, workers, read):
            if isinstance(part, str):
                raise UnreadablePictureError(part)
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
