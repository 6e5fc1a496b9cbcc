"""Image features, encoded once and kept on disk: prompts on the text side never change them."""

from __future__ import annotations

import hashlib
import warnings
from dataclasses import dataclass

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from dip_lib.backbone import Backbone
from dip_lib.datasets import Dataset
from dip_lib.files import write_atomic
from dip_lib.paths import home


@dataclass(frozen=True)
class Features:
    """What text-side training needs of a dataset: unit image features and labels, on one device.

    Attributes:
        train: (V, N, e), V augmented views of the training images.
        val, test: (M, e).
        labels: split -> (N,) class index.
    """

    train: Tensor
    val: Tensor
    test: Tensor
    labels: dict[str, Tensor]


def encode_split(
    backbone: Backbone, dataset: Dataset, split: str, view: int | None = None
) -> Tensor:
    """Unit features (N, e) of one split in one view, from the cache or encoded now.

    The file is named by the contents (weights, dataset, split, view), so it is never stale; a
    damaged one is named, replaced and encoded again.
    """
    what = f"{backbone.fingerprint}|{dataset.fingerprint}|{split}|{view}"
    name = hashlib.sha256(what.encode()).hexdigest()[:16]
    path = home() / "features" / f"{name}.safetensors"
    if path.is_file():
        try:
            return load_file(path, device=str(backbone.device))["features"]
        except (SafetensorError, KeyError) as error:
            warnings.warn(f"{path} is damaged ({error}): encoding it again", stacklevel=2)
    parts = [
        backbone.encode_image(backbone.normalise(images.to(backbone.device)))
        for images in dataset.batches(split, view)
    ]
    features = torch.cat(parts)
    write_atomic(path, save({"features": features.cpu().contiguous()}))
    return features


def load_features(backbone: Backbone, dataset: Dataset, views: int) -> Features:
    """All features that a base-to-new or few-shot run of ``dataset`` needs."""
    train = torch.stack([encode_split(backbone, dataset, "train", v) for v in range(views)])
    splits = ("train", "val", "test")
    return Features(
        train,
        encode_split(backbone, dataset, "val"),
        encode_split(backbone, dataset, "test"),
        {split: dataset.labels(split).to(backbone.device) for split in splits},
    )
