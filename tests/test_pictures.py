"""Picture files: CLIP's own test transform, CoOp's training transform, in workers or without."""

from __future__ import annotations

import multiprocessing
import os
import resource
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from scipy.stats import ks_2samp
from torch import Tensor
from torchvision.transforms import RandomResizedCrop

from dip_lib import load_backbone
from dip_lib.clip.features import encode_split, encode_views, load_features
from dip_lib.data import loader
from dip_lib.data.pictures import Pictures
from dip_lib.data.views import NARROW, TRIES, crop_box, plain_view, random_view
from dip_lib.errors import UnknownNameError
from dip_lib.randomness import uniform

SHAPES = ((60, 80), (90, 64), (48, 48), (50, 200), (33, 47))
"""Height and width of the pictures; each is repeated in other colours."""


def smooth(height: int, width: int, seed: int) -> Image.Image:
    """A smooth random picture, as photographs are at the scale of a pixel."""
    noise = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("pictures")
    for i in range(20):
        smooth(*SHAPES[i % len(SHAPES)], seed=i).save(root / f"{i}.jpg", quality=95)
    return root


@pytest.fixture
def dataset(folder: Path) -> Pictures:
    listed = [(f"{i}.jpg", i % 2) for i in range(20)]
    files = {"train": listed, "val": listed[:6], "test": listed[10:]}
    return Pictures("photos", ("small alpha", "small beta"), folder, files, workers=0)


def every(dataset: Pictures, *views: int | None, **options: Any) -> Tensor:
    """All batches of the training pictures in one: (V, B, 3, S, S), at 32 pixels."""
    return torch.cat(list(dataset.batches("train", views, **{"size": 32} | options)), 1)


# ---- the views ----------------------------------------------------------------------------------


def test_a_plain_view_is_open_clips_test_transform(dataset: Pictures, folder: Path) -> None:
    about = {"mean": open_clip.OPENAI_DATASET_MEAN, "std": open_clip.OPENAI_DATASET_STD}
    theirs = open_clip.image_transform(224, False, **about)
    clip = replace(load_backbone("glyph-vit"), **about)
    (images,) = next(dataset.batches("train"))
    assert images.shape == (20, 3, 224, 224)
    for i, image in enumerate(clip.normalise(images)):
        expected = theirs(Image.open(folder / f"{i}.jpg"))
        torch.testing.assert_close(image, expected, atol=1e-6, rtol=0)


def test_features_of_files_are_those_of_preprocessed_pictures(
    dataset: Pictures, folder: Path
) -> None:
    clip = load_backbone("glyph-resnet")
    shown = torch.stack([clip.preprocess(Image.open(folder / f"{i}.jpg")) for i in range(10, 20)])
    torch.testing.assert_close(encode_split(clip, dataset, "test"), clip.encode_image(shown))


