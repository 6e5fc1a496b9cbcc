"""Feature packs: what one image encoder makes of one dataset, in one file that can be shared.

Prompts on the text side read image features and labels alone. A pack holds the features that a
protocol's draws need, the labels of every image and what they are of, so that such runs need
neither the pictures nor the image encoder. :mod:`dip_lib.data.pack_files` writes and reads them.

Symbols: V views, N images of a split, M packed ones, e embedding size, C classes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from hashlib import sha256

import torch
import torch.nn.functional as F
from torch import Tensor

from dip_lib.data.class_tree import SPLITS
from dip_lib.errors import NotPackedError, one_of

FORMAT = 1
"""Of the files that this version writes; it reads none of a higher number."""
ENCODINGS = ("int8", "fp16")


@dataclass(frozen=True, kw_only=True)
class Header:
    """What a pack is of.

    Attributes:
        dataset: its name.
        class_names: C names; a label is an index of this list.
        template: the dataset's hand-written zero-shot template.
        groups: names of the sub-populations of its images.
        fingerprint: of the pictures.
        image_fingerprint: of the image encoder and its projection.
        encoder: what people call the image encoder ("ViT-B-16 openai").
        views: V, augmented views of each packed training image.
        encoding: "int8" with a scale a row, or "fp16".
        loss: what the encoding costs, as measured when the pack was made.
        licence, source: of the pictures.
        note: what else must be said, as what a subset is.
        split_sha256: of class names and labels (:func:`split_hash`).
        format: of the file.
        sha256: of all of the above and of every tensor.
    """

    dataset: str
    class_names: tuple[str, ...]
    template: str
    groups: tuple[str, ...] = ("all",)
    fingerprint: str
    image_fingerprint: str
    encoder: str
    views: int
    encoding: str
    loss: Mapping[str, float] = field(default_factory=dict)
    licence: str = ""
    source: str = ""
    note: str = ""
    split_sha256: str = ""
    format: int = FORMAT
    sha256: str = ""


@dataclass(frozen=True, eq=False)
class FeaturePack:
    """A header and tensors: ``labels.SPLIT`` (N,) of every image of a split; ``train`` (V, M, e),
    ``val`` and ``test`` (M, e), encoded; for int8 their ``SPLIT.scale``; ``train.rows`` and
    ``val.rows`` (M,), ascending (of "test" all images are packed); ``groups.SPLIT`` (N,) where
    there are several.
    """

    header: Header
    tensors: Mapping[str, Tensor]

    def labels(self, split: str) -> Tensor:
        """(N,) class index of every image of the split, int64."""
        return self.tensors[f"labels.{one_of('split', split, SPLITS)}"].long()

    def groups(self, split: str) -> list[str]:
        """(N) name of the sub-population of each image."""
        names = self.header.groups
        if len(names) == 1:
            return [names[0]] * len(self.labels(split))
        return [names[i] for i in self.tensors[f"groups.{split}"].tolist()]

    def rows(self, split: str) -> Tensor:
        """(M,) ascending indices of the packed images of the split."""
        if split == "test":
            return torch.arange(len(self.labels(split)))
        return self.tensors[f"{one_of('split', split, SPLITS)}.rows"].long()

    def missing(self, split: str, views: Sequence[int | None], rows: Sequence[int]) -> str:
        """What of these images and views is not packed, in words; "" if all is."""
        packed = range(self.header.views) if split == "train" else (None,)
        absent = sorted(set(rows) - set(self.rows(split).tolist()))
        words = []
        if absent:
            some = ", ".join(map(str, absent[:3])) + ", …" * (len(absent) > 3)
            words.append(f"{len(absent)} of {len(rows)} images of {split!r} (rows {some})")
        if other := [view for view in views if view not in packed]:
            named = ("the plain view" if view is None else f"view {view}" for view in other)
            words.append(f"{', '.join(named)} of {split!r}")
        return " and ".join(words)

    def features(self, split: str, views: Sequence[int | None], rows: Sequence[int]) -> Tensor:
        """Unit features (V, M, e) of packed images, float32 on the CPU, in the order of ``rows``.

        Args:
            views: numbers for "train", None (the plain view) for "val" and "test".

        Raises:
            NotPackedError: images or views that the pack does not hold.
        """
        if missing := self.missing(split, views, rows):
            raise NotPackedError(missing, self.holds(), "Pack them with `dip features pack`")
        place = torch.searchsorted(self.rows(split), torch.tensor(rows, dtype=torch.int64))
        chosen = torch.tensor([view or 0 for view in views], dtype=torch.int64)[:, None]
        of_views = [self.tensors[split]]
        if self.header.encoding == "int8":
            of_views.append(self.tensors[f"{split}.scale"])
        parts = [each if split == "train" else each[None] for each in of_views]
        return decode(*(part[chosen, place] for part in parts))

    def holds(self) -> str:
        """What the pack holds, in words."""
        head, counts = self.header, {s: len(self.rows(s)) for s in SPLITS}
        return (
            f"the pack of {head.encoder} holds {counts['train']} images of 'train' in "
            f"{head.views} views, {counts['val']} of 'val' and {counts['test']} of 'test'"
        )


# ---- encodings ----------------------------------------------------------------------------------


def encode(features: Tensor, encoding: str) -> tuple[Tensor, ...]:
    """Features (..., e) as a pack keeps them: (codes,) in fp16, or int8 (codes, scale (...)).

    An int8 code is off by half a step at most, and a step is a 127th of the row's largest entry m:
    the cosine of a row to its code is at least sqrt(1 - e m^2 / 254^2).
    """
    if encoding == "fp16":
        return (features.half(),)
    scale = features.abs().amax(-1).clamp(min=torch.finfo(torch.float32).tiny) / 127
    return (features / scale[..., None]).round().to(torch.int8), scale


def decode(codes: Tensor, scale: Tensor | None = None) -> Tensor:
    """Unit features (..., e), float32, of what :func:`encode` gave."""
    features = codes.float() if scale is None else codes * scale[..., None]
    return F.normalize(features, dim=-1)


# ---- making ------------------------------------------------------------------------------------


def pack(
    header: Header,
    labels: Mapping[str, Tensor],
    rows: Mapping[str, Sequence[int]],
    features: Mapping[str, Tensor],
    groups: Mapping[str, Sequence[str]] | None = None,
) -> FeaturePack:
    """A pack in memory; its hashes are computed here.

    Args:
        labels: of every image of each split.
        rows: ascending indices of the packed images of "train" and "val".
        features: "train" (V, M, e), "val" (M, e) and "test" (N, e), unit, float32.
        groups: name of the sub-population of every image of each split; default all alike.

    Raises:
        ValueError: rows that are not ascending, or as many features as there are not rows.
    """
    one_of("encoding", header.encoding, ENCODINGS)
    tensors: dict[str, Tensor] = {}
    for split in SPLITS:
        chosen = [*rows[split]] if split != "test" else [*range(len(labels["test"]))]
        shape = features[split].shape[:-1]
        views = (header.views,) if split == "train" else ()
        if shape != (*views, len(chosen)) or chosen != sorted(set(chosen)):
            raise ValueError(
                f"{len(chosen)} rows of {split!r} need to be ascending and to have features "
                f"{(*views, len(chosen), 'e')}, got {tuple(features[split].shape)}"
            )
        encoded = encode(features[split].cpu(), header.encoding)
        tensors |= dict(zip((split, f"{split}.scale"), encoded, strict=False))
        tensors[f"labels.{split}"] = labels[split].to("cpu", torch.int16)
        if split != "test":
            tensors[f"{split}.rows"] = torch.tensor(chosen, dtype=torch.int32)
    names = tuple(sorted({name for each in (groups or {}).values() for name in each}))
    if groups and names:
        header = replace(header, groups=names)
    if groups and len(names) > 1:
        for split in SPLITS:
            of_names = [names.index(name) for name in groups[split]]
            tensors[f"groups.{split}"] = torch.tensor(of_names, dtype=torch.int16)
    header = replace(header, split_sha256=split_hash(header.class_names, tensors))
    return FeaturePack(replace(header, sha256=content_hash(header, tensors)), tensors)


def split_hash(class_names: Sequence[str], tensors: Mapping[str, Tensor]) -> str:
    """sha256 of the class names and of the labels of every image of every split, in order."""
    digest = sha256(json.dumps([*class_names]).encode())
    for split in SPLITS:
        labels = tensors[f"labels.{split}"]
        digest.update(f"{split} {len(labels)}".encode())
        digest.update(labels.contiguous().numpy().data)
    return digest.hexdigest()


def content_hash(header: Header, tensors: Mapping[str, Tensor]) -> str:
    """sha256 of the header (but for this number) and of the names, shapes and bytes of tensors."""
    digest = sha256(as_json(replace(header, sha256="")).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().numpy().data)
    return digest.hexdigest()


def as_json(header: Header) -> str:
    """The header as a file keeps it."""
    return json.dumps(asdict(header), sort_keys=True)
