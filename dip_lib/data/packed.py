"""Datasets that stand on feature packs: labels and class names as ever, features, no pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from dip_lib.data.pack_files import check_agreement, headers_of, read_header, read_pack
from dip_lib.data.packs import ENCODINGS
from dip_lib.errors import NotPackedError


@dataclass(frozen=True)
class PackedDataset:
    """A dataset of which packs are here and pictures are not; :func:`packed_dataset` makes it.

    Attributes:
        name, class_names, template: as of the pictures.
        fingerprint: the pictures', then "-" and the packs' encoding: runs from packs and runs from
            pictures have different keys.
        files: the packs, in the order of the search path; several where there are several image
            encoders, or several pools of images.
    """

    name: str
    class_names: tuple[str, ...]
    template: str
    fingerprint: str
    files: tuple[Path, ...]

    @property
    def encoders(self) -> dict[str, str]:
        """Fingerprint -> name of every image encoder of which there is a pack."""
        headers = [read_header(path) for path in self.files]
        return {each.image_fingerprint: each.encoder for each in headers}

    def labels(self, split: str) -> Tensor:
        """(N,) class index of every image of the split, packed or not: draws are the pictures'."""
        return read_pack(self.files[0]).labels(split)

    def groups(self, split: str) -> list[str]:
        """(N) name of the sub-population of each image."""
        return read_pack(self.files[0]).groups(split)

    def batches(
        self,
        split: str,
        views: Sequence[int | None] = (None,),
        rows: Sequence[int] | None = None,
        size: int | None = None,
        device: str | torch.device = "cpu",
    ) -> Iterator[Tensor]:
        """Raises NotPackedError: packs hold features, and no pictures."""
        how = (
            "What encodes pictures itself needs them: set the variable DATA to the folder of the "
            f"photo datasets (`dip data get {self.name}` fetches the field's own)"
        )
        raise NotPackedError(f"the pictures of {self.name}", "packs hold features alone", how)

    def features(
        self,
        image_fingerprint: str,
        split: str,
        views: Sequence[int | None],
        rows: Sequence[int],
        encoder: str = "NAME",
    ) -> Tensor:
        """Unit features (V, M, e) by one image encoder, float32, in the order of ``rows``.

        Args:
            image_fingerprint: of the image encoder.
            split: "train" (``views`` are numbers), "val" or "test" (``views`` are None).
            encoder: the backbone's name, for messages.

        Raises:
            NotPackedError: no pack of this image encoder, or none that holds these images in these
                views; says what the packs hold and how to make one.
            PackError: a damaged pack.
        """
        known = self.encoders
        how = (
            f"Make a pack with the pictures: `dip features pack --backbone {encoder} --dataset "
            f"{self.name} --seeds ... --shots ... --views ...` with DATA set, or the same with "
            "`--profile`"
        )
        if image_fingerprint not in known:
            missing = f"features of {self.name} by {encoder} ({image_fingerprint})"
            others = " and ".join(f"{name} ({print})" for print, name in known.items())
            raise NotPackedError(missing, f"there are packs of {others}", how)
        packs = [read_pack(path) for path in self._of(image_fingerprint)]
        for each in packs:
            if not each.missing(split, views, rows):
                return each.features(split, views, rows)
        missing = f"{packs[0].missing(split, views, rows)} of {self.name}"
        raise NotPackedError(missing, "; ".join(each.holds() for each in packs), how)

    def _of(self, image_fingerprint: str) -> list[Path]:
        return [p for p in self.files if read_header(p).image_fingerprint == image_fingerprint]


def packed_dataset(name: str) -> PackedDataset | None:
    """The dataset from its packs in the search path; None if there are none.

    Raises:
        PackError: a pack of it that cannot be read; two of different pictures, splits or encodings,
            names both.
    """
    headers = headers_of(name)
    if not headers:
        return None
    check_agreement(headers)
    head = next(iter(headers.values()))
    fingerprint = f"{head.fingerprint}-{head.encoding}"
    return PackedDataset(name, head.class_names, head.template, fingerprint, (*headers,))


def pictures_fingerprint(fingerprint: str) -> str:
    """The fingerprint of the pictures, of a dataset that may stand on packs."""
    stem, _, encoding = fingerprint.rpartition("-")
    return stem if encoding in ENCODINGS else fingerprint
