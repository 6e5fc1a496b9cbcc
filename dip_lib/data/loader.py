"""Pictures decoded in loader processes, and what is shown of them: views of one size.

Crops and resizes run in the loader processes, too, for an encoder on the CPU, so that no whole
picture travels; a GPU makes them itself. Symbols: B pictures, V views, S side of a view.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import parent_process
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader

from dip_lib.data.decode import BROKEN, read_picture, unreadable
from dip_lib.data.views import TRIES, plain_view, random_view, squeezed_view
from dip_lib.machine import usable_cores
from dip_lib.randomness import uniform

MESSAGE = 8
"""Pictures that a loader process hands over at once: few, since a photograph can be large."""
PATIENCE = 300
"""Seconds that loader processes may take over one message before they count as hung."""
T = TypeVar("T")

Pixels = NDArray[np.uint8]
Item = tuple[Path, int]
"""A picture's file and the seed of its views."""


class Decoded(NamedTuple):
    """Some pictures as NumPy arrays. These travel from a loader process through a pipe; tensors
    would travel through /dev/shm, of which a container has 64 MB."""

    pixels: Pixels  # of all pictures, one after another; empty where they are not wanted
    shapes: list[tuple[int, int]]  # (H, W) of each
    plain: Pixels  # (B, 3, S, S) plain views; empty where they are not wanted


def decode(
    paths: list[Path], size: int, whole: bool, plain: bool, squeezed: bool = False
) -> Decoded | str:
    """The pictures: pixels if ``whole``, plain views if ``plain``, which are CLIP's test transform
    unless ``squeezed``; or what is wrong with one."""
    pixels, shapes, views = [np.empty(0, np.uint8)], [], []
    view = squeezed_view if squeezed else plain_view
    for path in paths:
        try:
            picture = read_picture(path)
        except BROKEN as error:
            return unreadable(path, error)
        shapes.append((picture.height, picture.width))
        if whole:
            pixels.append(np.asarray(picture).ravel())
        if plain:
            views.append(view(picture, size).numpy())
    return Decoded(np.concatenate(pixels), shapes, np.stack(views) if plain else pixels[0])


def show(
    decoded: Decoded,
    views: Sequence[int | None],
    seeds: Sequence[int],
    size: int,
    device: torch.device,
) -> Tensor:
    """All views of some pictures: (V, B, 3, S, S), uint8, on the device."""
    pictures: list[Tensor] = []
    if len(decoded.pixels):
        sizes = [3 * h * w for h, w in decoded.shapes]
        parts = torch.from_numpy(decoded.pixels).to(device).split(sizes)
        sized = zip(parts, decoded.shapes, strict=True)
        pictures = [part.view(h, w, 3).permute(2, 0, 1) for part, (h, w) in sized]
    view_images = []
    for view in views:
        if view is None:
            view_images.append(torch.from_numpy(decoded.plain).to(device))
        else:
            numbers = torch.tensor(seeds, dtype=torch.int64)
            draws = uniform(numbers, view, (1 + 4 * TRIES,), stream=3).tolist()
            each = zip(pictures, draws, strict=True)
            view_images.append(torch.stack([random_view(p, drawn, size) for p, drawn in each]))
    return torch.stack(view_images)


def message(
    items: list[Item], views: Sequence[int | None], size: int, crop: bool, squeezed: bool = False
) -> Decoded | Pixels | str:
    """What a loader process hands over of some pictures, or what is wrong with one.

    Args:
        crop: whether the views are made here, (V, B, 3, S, S), so that no whole picture travels;
            a GPU makes them itself.
        squeezed: whether the plain view is the whole picture, squeezed to a square.
    """
    numbered = any(view is not None for view in views)
    decoded = decode([path for path, _ in items], size, numbered, None in views, squeezed)
    if isinstance(decoded, str) or not crop:
        return decoded
    shown: Pixels = show(decoded, views, [s for _, s in items], size, torch.device("cpu")).numpy()
    return shown


def loader_processes(pictures: int) -> int:
    """Loader processes for so many pictures: one a usable core, at most eight.

    None for a few pictures, on one core, and inside a worker process.
    """
    cores = usable_cores()
    return 0 if parent_process() or cores < 2 else min(8, cores, pictures // (8 * MESSAGE))


def messages(items: list[Item], workers: int, read: Callable[[list[Item]], T]) -> Iterator[T]:
    """``read`` of eight items at a time, in order, in loader processes.

    Where these cannot be had, are killed or hang, one line says so, and this process reads on.
    """
    done = 0
    if workers:
        try:
            loader: DataLoader[Any] = DataLoader(
                cast(Any, items),
                batch_size=MESSAGE,
                num_workers=workers,  # each has one torch thread, as torch's own loader sets it
                collate_fn=read,
                timeout=PATIENCE,
                generator=torch.Generator(),  # the caller's random numbers stay where they are
            )
            for message in loader:
                yield message
                done += 1
        except (RuntimeError, OSError, MemoryError) as error:
            why = (str(error).splitlines() or [type(error).__name__])[0]
            said = f"loader processes failed ({why}): one process reads the pictures on, slower"
            warnings.warn(said, stacklevel=3)
    for start in range(done * MESSAGE, len(items), MESSAGE):
        yield read(items[start : start + MESSAGE])
