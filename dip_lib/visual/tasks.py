"""VTAB-1k and FGVC from their prepared folders: tuned on a part of the images, refitted on all.

VTAB-1k: ``train800.txt``, ``val200.txt`` and ``test.txt`` with a line "path label" for each image.
FGVC (CUB, NABirds, Flowers, Dogs, Cars): VPT's ``train.json``, ``val.json`` and ``test.json``, each
path -> class. Either is read from the folder that holds the paths. Source: VPT's ``tune_vtab.py``.
Unlike there, images are normalised as the tower wants them, cropped and not squeezed to a square,
and training views are random crops.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import timm
import torch
from timm.data import resolve_model_data_config
from torch import Tensor, nn

from dip_lib.datasets.pictures import Pictures
from dip_lib.loading import check_device
from dip_lib.spec import RunSpec
from dip_lib.visual.train import Found, train_visual

LISTS = {
    "train": ("train800.txt", "train.json"),
    "val": ("val200.txt", "val.json"),
    "test": ("test.txt", "test.json"),
}
"""Split -> the file that lists it, in VTAB-1k and in FGVC."""
EVERY = 10**6
"""As many images of a class as there are."""


@dataclass(frozen=True, eq=False)
class Eye:
    """A timm tower with what its images need: in the place of a CLIP for visual prompts."""

    name: str
    model: nn.Module
    image_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    device: torch.device

    def normalise(self, images: Tensor) -> Tensor:
        """Images (..., 3, S, S) in 0..1 to the tower's input."""
        mean, std = (images.new_tensor(each).view(3, 1, 1) for each in (self.mean, self.std))
        return (images - mean) / std


def timm_eye(name: str, pretrained: bool = False, device: str = "cpu", **options: Any) -> Eye:
    """A frozen timm tower by name; ``options`` go to ``timm.create_model``.

    Raises:
        RuntimeError: timm knows no such name.
    """
    model = timm.create_model(name, pretrained=pretrained, num_classes=0, **options)
    shown, where = resolve_model_data_config(model), check_device(device)
    size = options.get("img_size") or shown["input_size"][-1]
    return Eye(name, model.to(where).eval(), size, shown["mean"], shown["std"], where)


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
    found = []
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        name, _, label = line.rpartition(" ")
        if not (name and label.isdecimal()):
            raise ValueError(f'{path}, line {number}: {line!r} is no "path label"')
        found.append((name, int(label)))
    return found


def tune_and_refit(spec: RunSpec, eye: Any, task: Pictures, rates: Sequence[float]) -> Found:
    """VTAB's protocol: the learning rate on the 800/200 split, then a fit on all 1,000.

    Test images are read once, by the run that is returned.

    Args:
        spec: the run; its classes, images and learning rate are set here.
        eye: a :class:`Eye`, or a CLIP of :func:`dip_lib.load_backbone`.
        rates: the learning rates to try; of equal ones the first wins.

    Returns:
        As :func:`dip_lib.visual.train.train_visual`; ``tried`` in the record is rate -> accuracy.
    """
    train, val, test = (list(task.files[split]) for split in LISTS)
    small = replace(task, files={"train": train, "val": val, "test": val})
    whole = replace(task, files={"train": train + val, "val": val, "test": test})
    every = replace(spec, dataset=task.name, protocol="all-classes", shots=EVERY)

    def run(lr: float, images: Pictures) -> Found:
        with warnings.catch_warnings():  # fewer images than were asked for are all there are
            warnings.filterwarnings("ignore", r"\d+ of \d+ classes have fewer")
            (found,) = train_visual([replace(every, lr=lr, data=images.fingerprint)], eye, images)
        return found

    points = {lr: run(lr, small)[0]["checkpoints"][-1] for lr in rates}
    tried = {lr: point.get("base", 0.0) for lr, point in points.items()}
    record, learnt = run(max(tried, key=tried.__getitem__), whole)
    return record | {"tried": tried}, learnt
