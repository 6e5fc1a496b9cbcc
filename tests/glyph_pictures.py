"""Glyph World as picture files: folders of PNGs for the tests of a user's own pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torchvision.transforms.v2.functional import to_pil_image

from dip_lib.data import load_dataset


def write_pictures(folder: Path, family: str, names: Sequence[str], count: int = 12) -> Path:
    """One folder a class with ``count`` pictures each; ``names`` are classes of the family."""
    dataset = load_dataset(family)
    labels = dataset.labels("train").tolist()
    wanted = [dataset.class_names.index(name) for name in names]
    rows = sorted(r for label in wanted for r in _first(labels, label, count))
    images = [image for batch in dataset.batches("train", rows=rows) for image in batch[0]]
    for row, image in zip(rows, images, strict=True):
        path = folder / dataset.class_names[labels[row]].replace(" ", "_") / f"{row:05}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        to_pil_image(image).save(path)
    return folder


def _first(labels: Sequence[int], label: int, count: int) -> list[int]:
    return [row for row, each in enumerate(labels) if each == label][:count]
