"""Image transforms: CLIP's test transform, VTAB's squeeze, and CoOp's random resized crops.

Symbols: S the side that the encoder reads.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image
from torch import Tensor

AREA, RATIO, TRIES = (0.08, 1.0), (3 / 4, 4 / 3), 10
"""Random resized crop of CoOp and Dassl: share of the area, width / height, tries."""
NARROW = 100
"""A picture is a strip if one side is more than so many times the other."""


def rgb(picture: Image.Image) -> Image.Image:
    """As PIL converts it, but 16 bits of grey are scaled to 8: PIL would show them all white.

    Raises:
        ValueError: pixels of 32 bits, whose range is not known.
    """
    if picture.mode in ("I", "F"):
        raise ValueError("its pixels have 32 bits and no known range; save it with 8 or 16 bits")
    if picture.mode.startswith("I;16"):
        picture = Image.fromarray(np.uint8(np.asarray(picture) / 257 + 0.5))
    return picture.convert("RGB")


def _strip_view(picture: Image.Image, size: int) -> Image.Image:
    """CLIP's test transform of a strip: only the part that the crop keeps is resized.

    It is the same within one level of 255. As a whole, 1 x 30,000 pixels would become
    224 x 6,720,000.
    """
    short, long = sorted(picture.size)
    resized = int(size * long / short)  # as torchvision rounds
    first = round((resized - size) / 2)
    start, end = first * (long / resized), (first + size) * (long / resized)
    box = (start, 0, end, short) if picture.width > picture.height else (0, start, short, end)
    return picture.resize((size, size), Image.Resampling.BICUBIC, box=box)


def plain_view(picture: Image.Image, size: int) -> Tensor:
    """CLIP's test transform: shorter side to ``size``, centre crop; uint8 (3, S, S)."""
    from torchvision.transforms import InterpolationMode
    from torchvision.transforms.v2 import functional as transforms

    if max(picture.size) > NARROW * min(picture.size):
        return transforms.pil_to_tensor(_strip_view(picture, size))
    small = transforms.resize(picture, [size], InterpolationMode.BICUBIC)
    return transforms.pil_to_tensor(transforms.center_crop(small, [size, size]))


def squeezed_view(picture: Image.Image, size: int) -> Tensor:
    """The whole picture, squeezed to a square: uint8 (3, S, S)."""
    from torchvision.transforms.v2 import functional as transforms

    return transforms.pil_to_tensor(picture.resize((size, size), Image.Resampling.BICUBIC))


def crop_box(height: int, width: int, draws: Sequence[float]) -> tuple[int, int, int, int]:
    """Top, left, height and width of a random crop, as torchvision's ``RandomResizedCrop``.

    Args:
        height, width: of the picture, in pixels.
        draws: 4 * TRIES uniform numbers in [0, 1).
    """
    low, high = (math.log(ratio) for ratio in RATIO)
    for start in range(0, 4 * TRIES, 4):
        area, ratio, y, x = draws[start : start + 4]
        target = height * width * (AREA[0] + (AREA[1] - AREA[0]) * area)
        shape = math.exp(low + (high - low) * ratio)
        w, h = round(math.sqrt(target * shape)), round(math.sqrt(target / shape))
        if 0 < w <= width and 0 < h <= height:
            return int(y * (height - h + 1)), int(x * (width - w + 1)), h, w
    # nothing fitted: the largest crop of an allowed shape, in the centre
    w, h = min(width, round(height * RATIO[1])), min(height, round(width / RATIO[0]))
    return (height - h) // 2, (width - w) // 2, h, w


def random_view(picture: Tensor, draws: Sequence[float], size: int) -> Tensor:
    """CoOp's training transform of a picture (3, H, W), uint8, on its device: (3, S, S)."""
    from torchvision.transforms import InterpolationMode
    from torchvision.transforms.v2 import functional as transforms

    box = crop_box(picture.shape[1], picture.shape[2], draws[1:])
    bicubic = InterpolationMode.BICUBIC
    view = transforms.resized_crop(picture, *box, [size, size], bicubic, antialias=True)
    return view.flip(-1) if draws[0] < 0.5 else view
