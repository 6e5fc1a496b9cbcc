"""A group of runs that share a batch, measured in this process.

A task holds all that a worker cannot load by name: the runs, and what their sources have learned.
It and the results travel as bytes of plain pickle, without shared memory, so that what a worker has
sent is whole even if the worker ends at once.
"""

from __future__ import annotations

import gc
import pickle
import platform
import resource
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import torch
from torch import Tensor

from dip_lib.clip import Backbone
from dip_lib.clip.timm_tower import TimmTower
from dip_lib.data.pictures import Pictures
from dip_lib.data.splits import write_draw
from dip_lib.errors import out_of_memory
from dip_lib.machine import cpu_name
from dip_lib.paths import home
from dip_lib.training.measure import Group, measure_group
from dip_lib.training.record import FINISHED, Record, Result, failed
from dip_lib.training.run import Run
from dip_study.loaded import dataset_of, tower_of

PACKAGES = ("torch", "open_clip_torch", "numpy", "matplotlib", "pillow")


@dataclass(frozen=True, eq=False)
class Task:
    """What a worker needs to measure a group.

    Attributes:
        runs: runs that share a batch.
        device: "cpu", "cuda" or "cuda:N", on the worker's machine.
        folders: name -> folder, of the datasets that a profile brings.
        sources: of runs that are made of others: status and tensors of the source of each.
    """

    runs: tuple[Run, ...]
    device: str
    folders: Mapping[str, Path]
    sources: tuple[tuple[str, dict[str, Tensor]], ...] = ()

    def halves(self) -> tuple[Task, Task]:
        """The first and the second half of the group."""
        middle = len(self.runs) // 2
        first, second = slice(None, middle), slice(middle, None)
        return (
            replace(self, runs=self.runs[first], sources=self.sources[first]),
            replace(self, runs=self.runs[second], sources=self.sources[second]),
        )


def measured(task: Task) -> list[Result]:
    """The results of a group, in the order of its runs, with where and by what they were measured.

    Where memory does not suffice for all at once the group is halved; a run that does not fit alone
    has failed, which its record says.

    Raises:
        Exception: whatever else goes wrong, as the library raises it.
    """
    try:
        return _measured(task)
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
    # not within the handler: the error's traceback holds the tensors
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if len(task.runs) == 1:
        return [failed_result(task.runs[0], "out of memory", task.device)]
    return [result for half in task.halves() for result in measured(half)]


def measured_bytes(task: bytes) -> bytes:
    """:func:`measured`, of and as bytes."""
    return pickle.dumps(measured(pickle.loads(task)))


def failed_result(run: Run, reason: str, device: str) -> Result:
    """The result of a run that could not be measured."""
    return Result(failed(run, reason) | _about(device), {})


def _measured(task: Task) -> list[Result]:
    runs, folders = task.runs, task.folders
    data, tower = runs[0].data, runs[0].tower
    backbone = tower_of(tower.backbone, tower.weights, tower.precision, task.device)
    dataset = dataset_of(data.dataset, data.style, folders)
    if isinstance(dataset, Pictures):
        _write_draws(dataset, task)
    group = Group(
        runs,
        backbone,
        dataset,
        [tensors for _, tensors in task.sources] or None,
        dataset_of(data.target, "default", folders) if data.target else None,
    )
    results = measure_group(group)
    # what is made of a run that stopped early is no result either
    stopped = [{"status": s} if s != FINISHED else {} for s, _ in task.sources] or [{}] * len(runs)
    about = _about(task.device, backbone)
    return [
        Result(record | about | was, tensors)
        for was, (record, tensors) in zip(stopped, results, strict=True)
    ]


def _write_draws(dataset: Pictures, task: Task) -> None:
    """Write which pictures the runs have trained on, for readers of the results."""
    for shots, seed in {(run.data.shots, run.seed) for run in task.runs if run.data.shots}:
        name = f"{dataset.name}-{dataset.fingerprint}-shots{shots}-seed{seed}.json"
        if not (path := home() / "draws" / name).is_file():  # ImageNet's files take seconds
            write_draw(path, dataset.files, shots, seed)


def _about(device: str, backbone: Backbone | TimmTower | None = None) -> Record:
    """Where and with what a run was measured; without a backbone nothing was loaded."""
    if backbone and backbone.device.type == "cuda":
        memory, device = torch.cuda.max_memory_allocated() / 2**20, torch.cuda.get_device_name()
    else:
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "memory_mb": round(memory, 1),
        "versions": {"python": platform.python_version()} | {p: version(p) for p in PACKAGES},
        "machine": {"cpu": cpu_name(), "threads": torch.get_num_threads(), "device": device},
        "finished_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
