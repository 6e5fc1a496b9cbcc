"""VTAB-1k's nineteen tasks and FGVC's five datasets, by name, from their prepared folders.

``prepared.toml`` declares them. A task is two datasets: its own, whose test images are read once,
and "<task>-800", which tunes: trained on the images for that, tested on those that choose. In
VTAB-1k these are 800 and 200, and the task's own trains on all 1,000; in FGVC, whose numbers
differ, both train on the same images, as VPT's ``tune_fgvc.py`` has it.

VTAB-1k's images are squeezed to a square (``src/data/datasets/tf_dataset.py`` of KMnP/vpt): what a
crop cuts away may be what is asked for. FGVC's are cropped in the centre.
"""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

from dip_lib.data.class_tree import SPLITS
from dip_lib.data.names import some
from dip_lib.data.photos import data_root, warn_of_counts
from dip_lib.data.pictures import Pictures
from dip_lib.data.vtab import LISTS, listed_pictures, refitted, tuning_part
from dip_lib.errors import one_of

TUNING = "-800"
"""What the name of a task's tuning part ends in."""
FINE = "fine-grained"
"""The group of FGVC."""


@dataclass(frozen=True)
class Prepared:
    """What is published of a task, and where it lies; ``prepared.toml`` says what each field is."""

    name: str
    title: str
    group: str
    folders: list[str]
    classes: int
    counts: list[int]

    @property
    def get(self) -> str:
        """What to do by hand."""
        fine = self.group == FINE
        lists = ", ".join(names[fine] for names in LISTS.values())
        source = "https://github.com/" + ("KMnP/vpt" if fine else "JieShibo/PETL-ViT")
        return (
            f"Put the images of {self.title} and {lists} into {self.folders[0]} below the data "
            f"folder; {source} says where they come from"
        )

    def trained(self, tuning: bool) -> int:
        """How many images train, by the published counts."""
        train, val, _ = self.counts
        return train if tuning or self.group == FINE else train + val

    def tested(self, tuning: bool) -> int:
        """How many images test, by the published counts."""
        return self.counts[1 if tuning else 2]


DECLARED = tomllib.loads(Path(__file__).with_name("prepared.toml").read_text("utf-8"))
TASKS = {name: Prepared(name, **values) for name, values in DECLARED.items()}
"""The tasks by name."""
NAMES = tuple(name + part for name in TASKS for part in ("", TUNING))
"""The datasets: tasks and their tuning parts."""


def prepared(name: str) -> tuple[Prepared, bool] | None:
    """The task of a dataset, and whether the dataset is its tuning part; None: another dataset."""
    if name not in NAMES:
        return None
    return TASKS[name.removesuffix(TUNING)], name.endswith(TUNING)


def load_prepared(name: str, data: str | os.PathLike[str] | None = None) -> Pictures:
    """A task, or its tuning part; warns where counts are not the published ones.

    Args:
        name: one of :data:`NAMES`.
        data: see :func:`dip_lib.data.photos.data_root`.

    Raises:
        ValueError: an unknown name; a folder or picture that is missing, and what
            :func:`dip_lib.data.vtab.listed_pictures` says.
    """
    task, tuning = TASKS[one_of("task", name, NAMES).removesuffix(TUNING)], name.endswith(TUNING)
    root = data_root(data)
    folder = next((root / each for each in task.folders if (root / each).is_dir()), None)
    if folder is None:
        raise ValueError(
            f"{root / task.folders[0]} does not exist, where {name} is expected. {task.get}"
        )
    vtab = task.group != FINE
    found = listed_pictures(folder, task.classes if vtab else None)
    listed = sorted({path for path, _ in chain(*found.files.values())})
    if absent := [path for path in listed if not os.path.isfile(found.root / path)]:
        told = f"{found.root} lacks {len(absent)} of the {len(listed)} listed pictures"
        raise ValueError(f"{told}, {some(absent)}. {task.get}")
    counts = [len(found.files[split]) for split in SPLITS]
    warn_of_counts(task, str(folder), len(found.class_names), counts)
    if tuning:
        found = tuning_part(found)
    elif vtab:
        found = refitted(found)
    return replace(found, name=name, squeezed=vtab)