@pytest.mark.parametrize("shape", [(375, 500), (64, 64), (40, 900), (300, 70), (3, 2)])
def test_boxes_are_drawn_as_torchvisions(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    count, picture = 1500, torch.empty(3, *shape)
    params = [
        RandomResizedCrop.get_params(picture, (0.08, 1), (3 / 4, 4 / 3)) for _ in range(count)
    ]
    theirs, draws = np.array(params), uniform(1, 0, (count, 4 * TRIES)).tolist()
    ours = np.array([crop_box(*shape, numbers) for numbers in draws])
    for name, mine, reference in zip(("top", "left", "h", "w"), ours.T, theirs.T, strict=True):
        assert ks_2samp(mine, reference).pvalue > 1e-3, name
    assert (ours[:, :2] >= 0).all()
    assert (ours[:, :2] + ours[:, 2:] <= shape).all()
    assert (ours[:, 2:] > 0).all()


@pytest.mark.parametrize("shape", [(30, 400), (400, 30), (60, 60), (1, 1)])
def test_where_no_box_fits_the_centre_is_kept_as_torchvision_does(shape: tuple[int, int]) -> None:
    nothing_fits = [0.999, 0.0, 0.5, 0.5, 0.999, 0.999, 0.5, 0.5] * (TRIES // 2)
    narrow = RandomResizedCrop.get_params(torch.empty(3, *shape), (50, 50), (3 / 4, 4 / 3))
    assert crop_box(*shape, nothing_fits) == tuple(narrow)


@pytest.mark.parametrize("shape", [(5, 700), (900, 3), (4, 4 * NARROW + 1), (7 * NARROW + 40, 7)])
def test_of_a_strip_only_what_the_crop_keeps_is_resized(shape: tuple[int, int]) -> None:
    strip = smooth(*shape, seed=4)
    height, width = shape
    scale = 32 / min(shape)
    whole = strip.resize((int(width * scale), int(height * scale)), Image.Resampling.BICUBIC)
    left, top = round((whole.width - 32) / 2), round((whole.height - 32) / 2)
    expected = np.array(whole.crop((left, top, left + 32, top + 32))).astype(int)
    found = plain_view(strip, 32).permute(1, 2, 0).numpy().astype(int)
    assert np.abs(found - expected).max() <= 1


@pytest.mark.parametrize("shape", [(1, 30_000), (30_000, 1)])
def test_a_long_strip_is_read_in_little_memory(tmp_path: Path, shape: tuple[int, int]) -> None:
    Image.fromarray(np.full((*shape, 3), 90, dtype=np.uint8)).save(tmp_path / "strip.png")
    dataset = Pictures("one", ("x",), tmp_path, {"train": [("strip.png", 0)]}, workers=0)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = every(dataset, None, 0, size=224)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 * 1024  # KiB
    assert torch.allclose(found, torch.tensor(90 / 255))


@pytest.mark.parametrize("flip", [0.4, 0.6])
def test_a_random_view_is_pils_resized_crop(flip: float) -> None:
    picture = smooth(375, 500, seed=3)
    pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1)
    for draws in uniform(5, 0, (10, 4 * TRIES)).tolist():
        top, left, height, width = crop_box(375, 500, draws)
        part = picture.crop((left, top, left + width, top + height))
        small = part.resize((96, 96), Image.Resampling.BICUBIC)
        if flip < 0.5:
            small = small.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        expected = torch.from_numpy(np.array(small)).permute(2, 0, 1).float()
        found = random_view(pixels, [flip, *draws], 96).float()
        assert (found - expected).abs().mean() < 2


def test_half_of_the_views_are_mirrored() -> None:
    pixels = torch.arange(64, dtype=torch.uint8).expand(3, 64, 64)  # brighter to the right
    draws = uniform(2, 0, (400, 1 + 4 * TRIES)).tolist()
    shown = [random_view(pixels, numbers, 8).float() for numbers in draws]
    mirrored = sum(bool(view[0, 0, 0] > view[0, 0, -1]) for view in shown)
    assert 160 < mirrored < 240


# ---- a view is a function of picture, seed and number -------------------------------------------


def test_a_view_is_the_same_alone_in_a_batch_and_in_any_order(dataset: Pictures) -> None:
    whole = every(dataset, None, 0, 1)
    assert whole.shape == (3, 20, 3, 32, 32)
    assert 0 <= whole.min() <= whole.max() <= 1
    assert torch.equal(every(dataset, 1), whole[[2]])
    rows = [13, 2, 7]
    assert torch.equal(every(dataset, 1, None, rows=rows), whole[[2, 0]][:, rows])
    distinct = {tuple(view.flatten().tolist()) for view in whole.flatten(0, 1)}
    assert len(distinct) == 60


def test_workers_change_nothing(dataset: Pictures) -> None:
    state = torch.get_rng_state()
    inside, outside = every(dataset, None, 0), every(replace(dataset, workers=2), None, 0)
    assert torch.equal(inside, outside)
    assert torch.equal(torch.get_rng_state(), state)  # nor the caller's random numbers


def test_spawned_workers_change_nothing(dataset: Pictures) -> None:
    inside, method = every(dataset, None, 0), multiprocessing.get_start_method()
    multiprocessing.set_start_method("spawn", force=True)
    try:
        assert torch.equal(every(replace(dataset, workers=1), None, 0), inside)
    finally:
        multiprocessing.set_start_method(method, force=True)


def threads(*paths: Any, **options: Any) -> str:
    """In place of decoding: an error message that says how many threads torch has."""
    return str(torch.get_num_threads())


def test_a_worker_has_one_thread(dataset: Pictures, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader, "decode", threads)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        for workers, count in ((0, "2"), (1, "1")):
            with pytest.raises(ValueError, match=f"^{count}$"):
                every(replace(dataset, workers=workers), None)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("cores", "pictures", "workers"), [(4, 999, 4), (64, 999, 8), (4, 20, 0), (1, 999, 0)]
)
def test_as_many_workers_as_usable_cores_and_none_for_a_few_pictures(
    monkeypatch: pytest.MonkeyPatch, cores: int, pictures: int, workers: int
) -> None:
    monkeypatch.setattr(loader, "usable_cores", lambda: cores)
    assert loader.loader_processes(pictures) == workers


