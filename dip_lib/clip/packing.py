"""Making a feature pack: encode what the draws need, choose an encoding, measure what it costs.

Symbols: V views, M images, N test images, e embedding size, C classes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from torch import Tensor

from dip_lib.clip.backbone import Backbone
from dip_lib.clip.features import encode_split, encode_views
from dip_lib.data.class_tree import SPLITS
from dip_lib.data.dataset import Dataset
from dip_lib.data.packed import PackedDataset
from dip_lib.data.packs import ENCODINGS, FeaturePack, Header, decode, encode, pack
from dip_lib.data.protocols import Draw
from dip_lib.errors import NotPackedError, one_of

POINTS = 0.3
"""Points of zero-shot accuracy that int8 may move, ..."""
PICTURES = 2
"""... or so many pictures, where these are more points: one of 40 pictures is 2.5 points."""
PART = 4096
"""Images looked at at once: 50,000 of ImageNet times its 1,000 classes would take 200 MB."""
TOLD = ("encoder", "licence", "source", "note")


def make_pack(
    backbone: Backbone,
    dataset: Dataset,
    draws: Collection[Draw],
    views: int,
    encoding: str = "auto",
    about: Mapping[str, str] = MappingProxyType({}),
) -> FeaturePack:
    """The pack of a dataset's features by the backbone's image encoder, in memory.

    Pictures are encoded through the feature cache: an interrupted call resumes, and a second one,
    in another encoding, encodes nothing.

    Args:
        draws: rows of training and of validation images; the pack holds the union of them.
        views: augmented views of each training image.
        encoding: "int8", "fp16", or "auto": int8, but fp16 where int8 moves zero-shot accuracy by
            more than ``POINTS`` and more than ``PICTURES``.
        about: header fields that are told, not measured: those of ``TOLD``; the "encoder" is by
            default the backbone's name.

    Raises:
        ValueError: an unknown encoding or header field; class names that the text encoder was not
            trained on.
        NotPackedError: the dataset itself stands on packs.
    """
    one_of("encoding", encoding, ("auto", *ENCODINGS))
    if isinstance(dataset, PackedDataset):
        how = "Set the variable DATA to the folder that holds them"
        raise NotPackedError(f"the pictures of {dataset.name}", "a pack is made of pictures", how)
    names = [dataset.template.format(name.replace("_", " ")) for name in dataset.class_names]
    text = backbone.encode_text(names)  # before encoding: what is wrong with a name is said at once
    train, val = pool(draws)
    test = encode_split(backbone, dataset, "test")
    nothing = test.new_empty(views, 0, test.shape[1])
    seen = bool(train and views)
    features = {
        "train": encode_views(backbone, dataset, "train", range(views), train) if seen else nothing,
        "val": encode_split(backbone, dataset, "val", rows=val) if val else test[:0],
        "test": test,
    }
    labels = {split: dataset.labels(split) for split in SPLITS}
    of = labels["test"].to(text.device)
    losses = {each: loss(features, text, of, each) for each in ENCODINGS}
    if encoding == "auto":
        encoding = "fp16" if costly(losses["int8"]) else "int8"
    header = Header(
        dataset=dataset.name,
        class_names=tuple(dataset.class_names),
        template=dataset.template,
        fingerprint=dataset.fingerprint,
        image_fingerprint=backbone.encodes_as,
        encoder=backbone.name,
        views=views,
        encoding=encoding,
        loss=losses[encoding] | {"int8_pictures": losses["int8"]["pictures"]},
    )
    told: dict[str, Any] = {one_of("header field", name, TOLD): of for name, of in about.items()}
    header = replace(header, **told)
    groups = {split: dataset.groups(split) for split in SPLITS}
    rows = {"train": train if seen else [], "val": val}
    return pack(header, labels, rows, features, groups)


def pool(draws: Collection[Draw]) -> tuple[list[int], list[int]]:
    """The training and the validation images that any of the draws needs, ascending."""
    train, val = (sorted({row for each in draws for row in each[i]}) for i in (0, 1))
    return train, val


def loss(
    features: Mapping[str, Tensor], text: Tensor, labels: Tensor, encoding: str
) -> dict[str, float]:
    """What an encoding costs.

    Args:
        features: "test" (N, e) and others (..., e), unit.
        text: (C, e) class embeddings, unit; labels: (N,).

    Returns:
        zero_shot (per cent right of the features as they are, among all classes), points and
        pictures (that the encoding moves this by, signed), least_cosine (of any row to itself).
    """
    before, test = features["test"], decode(*encode(features["test"], encoding))
    right = [
        sum(
            int(((part @ text.T).argmax(1) == of).sum())
            for part, of in zip(each.split(PART), labels.split(PART), strict=True)
        )
        for each in (before, test)
    ]
    total = max(1, len(labels))
    parts = (part for each in features.values() for part in each.flatten(0, -2).split(PART))
    cosines = [
        float((part * decode(*encode(part, encoding))).sum(-1).min())
        for part in parts
        if part.numel()
    ]
    moved = right[1] - right[0]
    return {
        "zero_shot": round(100 * right[0] / total, 4),
        "points": round(100 * moved / total, 4),
        "pictures": moved,
        "least_cosine": round(min(cosines, default=1.0), 7),
    }


def costly(loss: Mapping[str, float]) -> bool:
    """Whether an encoding moves zero-shot accuracy by more than may be."""
    return abs(loss["points"]) > POINTS and abs(loss["pictures"]) > PICTURES
