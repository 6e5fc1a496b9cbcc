"""The first classes of a dataset, a few images of each: what ``--smoke`` takes for the whole."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dip_lib.data import Dataset, load_dataset


@dataclass(frozen=True)
class Few:
    """A small part of a dataset, which has its name."""

    whole: Dataset
    classes: int = 4
    images: int = 3  # of each class in every split

    @property
    def name(self) -> str:
        return self.whole.name

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.whole.class_names[: self.classes]

    @property
    def template(self) -> str:
        return self.whole.template

    @property
    def fingerprint(self) -> str:
        return f"{self.whole.fingerprint}, {self.classes} classes of {self.images}"

    def _rows(self, split: str) -> list[int]:
        labels = self.whole.labels(split)
        of_class = [(labels == c).nonzero()[: self.images, 0] for c in range(self.classes)]
        return sorted(torch.cat(of_class).tolist())

    def labels(self, split: str) -> Tensor:
        return self.whole.labels(split)[self._rows(split)]

    def groups(self, split: str) -> list[str]:
        every = self.whole.groups(split)
        return [every[row] for row in self._rows(split)]

    def batches(
        self,
        split: str,
        views: Sequence[int | None] = (None,),
        rows: Sequence[int] | None = None,
        size: int | None = None,
        device: str | torch.device = "cpu",
    ) -> Iterator[Tensor]:
        mine = self._rows(split)
        chosen = mine if rows is None else [mine[row] for row in rows]
        return self.whole.batches(split, views, chosen, size, device)


def load_few(name: str) -> Dataset:
    """A small part of the dataset of this name."""
    return Few(load_dataset(name))
