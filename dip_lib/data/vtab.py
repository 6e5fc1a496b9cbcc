"""VTAB-1k and FGVC in their prepared folders: which files list which images.

VTAB-1k: ``train800.txt``, ``val200.txt`` and ``test.txt`` with a line "path label" for each image.
FGVC (CUB, NABirds, Flowers, Dogs, Cars): VPT's ``train.json``, ``val.json`` and ``test.json``, each
path -> class. Paths start in the folder of the lists, or in its folder of images.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterable
from dataclasses import replace
from itertools import chain
from pathlib import Path

from dip_lib.data.pictures import Pictures
from dip_lib.data.repeats import told_of_repeats
from dip_lib.data.split_files import below, read_text, whole_number

LISTS = {
    "train": ("train800.txt", "train.json"),
    "val": ("val200.txt", "val.json"),
    "test": ("test.txt", "test.json"),
}
"""Split -> the file that lists it, in VTAB-1k and in FGVC."""
BOTH = "train800val200.txt"
"""The list of all training images that VTAB-1k's folders have besides; it may be left out."""
PLACES = ("", "images", "Images", "jpg")
"""Where paths may start, below the folder of the lists: CUB's and NABirds' in images, Dogs' in
Images, Flowers' in jpg (``src/data/datasets/json_dataset.py`` of KMnP/vpt, and torchvision)."""
Rows = list[tuple[str, int]]


def listed_pictures(folder: str | Path, classes: int | None = None) -> Pictures:
    """The dataset of a prepared folder; classes are called by their labels.

    Args:
        classes: how many there are; labels then count from 0, and a class may have no training
            image, as some of VTAB-1k's. None: the classes are the labels of the training images, in
            their order, with whatever gaps.

    Raises:
        ValueError: a split without a list, an empty list, a line that is no "path label", a path
            that leads out of the folder, a label that ``classes`` leaves no place for, or a class
            that no training image has.
    """
    root, listed = Path(folder), dict[str, tuple[Path, Rows]]()
    for split, names in LISTS.items():
        path = next((root / name for name in names if (root / name).is_file()), None)
        if path is None:
            raise ValueError(f"{root} has no list of {split!r}: put {' or '.join(names)} there")
        if not (rows := _read(path)):
            raise ValueError(f"{path} lists no pictures")
        listed[split] = path, rows
    images = _images(root, listed["train"][1][0][0])
    inside = {split: _below(path, rows, images) for split, (path, rows) in listed.items()}
    files, labels = inside, [*range(classes or 0)]
    if classes is None:
        files, labels = _renumbered(root, inside)
    if wrong := {y for rows in files.values() for _, y in rows if y >= len(labels)}:
        raise ValueError(
            f"{root}: labels {sorted(wrong)}, but there are {classes} classes, which count from 0"
        )
    _compare(root / BOTH, [*listed["train"][1], *listed["val"][1]])
    same = {path: path for path, _ in chain(*files.values())}
    if told := told_of_repeats(str(root), files, same):
        warnings.warn(told, stacklevel=2)
    return Pictures(root.name, tuple(str(label) for label in labels), images, files)


def tuning_part(task: Pictures) -> Pictures:
    """What settings are chosen on: trained on "train", tested on "val"; no test image is in it."""
    return replace(task, files={**task.files, "test": task.files["val"]})


def refitted(task: Pictures) -> Pictures:
    """What VTAB shows: trained on "train" and "val" together, tested on "test"."""
    return replace(task, files={**task.files, "train": [*task.files["train"], *task.files["val"]]})


def _images(root: Path, first: str) -> Path:
    """The folder where listed paths start: the first of :data:`PLACES` that has a picture there."""
    plain = first.replace("\\", "/")
    found = (root / place for place in PLACES if os.path.lexists(root / place / plain))
    return next(found, root)


def _below(path: Path, rows: Rows, images: Path) -> Rows:
    try:
        return [(below(name, images), label) for name, label in rows]
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _renumbered(root: Path, rows: dict[str, Rows]) -> tuple[dict[str, Rows], list[int]]:
    """The rows with classes numbered in the order of their labels, and these labels."""
    labels = sorted({label for _, label in (*rows["train"], *rows["val"])})
    place = {label: i for i, label in enumerate(labels)}
    if unknown := sorted({label for _, label in rows["test"]} - place.keys()):
        raise ValueError(f"{root}: test images of classes {unknown}, which no training image has")
    return {split: [(p, place[y]) for p, y in each] for split, each in rows.items()}, labels


def _compare(both: Path, rows: Iterable[tuple[str, int]]) -> None:
    """Warn where the list of all training images is not the two others together."""
    if both.is_file() and sorted(_read(both)) != sorted(rows):
        two = " and ".join(LISTS[split][0] for split in ("train", "val"))
        warnings.warn(f"{both} lists other pictures than {two}; these two are read", stacklevel=3)


def _read(path: Path) -> Rows:
    """(path, label) of each line or entry."""
    try:
        text = read_text(path)
        if path.suffix == ".json":
            return [(name, whole_number(label)) for name, label in json.loads(text).items()]
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{path} holds no paths with their classes: {error!r}") from error
    pairs = []
    for number, line in enumerate(text.splitlines(), 1):
        name, _, label = line.strip().rpartition(" ")
        if not (name and label.isdecimal()):
            raise ValueError(f'{path}, line {number}: {line!r} is no "path label"')
        pairs.append((name, int(label)))
    return pairs
