"""Image features are encoded once, kept on disk, and never stale."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from torch import Tensor

from dip_lib import load_backbone
from dip_lib.backbone import Backbone
from dip_lib.features import encode_split, load_features

SIZES = {"train": 12, "val": 4, "test": 6}


@dataclass
class Pictures:
    """A dataset of random pictures that counts how often it is asked to draw them."""

    fingerprint: str = "pictures-1"
    name: str = "pictures"
    template: str = "a photo of a {}."
    class_names: tuple[str, ...] = ("small alpha", "small beta")
    drawn: list[tuple[str, int | None]] = field(default_factory=list)

    def labels(self, split: str) -> Tensor:
        return torch.arange(SIZES[split]) % 2

    def groups(self, split: str) -> list[str]:
        return ["all"] * SIZES[split]

    def batches(self, split: str, view: int | None = None) -> Iterator[Tensor]:
        self.drawn.append((split, view))
        source = torch.Generator().manual_seed(SIZES[split] + 100 * (view or 0))
        yield from torch.rand(SIZES[split], 3, 48, 48, generator=source).split(5)


@pytest.fixture(scope="module")
def clip() -> Backbone:
    return load_backbone("glyph-resnet")


def cached(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "home" / "features").iterdir())


def test_features_are_the_towers_unit_embeddings_in_order(clip: Backbone) -> None:
    pictures = Pictures()
    features = encode_split(clip, pictures, "test")
    images = torch.cat(list(pictures.batches("test")))
    torch.testing.assert_close(features, clip.encode_image(clip.normalise(images)))
    assert features.norm(dim=1) == pytest.approx(1, abs=1e-5)
    assert features.dtype == torch.float32


def test_a_second_call_draws_nothing_and_returns_the_same(clip: Backbone, tmp_path: Path) -> None:
    pictures = Pictures()
    first = load_features(clip, pictures, views=3)
    assert first.train.shape == (3, 12, 128)
    assert not torch.equal(first.train[0], first.train[1])
    assert sorted(pictures.drawn, key=str) == [
        *(("test", None), ("train", 0), ("train", 1), ("train", 2)),
        ("val", None),
    ]
    written = {path: path.stat().st_mtime_ns for path in cached(tmp_path)}
    again = load_features(clip, pictures, views=3)
    assert len(pictures.drawn) == 5
    assert {path: path.stat().st_mtime_ns for path in cached(tmp_path)} == written
    for split in ("train", "val", "test"):
        assert torch.equal(getattr(first, split), getattr(again, split))
        assert torch.equal(first.labels[split], again.labels[split])
    load_features(clip, pictures, views=4)  # one view more draws that view alone
    assert pictures.drawn[5:] == [("train", 3)]


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[: len(data) // 2],
        lambda data: b"",
        lambda data: b"\xff" * 200,
        lambda data: data.replace(b'"features"', b'"features_"'),
    ],
    ids=["half", "empty", "rubbish", "other names"],
)
def test_a_damaged_file_is_named_and_encoded_again(
    clip: Backbone, tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    pictures = Pictures()
    whole = encode_split(clip, pictures, "test")
    (path,) = cached(tmp_path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.warns(UserWarning, match=f"{path.name} is damaged .*again"):
        assert torch.equal(encode_split(clip, pictures, "test"), whole)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.equal(encode_split(clip, pictures, "test"), whole)
    assert len(pictures.drawn) == 2
    assert cached(tmp_path) == [path]


def test_other_weights_data_splits_and_views_have_files_of_their_own(
    clip: Backbone, tmp_path: Path
) -> None:
    encode_split(clip, Pictures(), "test")
    encode_split(clip, Pictures(fingerprint="pictures-2"), "test")
    encode_split(clip, Pictures(), "test", view=0)
    encode_split(clip, Pictures(), "val")
    other = load_backbone("glyph-resnet")
    other.fingerprint = "other-weights"
    encode_split(other, Pictures(), "test")
    assert len(cached(tmp_path)) == 5
