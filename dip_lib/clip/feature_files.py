"""The feature cache on disk: a file a view, and the parts that an interrupted encoding leaves."""

from __future__ import annotations

import warnings
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, device

from dip_lib.files import write_atomic


def read_features(path: Path, place: device) -> Tensor | None:
    """The features in a file; None if there is no file, or (with a warning) a damaged one."""
    if not path.is_file():
        return None
    try:
        return load_file(path, device=str(place))["features"]
    except (SafetensorError, KeyError) as error:
        warnings.warn(f"{path} is damaged ({error}): encoding it again", stacklevel=4)
        return None


def write_features(path: Path, features: Tensor) -> None:
    """Write the features of one view (N, e), whole or not at all."""
    write_atomic(path, save({"features": features.cpu().contiguous()}))


def part_path(path: Path, start: int) -> Path:
    """Where the features of ``path`` from image ``start`` on wait until all are there."""
    return path.with_suffix(f".{start:09d}.part")


def begun_parts(path: Path, place: device) -> list[Tensor]:
    """What an interrupted encoding of ``path`` has left: parts (M, e), from the first image on."""
    parts: list[Tensor] = []
    while (part := read_features(part_path(path, sum(map(len, parts))), place)) is not None:
        parts.append(part)
    return parts