@pytest.mark.parametrize("views", [(None,), (0, 1), (None, 3)])
def test_what_travels_from_a_worker_is_as_large_as_the_views_and_no_tensor(
    dataset: Pictures, views: tuple[int | None, ...]
) -> None:
    items = [(dataset.root / path, 7) for path, _ in dataset.files["train"][:3]]
    part = loader.message(items, views, 32, crop=True)
    assert isinstance(part, np.ndarray) and part.dtype == np.uint8
    assert part.shape == (len(views), 3, 3, 32, 32)
    whole = loader.message(items, views, 32, crop=False)
    assert isinstance(whole, loader.Decoded)
    assert torch.equal(loader.show(whole, views, [7] * 3, 32, CPU), torch.from_numpy(part))


CPU = torch.device("cpu")


def at_work() -> bool:
    return torch.utils.data.get_worker_info() is not None


def killed(*paths: Any, **options: Any) -> Any:
    """Decoding that the system kills in a worker, as it does where memory runs out."""
    if at_work():
        os.kill(os.getpid(), signal.SIGKILL)
    return DECODE(*paths, **options)


def hung(*paths: Any, **options: Any) -> Any:
    """Decoding that never ends in a worker."""
    if at_work():
        time.sleep(999)
    return DECODE(*paths, **options)


def forbidden(*_: Any, **__: Any) -> None:
    raise BlockingIOError(11, "Resource temporarily unavailable")


DECODE = loader.decode


@pytest.mark.parametrize("decoding", [killed, hung])
def test_workers_that_fail_are_said_in_one_line_and_change_nothing(
    dataset: Pictures, monkeypatch: pytest.MonkeyPatch, decoding: Callable[..., Any]
) -> None:
    expected = every(dataset, None, 0)
    monkeypatch.setattr(loader, "decode", decoding)
    monkeypatch.setattr(loader, "PATIENCE", 1)
    with pytest.warns(UserWarning, match="loader processes") as caught:
        assert torch.equal(every(replace(dataset, workers=1), None, 0), expected)
    assert len(caught) == 1 and "\n" not in str(caught[0].message)


