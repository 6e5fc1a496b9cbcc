"""Photo World's tasks for visual prompts: 1,000 photographs each, declared in ``tasks.toml``.

A task is two datasets. Its own trains on all 1,000 photos and is tested on the test set;
"<task>-800" trains on the first 800 and is tested on the other 200, which choose settings. So test
photos cannot be read by what chooses. Where the photographs are not here, class names, labels and
the committed hash stand in, so that measured runs are found and shown.
"""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from dip_lib.data import Dataset
from dip_lib.data.pictures import Pictures
from dip_lib.data.prepared import TUNING
from dip_lib.errors import MissingDownloadError, one_of
from photo_world.datasets import HERE, SPLITS, declared

TRAIN, VAL = 800, 200
"""Photos that tune, and that choose."""
TEMPLATE = "a photo of a {}."
Files = dict[str, list[tuple[str, int]]]
"""Split -> (path, label) of each photo."""


@dataclass(frozen=True)
class Task:
    """A declared task; ``tasks.toml`` says what each field is."""

    name: str
    title: str
    group: str
    dataset: str
    paths: str
    classes: int
    photographs: str
    tuning: str
    head: float = 0.0

    def listed(self) -> dict[str, list[str]]:
        """Class names, and the paths of the 1,000 photos and of the test set."""
        found: dict[str, list[str]] = json.loads((SPLITS / self.paths).read_text("utf-8"))
        return found

    def files(self, tuning: bool) -> Files:
        """The photos of the tuning part or of the whole."""
        listed = self.listed()
        train, test = (
            [(path, row % self.classes) for row, path in enumerate(listed[split])]
            for split in ("train", "test")
        )
        val = train[TRAIN:]
        if tuning:
            return {"train": train[:TRAIN], "val": val, "test": val}
        return {"train": train, "val": val, "test": test}


TASKS = {
    name: Task(name, **values)
    for name, values in tomllib.loads((HERE / "tasks.toml").read_text("utf-8")).items()
}
"""The tasks by name."""
NAMES = tuple(name + part for name in TASKS for part in ("", TUNING))
"""The datasets: tasks and their tuning parts."""


def task_of(name: str) -> Task:
    """The task of a dataset's name. Raises ValueError: an unknown name, with the nearest."""
    return TASKS[one_of("task of Photo World", name, NAMES).removesuffix(TUNING)]


@dataclass(frozen=True, eq=False)
class ListedTask(Pictures):
    """A task, or its tuning part, whose photographs are not here: :func:`load` makes it.

    Attributes:
        recorded: the committed hash, which the photographs have, too.
        fetched_as: what `dip data get` calls them.
    """

    recorded: str = ""
    fetched_as: str = ""

    @cached_property
    def fingerprint(self) -> str:
        return self.recorded

    def batches(
        self,
        split: str,
        views: Sequence[int | None] = (None,),
        rows: Sequence[int] | None = None,
        size: int | None = None,
        device: str | torch.device = "cpu",
    ) -> Iterator[Tensor]:
        """Raises MissingDownloadError: the photographs are not here."""
        raise MissingDownloadError(
            [str(self.root)],
            f"Training on {self.name} needs these photographs below the folder that the variable "
            f"DATA names; `dip data get {self.fetched_as}` fetches them. What is measured already "
            "is shown without them",
        )


def _about(task: Task, tuning: bool) -> tuple[str, tuple[str, ...], Path, Files, str]:
    """Name, class names, folder below DATA, files and template of a task, or its tuning part."""
    about = declared(task.dataset)
    names, below = tuple(task.listed()["names"]), Path(about.folder) / about.images
    return task.name + TUNING * tuning, names, below, task.files(tuning), TEMPLATE


def pictures(task: Task, tuning: bool, data: Path) -> Pictures:
    """The photographs of a task, or of its tuning part.

    Args:
        data: the folder that holds the photo datasets.

    Raises:
        MissingDownloadError: photographs that are not there, with what fetches them.
    """
    name, names, below, files, template = _about(task, tuning)
    root = (data / below).resolve()
    paths = sorted({path for entries in files.values() for path, _ in entries})
    if absent := [path for path in paths if not (root / path).is_file()]:
        raise MissingDownloadError(
            [str(root / absent[0])],
            f"{len(absent)} of the {len(paths)} photographs of {task.name} are not there; "
            f"`dip data get {declared(task.dataset).pictures}` fetches them. Without DATA what is "
            "measured already is shown",
        )
    return Pictures(name, names, root, files, template)


def load(name: str, style: str = "default") -> Dataset:
    """A task, or its tuning part, with its photographs where the variable DATA says they are.

    Raises:
        ValueError: an unknown name, with the nearest; a style.
        MissingDownloadError: a data folder that lacks some of the photographs.
    """
    task = task_of(name)
    if style != "default":
        raise ValueError(f"{name} is photographs and has no style {style!r}; leave the style out")
    tuning, data = name.endswith(TUNING), os.environ.get("DATA")
    root = Path(data).expanduser().resolve() if data else None
    if root and (root / declared(task.dataset).folder).is_dir():
        return pictures(task, tuning, root)
    recorded = task.tuning if tuning else task.photographs
    fetched_as = declared(task.dataset).pictures
    return ListedTask(*_about(task, tuning), recorded=recorded, fetched_as=fetched_as)
