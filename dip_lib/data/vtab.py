"""VTAB-1k and FGVC in their prepared folders: which files list which images.

VTAB-1k: ``train800.txt``, ``val200.txt`` and ``test.txt`` with a line "path label" for each image.
FGVC (CUB, NABirds, Flowers, Dogs, Cars): VPT's ``train.json``, ``val.json`` and ``test.json``, each
path -> class. Either is read from the folder that holds the paths.
"""

from __future__ import annotations

import json
from pathlib import Path

from dip_lib.data.pictures import Pictures

LISTS = {
    "train": ("train800.txt", "train.json"),
    "val": ("val200.txt", "val.json"),
    "test": ("test.txt", "test.json"),
}
"""Split -> the file that lists it, in VTAB-1k and in FGVC."""


def listed_pictures(folder: str | Path) -> Pictures:
    """The dataset of a prepared folder; classes are numbered in the order of their labels.

    Raises:
        ValueError: a split without a list, a line that is no "path label", or a class that no
            training image has.
    """
    root, rows = Path(folder), dict[str, list[tuple[str, int]]]()
    for split, names in LISTS.items():
        path = next((root / name for name in names if (root / name).is_file()), None)
        if path is None:
            raise ValueError(f"{root} has no list of {split!r}: put {' or '.join(names)} there")
        rows[split] = _read(path)
    classes = sorted({label for _, label in (*rows["train"], *rows["val"])})
    place = {label: i for i, label in enumerate(classes)}
    if unknown := sorted({label for _, label in rows["test"]} - place.keys()):
        raise ValueError(f"{root}: test images of classes {unknown}, which no training image has")
    files = {split: [(p, place[label]) for p, label in each] for split, each in rows.items()}
    return Pictures(root.name, tuple(str(label) for label in classes), root, files)


def _read(path: Path) -> list[tuple[str, int]]:
    if path.suffix == ".json":
        return [(name, int(label)) for name, label in json.loads(path.read_text("utf-8")).items()]
    pairs = []
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        name, _, label = line.rpartition(" ")
        if not (name and label.isdecimal()):
            raise ValueError(f'{path}, line {number}: {line!r} is no "path label"')
        pairs.append((name, int(label)))
    return pairs
