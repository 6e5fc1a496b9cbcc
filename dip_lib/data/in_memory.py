"""Pictures as callers have them: paths, PIL images, NumPy arrays and tensors, one or many.

| given | shape | values |
|---|---|---|
| PIL image | any size and mode | |
| array | (H, W), (H, W, 1), (H, W, 3) or (H, W, 4); many: (N, H, W, 3) | uint8, or floats in 0..1 |
| tensor | (H, W), (1, H, W), (3, H, W) or (4, H, W); many: (N, 3, H, W) | as an array |

Several may come in a list, paths of files among them. Arrays are read as PIL reads files, so that a
picture gives the same answer whichever way it comes.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from dip_lib.checks import shown
from dip_lib.data.decode import BROKEN, read_picture, unreadable
from dip_lib.data.walk import find_pictures
from dip_lib.errors import BadValueError, UnreadablePictureError

CHANNELS = (1, 3, 4)
NEEDS = (
    "paths, PIL images, uint8 or 0..1 arrays (H, W, 3) or (N, H, W, 3), or tensors (3, H, W) or "
    "(N, 3, H, W)"
)
Picture = str | os.PathLike[str] | Image.Image | NDArray[Any] | Tensor
Given = Picture | Iterable[Picture]
"""What a caller may give: see the top of this file."""


def in_order(pictures: Given) -> list[Picture]:
    """The pictures one by one, in a list; where all are paths, those below a folder in its place.

    Raises:
        BadValueError: what is no picture, nor a collection of pictures.
        ValueError: folders that cannot be read, or that hold no picture at all.
    """
    listed = _listed(pictures)
    paths = only_paths(listed)
    return listed if paths is None else [*find_pictures(paths).files]


def _listed(pictures: Given) -> list[Picture]:
    """The pictures in a list; a single one alone in it."""
    if isinstance(pictures, str | os.PathLike | Image.Image):
        return [pictures]
    if isinstance(pictures, np.ndarray | Tensor) and pictures.ndim != 1:
        return [*pictures] if pictures.ndim == 4 else [pictures]
    if isinstance(pictures, bytes | dict):
        raise BadValueError("images", shown(pictures), NEEDS)
    try:
        listed: list[Picture] = [*iter(pictures)]
    except TypeError as error:
        raise BadValueError("images", shown(pictures), NEEDS) from error
    kinds = (str, os.PathLike, Image.Image, np.ndarray, Tensor)
    for i, each in enumerate(listed):
        if not isinstance(each, kinds):
            raise BadValueError(f"images[{i}]", shown(each), NEEDS)
    return listed


def only_paths(pictures: Sequence[Picture]) -> list[Path] | None:
    """The pictures as paths; None if one of them is in memory."""
    paths = [Path(each) for each in pictures if isinstance(each, str | os.PathLike)]
    return paths if len(paths) == len(pictures) else None


def as_pil(picture: Picture) -> Image.Image:
    """One picture as PIL has it.

    Raises:
        BadValueError: another shape or type of numbers than the table above has, or values outside
            0..1.
        UnreadablePictureError: a file that cannot be read, by name, with a remedy.
    """
    if isinstance(picture, Image.Image):
        return picture
    if isinstance(picture, Tensor):
        return _of_array(_channels_last(picture), picture.shape)
    if isinstance(picture, np.ndarray):
        return _of_array(picture, picture.shape)
    try:
        return read_picture(Path(picture))
    except BROKEN as error:
        raise UnreadablePictureError(unreadable(Path(picture), error)) from error


def _channels_last(tensor: Tensor) -> NDArray[Any]:
    tensor = tensor.detach().cpu()
    tensor = tensor.float() if tensor.is_floating_point() else tensor  # NumPy has no bfloat16
    return (tensor.permute(1, 2, 0) if tensor.ndim == 3 else tensor).numpy()


def _of_array(array: NDArray[Any], given: Iterable[int]) -> Image.Image:
    """A picture (H, W) or (H, W, channels); ``given`` is the shape to name in an error."""
    size = tuple(given)
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in CHANNELS):
        raise BadValueError("images", f"an array or tensor {size}", NEEDS)
    if not array.size:
        raise BadValueError("images", f"an array or tensor {size}", "of at least one pixel")
    if np.issubdtype(array.dtype, np.floating):
        low, high = float(array.min()), float(array.max())
        if not -1e-3 <= low <= high <= 1 + 1e-3:  # NaN, too, is outside
            found = f"numbers from {low:.3g} to {high:.3g}"
            raise BadValueError("images", found, "in 0..1 where they are floats: not normalised")
        array = (np.clip(array, 0, 1) * 255 + 0.5).astype(np.uint8)
    if array.dtype != np.uint8:
        raise BadValueError("images", f"numbers of type {array.dtype}", "uint8, or floats in 0..1")
    grey = array.ndim == 3 and array.shape[2] == 1
    return Image.fromarray(np.ascontiguousarray(array[..., 0] if grey else array))
