"""CLIP's test transform against the formula of bicubic resampling in float64, and OpenAI's recipe.

PIL resamples in two passes and rounds to 8 bits after each; the formula does not round. So a
pixel may be off by half a level twice, the first half times sum |w| <= 1.27 of the second pass: at
most 1.14 of 255 levels. On average it is about 0.3, and on average over signs nothing: a shifted
crop, another kernel or no antialias are off by whole levels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torchvision import transforms

from dip_lib import load_backbone
from dip_lib.data.pictures import Pictures
from dip_lib.data.views import plain_view

Array = NDArray[np.float64]
MOST, MEAN, BIAS = 1.2, 0.35, 0.05
"""Levels of 255 that a pixel, its absolute mean and its signed mean may be off."""
STATISTICS = {"mean": open_clip.OPENAI_DATASET_MEAN, "std": open_clip.OPENAI_DATASET_STD}

SHAPES = {
    "a photograph": (375, 500),
    "upright": (500, 333),
    "wide": (60, 400),
    "tall": (901, 97),
    "exactly S": (224, 224),
    "S high": (224, 301),
    "one more than S": (225, 225),
    "smaller than S": (50, 61),
    "one pixel high": (1, 3),
    "large": (700, 803),
}


def detailed(height: int, width: int, bands: int = 3) -> NDArray[np.uint8]:
    """Hard edges, fine texture and gentle slopes, none symmetric, none near black or white."""
    rng = np.random.default_rng(height * 2000 + width)
    y, x = np.mgrid[:height, :width]
    slope = 40 * np.sin(x / 37 + y / 23)[..., None] + np.arange(bands) * 10
    edges = 50.0 * ((x // 9 + 2 * (y // 14)) % 3 == 0)[..., None]
    pixels = 85 + slope + edges + rng.normal(0, 15, (height, width, bands))
    return np.clip(pixels, 40, 215).astype(np.uint8)


# ---- the formula --------------------------------------------------------------------------------


def weights(before: int, after: int) -> Array:
    """Bicubic resampling of one axis as a matrix (after, before), a = -1/2.

    A shrinking axis stretches the kernel by the factor of reduction (antialias); weights outside
    the picture are left out and the others scaled to sum 1.
    """
    factor = before / after
    stretch = max(factor, 1.0)
    centres = (np.arange(after) + 0.5) * factor
    t = np.abs(np.arange(before) + 0.5 - centres[:, None]) / stretch
    near, far = 1.5 * t**3 - 2.5 * t**2 + 1, -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2
    kernel = np.where(t < 1, near, np.where(t < 2, far, 0.0))
    return kernel / kernel.sum(1, keepdims=True)


def formula(pixels: NDArray[np.uint8], size: int, upright_first: bool = False) -> Array:
    """Shorter side to ``size``, centre crop: (S, S, 3) in levels, cut off at 0 and 255 as in PIL.

    The order of the two passes matters only where something is cut off.
    """
    height, width = pixels.shape[:2]
    short = min(height, width)
    tall, broad = size * height // short, size * width // short
    found = pixels.astype(np.float64)
    for axis in (0, 1) if upright_first else (1, 0):
        matrix = weights(found.shape[axis], (tall, broad)[axis])
        found = np.moveaxis(np.tensordot(matrix, found, (1, axis)), 0, axis).clip(0, 255)
    top, left = round((tall - size) / 2), round((broad - size) / 2)
    return found[top : top + size, left : left + size]


def shown(picture: Image.Image | Path, folder: Path, size: int) -> Tensor:
    """A picture as every dataset of files shows it: (3, S, S) in 0..1."""
    if isinstance(picture, Image.Image):
        path = folder / "picture.png"
        picture.save(path)
    else:
        path = picture
    dataset = Pictures("one", ("x",), path.parent, {"test": [(path.name, 0)]}, workers=0)
    return next(dataset.batches("test", size=size))[0, 0]


def levels(view: Tensor) -> Array:
    """(3, S, S) in 0..1 -> (S, S, 3) in 0..255, float64."""
    return view.double().permute(1, 2, 0).numpy() * 255


def off(found: Array, expected: Array) -> tuple[float, float, float]:
    """Largest, mean absolute and mean signed difference."""
    difference = found - expected
    return abs(difference).max(), abs(difference).mean(), abs(difference.mean())


def is_the_formula(found: Array, expected: Array) -> bool:
    most, mean, bias = off(found, expected)
    return most < MOST and mean < MEAN and bias < BIAS


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_a_file_is_shown_as_the_formula_says(tmp_path: Path, shape: tuple[int, int]) -> None:
    pixels = detailed(*shape)
    found = levels(shown(Image.fromarray(pixels), tmp_path, 224))
    assert found.shape == (224, 224, 3)
    assert is_the_formula(found, formula(pixels, 224)), off(found, formula(pixels, 224))


@pytest.mark.parametrize("size", [48, 224, 336])
def test_every_size_of_tower_is_the_formula(tmp_path: Path, size: int) -> None:
    pixels = detailed(375, 500)
    found = levels(shown(Image.fromarray(pixels), tmp_path, size))
    assert is_the_formula(found, formula(pixels, size))


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_beyond_black_and_white_it_is_cut_off(tmp_path: Path, shape: tuple[int, int]) -> None:
    stark = np.where(detailed(*shape) > 115, 255, 0).astype(np.uint8)
    found = levels(shown(Image.fromarray(stark), tmp_path, 48))
    # PIL begins with the pass that it holds to be cheaper, not the same in all versions
    orders = [formula(stark, 48, first) for first in (False, True)]
    assert any(is_the_formula(found, expected) for expected in orders)


def test_the_tolerance_tells_other_recipes_apart() -> None:
    pixels, size = detailed(375, 500), 224
    picture, expected = Image.fromarray(pixels), formula(pixels, size)
    height, width = 224, 298
    assert is_the_formula(levels(plain_view(picture, size) / 255), expected)
    tensor = torch.from_numpy(pixels).permute(2, 0, 1)[None].float()
    options: dict[str, Any] = {"size": (height, width), "mode": "bicubic"}
    blurred = picture.resize((width, height), Image.Resampling.BILINEAR)
    others = {
        "no antialias": torch.nn.functional.interpolate(tensor, **options)[0].clamp(0, 255),
        "bilinear": torch.from_numpy(np.array(blurred)).permute(2, 0, 1),
    }
    sharp = torch.from_numpy(np.array(picture.resize((width, height), Image.Resampling.BICUBIC)))
    crops = {name: view[:, :, 37 : 37 + size] for name, view in others.items()}
    crops["crop off by one"] = sharp.permute(2, 0, 1)[:, :, 38 : 38 + size]
    for name, view in crops.items():
        assert not is_the_formula(view.permute(1, 2, 0).double().numpy(), expected), name
    squashed = picture.resize((size, size), Image.Resampling.BICUBIC)
    assert not is_the_formula(np.array(squashed, dtype=float), expected)


# ---- what the towers read -----------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_towers_read_the_formula_normalised(tmp_path: Path, shape: tuple[int, int]) -> None:
    pixels, clip = detailed(*shape), replace(load_backbone("glyph-vit"), **STATISTICS)
    mean, std = (np.array(STATISTICS[key], dtype=np.float64) for key in ("mean", "std"))
    picture = Image.fromarray(pixels)
    ours = clip.normalise(shown(picture, tmp_path, 224))
    theirs = open_clip.image_transform(224, False, **STATISTICS)(picture)
    expected = (formula(pixels, 224) / 255 - mean) / std
    for found in (ours, theirs):
        back = found.double().permute(1, 2, 0).numpy()
        assert (abs(back - expected) * std * 255).max() < MOST
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=0)


def openai(picture: Image.Image, size: int) -> Tensor:
    """OpenAI's clip.load, ``_transform``, of a picture in colour."""
    recipe: Callable[[Image.Image], Tensor] = transforms.Compose(
        [
            transforms.Resize(size, interpolation=transforms.InterpolationMode.BICUBIC),
            transforms.CenterCrop(size),
            lambda image: image.convert("RGB"),
            transforms.ToTensor(),
            transforms.Normalize(
                (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
            ),
        ]
    )
    return recipe(picture)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_the_path_of_files_is_openais_recipe(tmp_path: Path, shape: tuple[int, int]) -> None:
    clip = replace(load_backbone("glyph-vit"), **STATISTICS)
    picture = Image.fromarray(detailed(*shape))
    ours = clip.normalise(shown(picture, tmp_path, 224))
    torch.testing.assert_close(ours, openai(picture, 224), atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", ["glyph-vit", "glyph-resnet"])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_a_backbones_own_preprocessing_is_the_path_of_files(
    tmp_path: Path, name: str, shape: tuple[int, int]
) -> None:
    clip, picture = load_backbone(name), Image.fromarray(detailed(*shape))
    ours = clip.normalise(shown(picture, tmp_path, clip.image_size))
    torch.testing.assert_close(clip.preprocess(picture), ours, atol=1e-6, rtol=0)
    mean, std = torch.tensor(clip.mean).view(3, 1, 1), torch.tensor(clip.std).view(3, 1, 1)
    back = levels(clip.preprocess(picture) * std + mean)
    assert is_the_formula(back, formula(np.array(picture), clip.image_size))


# ---- kinds of picture: converted first, then resampled ------------------------------------------

SHAPE = (90, 131)


def kind(name: str, folder: Path) -> tuple[Path, NDArray[np.uint8]]:
    """A file of some kind, and the colours (H, W, 3) that it stands for."""
    pixels = detailed(*SHAPE)
    grey = detailed(*SHAPE, bands=1)[..., 0]
    colour = Image.fromarray(pixels)
    path, options = folder / f"{name}.png", dict[str, Any]()
    if name == "greyscale":
        picture, expected = Image.fromarray(grey), np.stack([grey] * 3, -1)
    elif name == "16 bits":  # black and white stay so, 257 levels are one
        deep = grey.astype(np.uint16) * 257
        picture, expected = Image.fromarray(deep), np.stack([grey] * 3, -1)
    elif name == "CMYK":
        inks = np.concatenate([detailed(*SHAPE, bands=3), grey[..., None] // 2], -1)
        path, picture = folder / "inks.tif", Image.fromarray(inks, "CMYK")
        paper = (255.0 - inks[..., :3]) * (255 - inks[..., 3:]) / 255
        expected = np.round(paper).astype(np.uint8)
    elif name == "turned":
        path, options["exif"] = folder / "turned.png", Image.Exif()
        options["exif"][0x0112] = 6  # the camera was held upright
        picture, expected = colour, pixels  # as stored, as in the peers
    elif name == "palette":
        picture = colour.quantize(17)
        table = np.array(picture.getpalette(), dtype=np.uint8).reshape(-1, 3)
        expected = table[np.array(picture)]
        options["transparency"] = 3  # shows the colour that lies under it
    elif name == "transparent":
        picture = Image.fromarray(np.concatenate([pixels, grey[..., None]], -1))
        expected = pixels
    else:
        path, options = folder / "moves.png", {"save_all": True, "duration": 100}
        options["append_images"] = [colour.rotate(180), Image.new("RGB", SHAPE[::-1])]
        picture, expected = colour, pixels  # the first frame
    picture.save(path, **options)
    return path, expected


KINDS = ["greyscale", "16 bits", "CMYK", "turned", "palette", "transparent", "animated"]


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_picture_is_the_formula_of_its_colours(tmp_path: Path, name: str) -> None:
    path, colours = kind(name, tmp_path)
    found, expected = levels(shown(path, tmp_path, 48)), formula(colours, 48)
    # inks become colours in whole levels, by PIL's own rounding: one more
    most, mean, _ = off(found, expected)
    assert most < MOST + (name == "CMYK"), most
    assert mean < MEAN + 0.5 * (name == "CMYK"), mean


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_is_read_as_what_it_claims_to_be(tmp_path: Path, name: str) -> None:
    path, _ = kind(name, tmp_path)
    with Image.open(path) as picture:
        modes = {"greyscale": "L", "16 bits": "I;16", "CMYK": "CMYK", "palette": "P"}
        assert picture.mode == (modes | {"transparent": "RGBA"}).get(name, "RGB")
        assert getattr(picture, "n_frames", 1) == (3 if name == "animated" else 1)
        assert (picture.getexif().get(0x0112) == 6) is (name == "turned")
        assert ("transparency" in picture.info) is (name == "palette")


@pytest.mark.parametrize("mode", ["I", "F"])
def test_numbers_without_a_known_range_are_refused_by_name(tmp_path: Path, mode: str) -> None:
    Image.new(mode, (9, 9)).save(tmp_path / "odd.tif")
    with pytest.raises(ValueError, match="odd.tif"):
        shown(tmp_path / "odd.tif", tmp_path, 8)
