"""Image features are encoded once, kept on disk, and never stale."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from torch import Tensor

from dip_lib import features as features_module
from dip_lib import load_backbone
from dip_lib.clip.backbone import Backbone
from dip_lib.clip.features import encode_split, encode_views, load_features
from glyph_world.models import load_glyph_clip

SIZES = {"train": 12, "val": 4, "test": 6, "none": 0}


@dataclass
class Noise:
    """A dataset of random pictures that notes what it is asked to draw, and can break off."""

    fingerprint: str = "noise-1"
    name: str = "noise"
    template: str = "a photo of a {}."
    class_names: tuple[str, ...] = ("small alpha", "small beta")
    drawn: list[tuple[str, tuple[int | None, ...], list[int]]] = field(default_factory=list)
    stop_after: int = 99

    def labels(self, split: str) -> Tensor:
        return torch.arange(SIZES[split]) % 2

    def groups(self, split: str) -> list[str]:
        return ["all"] * SIZES[split]

    def batches(
        self,
        split: str,
        views: Sequence[int | None] = (None,),
        rows: Sequence[int] | None = None,
        size: int | None = None,
        device: str | torch.device = "cpu",
    ) -> Iterator[Tensor]:
        assert size in (None, 48)
        wanted = list(range(SIZES[split]) if rows is None else rows)
        self.drawn.append((split, tuple(views), wanted))
        shown = []
        for view in views:
            source = torch.Generator().manual_seed(SIZES[split] + 100 * (view or 0))
            shown.append(torch.rand(SIZES[split], 3, 48, 48, generator=source)[wanted])
        for i, images in enumerate(torch.stack(shown).split(5, dim=1)):
            if i == self.stop_after:
                raise KeyboardInterrupt
            if images.shape[1]:
                yield images


@pytest.fixture(scope="module")
def clip() -> Backbone:
    return load_backbone("glyph-resnet")


def cached(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "home" / "features").iterdir())


def test_features_are_the_towers_unit_embeddings_in_order(clip: Backbone) -> None:
    noise = Noise()
    features = encode_split(clip, noise, "test")
    images = torch.cat([images[0] for images in noise.batches("test")])
    torch.testing.assert_close(features, clip.encode_image(clip.normalise(images)))
    assert features.norm(dim=1) == pytest.approx(1, abs=1e-5)
    assert features.dtype == torch.float32


def test_a_second_call_draws_nothing_and_returns_the_same(clip: Backbone, tmp_path: Path) -> None:
    noise = Noise()
    first = load_features(clip, noise, views=3)
    assert first.train.shape == (3, 12, 128)
    assert not torch.equal(first.train[0], first.train[1])
    assert noise.drawn == [
        ("train", (0, 1, 2), list(range(12))),  # one drawing serves all views
        ("val", (None,), list(range(4))),
        ("test", (None,), list(range(6))),
    ]
    written = {path: path.stat().st_mtime_ns for path in cached(tmp_path)}
    again = load_features(clip, noise, views=3)
    assert len(noise.drawn) == 3
    assert {path: path.stat().st_mtime_ns for path in cached(tmp_path)} == written
    for split in ("train", "val", "test"):
        assert torch.equal(getattr(first, split), getattr(again, split))
        assert torch.equal(first.labels[split], again.labels[split])
    more = load_features(clip, noise, views=5)  # two views more draw those alone
    assert noise.drawn[3:] == [("train", (3, 4), list(range(12)))]
    assert torch.equal(more.train[:3], first.train)


def test_views_together_are_the_views_alone(clip: Backbone, tmp_path: Path) -> None:
    together = encode_views(clip, Noise(), "train", (1, None, 0))
    for view, features in zip((1, None, 0), together, strict=True):
        alone = encode_split(clip, Noise(fingerprint="alone"), "train", view)
        torch.testing.assert_close(features, alone)


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
    noise = Noise()
    whole = encode_split(clip, noise, "test")
    (path,) = cached(tmp_path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.warns(UserWarning, match=path.name):
        assert torch.equal(encode_split(clip, noise, "test"), whole)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.equal(encode_split(clip, noise, "test"), whole)
    assert len(noise.drawn) == 2
    assert cached(tmp_path) == [path]


def test_other_weights_data_splits_views_and_rows_have_files_of_their_own(
    clip: Backbone, tmp_path: Path
) -> None:
    encode_split(clip, Noise(), "test")
    encode_split(clip, Noise(fingerprint="noise-2"), "test")
    encode_split(clip, Noise(), "test", view=0)
    encode_split(clip, Noise(), "val")
    encode_split(clip, Noise(), "test", rows=[1, 2])
    other = load_backbone("glyph-resnet")
    other.fingerprint = "other-weights"
    encode_split(other, Noise(), "test")
    assert len(cached(tmp_path)) == 6


# ---- some of the images -------------------------------------------------------------------------


def test_rows_are_the_rows_of_the_whole_in_any_order(clip: Backbone, tmp_path: Path) -> None:
    noise = Noise()
    whole = encode_split(clip, noise, "train")
    chosen = [7, 2, 11, 2]
    torch.testing.assert_close(encode_split(clip, noise, "train", rows=chosen), whole[chosen])
    assert noise.drawn[1:] == [("train", (None,), [2, 7, 11])]
    encode_split(clip, noise, "train", rows=[11, 7, 2])  # the same images: the same file
    assert len(noise.drawn) == 2
    assert len(cached(tmp_path)) == 2


@pytest.mark.parametrize("rows", [[0, 12], [-1, 3]])
def test_a_row_that_is_not_there_is_refused(clip: Backbone, rows: list[int]) -> None:
    with pytest.raises(ValueError, match=f"{rows[0]} to {rows[1]}"):
        encode_split(clip, Noise(), "train", rows=rows)


def test_a_draw_encodes_its_rows_alone_and_is_the_draw_of_the_whole(
    clip: Backbone, tmp_path: Path
) -> None:
    noise, draws = Noise(), [([7, 2], [3]), ([2, 11], [3])]
    whole = load_features(clip, Noise(fingerprint="whole"), views=2)
    before = len(cached(tmp_path))
    found = load_features(clip, noise, 2, draws)
    assert noise.drawn == [
        ("test", (None,), list(range(6))),
        ("train", (0, 1), [2, 7]),
        ("val", (None,), [3]),
        ("train", (0, 1), [2, 11]),  # a draw has files of its own; both share the validation image
    ]
    assert len(cached(tmp_path)) - before == 1 + 2 + 1 + 2
    for train, val in draws:
        torch.testing.assert_close(found.pick("train", train), whole.pick("train", train))
        torch.testing.assert_close(found.pick("val", val), whole.pick("val", val))
    assert whole.pick("train", [7, 2]).shape == (2, 2, 128)
    torch.testing.assert_close(found.pick("test", [5, 0]), whole.test[[5, 0]])
    for split, labels in whole.labels.items():  # of every image, for the next draw
        assert torch.equal(found.labels[split], labels)
    with pytest.raises(IndexError):
        found.pick("train", [7])  # not drawn
    again = load_features(clip, noise, 2, draws)
    assert len(noise.drawn) == 4
    assert again.drawn.keys() == found.drawn.keys()


def test_no_images_have_no_features(clip: Backbone) -> None:
    assert encode_views(clip, Noise(), "none", (0, 1)).shape == (2, 0, 128)
    assert encode_split(clip, Noise(), "train", rows=[]).shape == (0, 128)


# ---- interruptions ------------------------------------------------------------------------------


@pytest.fixture
def _parts_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features_module, "PART_SECONDS", -1)


@pytest.mark.usefixtures("_parts_at_once")
def test_an_interrupted_encoding_goes_on_where_it_was(clip: Backbone, tmp_path: Path) -> None:
    whole = encode_views(clip, Noise(fingerprint="never interrupted"), "train", (0, 1))
    kept = cached(tmp_path)
    noise = Noise(stop_after=2)
    with pytest.raises(KeyboardInterrupt):
        encode_views(clip, noise, "train", (0, 1))
    assert len(cached(tmp_path)) == len(kept) + 4  # two parts of each view
    noise.stop_after = 99
    torch.testing.assert_close(encode_views(clip, noise, "train", (0, 1)), whole)
    assert noise.drawn[1:] == [("train", (0, 1), [10, 11])]
    assert len(cached(tmp_path)) == len(kept) + 2  # the parts are swept
    assert encode_views(clip, noise, "train", (1, 0)).shape == whole.shape
    assert len(noise.drawn) == 2


@pytest.mark.usefixtures("_parts_at_once")
def test_views_begun_and_views_not_begun_are_all_finished(clip: Backbone, tmp_path: Path) -> None:
    whole = encode_views(clip, Noise(fingerprint="never interrupted"), "train", range(3))
    noise = Noise(stop_after=1)
    with pytest.raises(KeyboardInterrupt):
        encode_views(clip, noise, "train", (0, 2))
    noise.stop_after = 99
    torch.testing.assert_close(encode_views(clip, noise, "train", range(3)), whole)
    assert noise.drawn[1:] == [
        ("train", (1,), list(range(12))),
        ("train", (0, 2), list(range(5, 12))),
    ]
    assert len(cached(tmp_path)) == 6


@pytest.mark.usefixtures("_parts_at_once")
def test_a_damaged_part_is_not_gone_on_from(clip: Backbone, tmp_path: Path) -> None:
    noise = Noise(stop_after=2)
    with pytest.raises(KeyboardInterrupt):
        encode_split(clip, noise, "train")
    second = cached(tmp_path)[1]
    second.write_bytes(second.read_bytes()[:100])
    noise.stop_after = 99
    with pytest.warns(UserWarning, match=second.name):
        found = encode_split(clip, noise, "train")
    assert noise.drawn[1][2] == list(range(5, 12))
    torch.testing.assert_close(found, encode_split(clip, Noise(fingerprint="whole"), "train"))
    assert len(cached(tmp_path)) == 2


@pytest.mark.parametrize(
    "error",
    [torch.cuda.OutOfMemoryError("CUDA out of memory."), RuntimeError("can't allocate memory: 9")],
    ids=["gpu", "cpu"],
)
def test_out_of_memory_halves_the_batch_and_says_so_once(
    clip: Backbone, monkeypatch: pytest.MonkeyPatch, error: RuntimeError
) -> None:
    whole, sizes = encode_split(clip, Noise(fingerprint="whole"), "train"), list[int]()
    encode = clip.encode_image

    def small(images: Tensor) -> Tensor:
        if len(images) > 3:
            raise error
        sizes.append(len(images))
        return encode(images)

    monkeypatch.setattr(clip, "encode_image", small)
    monkeypatch.setattr(features_module, "PIXELS", (8 * 48**2, 0))
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        found = encode_split(clip, Noise(), "train")
    torch.testing.assert_close(found, whole)
    assert sizes == [2, 2, 1, 2, 2, 1, 2]
    assert [str(each.message)[:32] for each in said] == ["out of memory with 8 images at o"]


def test_another_error_is_not_taken_for_a_lack_of_memory(
    clip: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(images: Tensor) -> Tensor:
        raise RuntimeError("shapes do not fit")

    monkeypatch.setattr(clip, "encode_image", broken)
    with pytest.raises(RuntimeError, match="shapes"):
        encode_split(clip, Noise(), "train")


# ---- towers -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["glyph-resnet", "glyph-vit"])
def test_the_layout_in_memory_changes_no_feature(name: str) -> None:
    clip, (plain, _) = load_backbone(name), load_glyph_clip(name)
    assert clip.image_size == 48
    images = clip.normalise(torch.rand(5, 3, 48, 48))
    with torch.no_grad():
        reference = torch.nn.functional.normalize(plain.encode_image(images), dim=-1)
    torch.testing.assert_close(clip.encode_image(images), reference, atol=1e-5, rtol=0)
    layouts = [
        layer.weight.is_contiguous(memory_format=torch.channels_last)
        for layer in clip.model.visual.modules()
        if isinstance(layer, torch.nn.Conv2d) and layer.kernel_size[0] > 1
    ]
    assert all(layouts) == (name == "glyph-resnet")