def test_workers_that_cannot_be_started_are_said_too(
    dataset: Pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.fork", forbidden)  # as where no more processes are allowed
    with pytest.warns(UserWarning, match="temporarily"):
        assert every(replace(dataset, workers=2), None).shape == (1, 20, 3, 32, 32)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_shows_what_the_cpu_shows(dataset: Pictures) -> None:
    on_cpu, on_gpu = every(dataset, None, 0, 1), every(dataset, None, 0, 1, device="cuda")
    assert on_gpu.device.type == "cuda"
    assert (on_gpu.cpu() - on_cpu).abs().mean() < 0.5 / 255
    assert (on_gpu.cpu() - on_cpu).abs().max() < 4 / 255


# ---- decoding -----------------------------------------------------------------------------------


def test_each_picture_is_decoded_once_for_all_views(
    dataset: Pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, open_picture = [], Image.open

    def count(path: Path) -> Image.Image:
        opened.append(path.name)
        return open_picture(path)

    monkeypatch.setattr(Image, "open", count)
    clip = load_backbone("glyph-resnet")
    found = load_features(clip, dataset, views=4)
    assert found.train.shape == (4, 20, 128)
    assert len(opened) == 20 + 6 + 10
    assert encode_views(clip, dataset, "train", (5, 2, 4)).shape == (3, 20, 128)
    assert len(opened) == 36 + 20  # once more for the two missing views


@pytest.mark.parametrize(
    ("mode", "suffix"),
    [("L", "jpg"), ("CMYK", "jpg"), ("P", "png"), ("RGBA", "png"), ("LA", "png"), ("1", "png")],
)
def test_any_kind_of_picture_is_read_as_pil_converts_it(
    tmp_path: Path, mode: str, suffix: str
) -> None:
    path = tmp_path / f"picture.{suffix}"
    smooth(32, 32, seed=1).convert(mode).save(path)
    with Image.open(path) as saved:
        assert saved.mode == mode
        expected = torch.from_numpy(np.array(saved.convert("RGB"))).permute(2, 0, 1) / 255
    found = every(Pictures("one", ("x",), tmp_path, {"train": [(path.name, 0)]}), None, 0)
    assert torch.equal(found[0, 0], expected)
    assert found.shape == (2, 1, 3, 32, 32)


@pytest.mark.parametrize("shape", [(1, 1), (1, 90), (700, 2)])
def test_any_size_of_picture_is_read(tmp_path: Path, shape: tuple[int, int]) -> None:
    deep = Image.fromarray(np.full(shape, 200, dtype=np.uint16))  # 16 bits
    deep.save(tmp_path / "deep.png")
    dataset = Pictures("one", ("x",), tmp_path, {"train": [("deep.png", 0)]})
    assert every(dataset, None, 0).shape == (2, 1, 3, 32, 32)


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-400]), "truncated"),
        (lambda path: path.write_text("no picture"), "cannot identify"),
        (lambda path: path.write_bytes(b""), "cannot identify"),
    ],
    ids=["truncated", "text", "empty"],
)
def test_an_unreadable_picture_is_named_with_a_remedy(
    dataset: Pictures, tmp_path: Path, workers: int, damage: Callable[[Path], Any], reason: str
) -> None:
    root = shutil.copytree(dataset.root, tmp_path / "copy")
    damage(root / "3.jpg")
    with pytest.raises(ValueError, match="3.jpg") as error:
        every(replace(dataset, root=root, workers=workers), None, 0)
    assert "Traceback" not in str(error.value)


@pytest.mark.parametrize("suffix", ["png", "gif", "webp", "tif", "bmp", "avif"])
def test_every_format_says_its_damage_in_the_same_words(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"picture.{suffix}"
    smooth(60, 80, seed=1).save(path)
    data = path.read_bytes()
    for keep in (len(data) // 30, len(data) // 3, len(data) * 2 // 3):
        path.write_bytes(data[:keep])
        dataset = Pictures("one", ("x",), tmp_path, {"train": [(path.name, 0)]})
        with pytest.raises(ValueError, match=f"picture.{suffix}"):
            every(dataset, None)


def test_a_missing_picture_is_named_with_a_remedy(dataset: Pictures, tmp_path: Path) -> None:
    root = shutil.copytree(dataset.root, tmp_path / "copy")
    (root / "7.jpg").unlink()
    with pytest.raises(ValueError, match="7.jpg"):
        _ = replace(dataset, root=root).fingerprint


# ---- the list -----------------------------------------------------------------------------------


def test_the_fingerprint_changes_with_bytes_order_labels_and_names_alone(
    dataset: Pictures, tmp_path: Path
) -> None:
    train = list(dataset.files["train"])
    root = shutil.copytree(dataset.root, tmp_path / "copy")
    same = replace(dataset, root=root, name="other", workers=3, template="{}")
    assert same.fingerprint == dataset.fingerprint
    changed = [
        replace(dataset, class_names=("small alpha", "small gamma")),
        replace(dataset, files={**dataset.files, "train": train[::-1]}),
        replace(dataset, files={**dataset.files, "train": train[:-1]}),
        replace(dataset, files={**dataset.files, "train": [(train[0][0], 1), *train[1:]]}),
    ]
    data = bytearray((root / "3.jpg").read_bytes())
    data[-3] ^= 1
    (root / "3.jpg").write_bytes(data)
    changed.append(replace(dataset, root=root))
    found = {each.fingerprint for each in (dataset, *changed)}
    assert len(found) == 6
    assert not torch.equal(every(changed[3], 0), every(dataset, 0))  # its views are other views


def test_labels_are_those_of_the_list(dataset: Pictures) -> None:
    assert dataset.labels("train").tolist() == [0, 1] * 10
    assert dataset.groups("val") == ["all"] * 6
    with pytest.raises(UnknownNameError, match="vall"):
        dataset.labels("vall")
    with pytest.raises(ValueError, match="a.jpg"):
        replace(dataset, files={"train": [("a.jpg", 2)]})
