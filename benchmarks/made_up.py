"""A dataset without pictures: class names, and random unit vectors for image features."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from dip_lib.clip.backbone import Backbone
from dip_lib.clip.features import Features


@dataclass(frozen=True)
class MadeUp:
    """The interface that the trainer needs of a dataset; the same number of images of every class.

    Attributes:
        per_class: images of each class in every split.
    """

    class_names: tuple[str, ...]
    per_class: int
    name: str = "made-up"
    template: str = "a photo of a {}."
    fingerprint: str = ""

    def labels(self, split: str) -> Tensor:
        return torch.arange(len(self.class_names)).repeat_interleave(self.per_class)

    def groups(self, split: str) -> list[str]:
        return [""] * len(self.labels(split))

    def batches(
        self,
        split: str,
        views: Sequence[int | None] = (None,),
        rows: Sequence[int] | None = None,
        size: int | None = None,
        device: str | torch.device = "cpu",
    ) -> Iterator[Tensor]:
        raise LookupError("there are no pictures, only features: see features()")

    def features(self, clip: Backbone, views: int = 1) -> Features:
        """Random features for ``clip``, the same every time."""
        source = torch.Generator().manual_seed(0)
        count, width = len(self.labels("")), clip.model.text_projection.shape[1]
        train, val, test = (
            F.normalize(torch.randn(v, count, width, generator=source), dim=-1).to(clip.device)
            for v in (views, 1, 1)
        )
        labels = {split: self.labels(split).to(clip.device) for split in ("train", "val", "test")}
        return Features(train, val[0], test[0], labels)
