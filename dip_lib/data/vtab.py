"""VTAB-1k and FGVC in their prepared folders: which files list which images.

VTAB-1k: ``train800.txt``, ``val200.txt`` and ``test.txt`` with a line "path label" for each image.
FGVC (CUB, NABirds, Flowers, Dogs, Cars): VPT's ``train.json``, ``val.json`` and ``test.json``, each
path -> class. Either is read from the folder that holds the paths.
"""

from __future__ import annotations

import json
import warnings
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


def listed_pictures(folder: str | Path) -> Pictures:
    """The dataset of a prepared folder; classes are numbered in the order of their labels.

    Raises:
        ValueError: a split without a list, an empty list, a line that is no "path label", a path
            that leads out of the folder, or a class that no training image has.
    """
    root, rows = Path(folder), dict[str, list[tuple[str, int]]]()
    for split, names in LISTS.items():
        path = next((root / name for name in names if (root / name).is_file()), None)
        if path is None:
            raise ValueError(f"{root} has no list of {split!r}: put {' or '.join(names)} there")
        if not (listed := _read(path)):
            raise ValueError(f"{path} lists no pictures")
        try:
            rows[split] = [(below(name, root), label) for name, label in listed]
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
    classes = sorted({label for _, label in (*rows["train"], *rows["val"])})
    place = {label: i for i, label in enumerate(classes)}
    if unknown := sorted({label for _, label in rows["test"]} - place.keys()):
        raise ValueError(f"{root}: test images of classes {unknown}, which no training image has")
    files = {split: [(p, place[label]) for p, label in each] for split, each in rows.items()}
    same = {path: path for path, _ in chain(*files.values())}
    if told := told_of_repeats(str(root), files, same):
        warnings.warn(told, stacklevel=2)
    return Pictures(root.name, tuple(str(label) for label in classes), root, files)


def _read(path: Path) -> list[tuple[str, int]]:
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
