"""Measuring runs: group those that can share a batch, train the groups, keep each as it finishes.

On a CPU groups are spread over one-thread processes, which is faster than threads; on a GPU they
run one after another in this process. A killed call loses only the groups under way.
"""

from __future__ import annotations

import os
import platform
import resource
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from functools import cache
from importlib.metadata import version
from multiprocessing import active_children, get_context, parent_process
from pathlib import Path
from threading import RLock, Thread

import torch
from torch import Tensor
from tqdm import tqdm

from dip_lib.clip import Backbone, load_backbone
from dip_lib.clip.loading import backbone_source
from dip_lib.data import Dataset, load_dataset
from dip_lib.data.dataset import check_open
from dip_lib.data.folders import picture_folder
from dip_lib.data.pack_files import file_state, pack_paths
from dip_lib.data.pictures import Pictures
from dip_lib.data.splits import write_draw
from dip_lib.machine import cpu_name, usable_cores
from dip_lib.paths import home
from dip_lib.store import Store
from dip_lib.training.batches import shared_out
from dip_lib.training.measure import Group, measure_group
from dip_lib.training.record import FINISHED, Record, Result
from dip_lib.training.run import Run
from dip_study import gate

BATCH = {"cpu": 16, "cuda": 64}
"""Most runs trained at once: on a CPU few, so that every core has a batch."""
NO_FOLDERS: Mapping[str, Path] = {}
WORKERS_START = "forkserver" if sys.platform == "linux" else "spawn"
"""On Linux workers are forked from a process that has imported everything once and done nothing
else; elsewhere a fork of what system libraries have started is not safe."""


@cache
def backbone_of(name: str, weights: str, precision: str, device: str) -> Backbone:
    """A backbone, loaded once in a process; without ``weights`` the same random ones everywhere."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # random weights ("") are the same in every process
        carried = backbone_source(name) is not None
        return load_backbone(name, None if carried else weights or None, device, precision)


def dataset_of(name: str, style: str, folders: Mapping[str, Path] = NO_FOLDERS) -> Dataset:
    """A dataset, listed once in a process: ImageNet has 1.3 million files.

    Once, that is, while the data folder and the feature packs in the search path are the same.

    Args:
        folders: name -> folder of class folders, of datasets that a profile brings.

    Raises:
        ValueError: as :func:`dip_lib.data.load_dataset` and
            :func:`dip_lib.data.folders.picture_folder`.
    """
    packs = tuple(map(file_state, pack_paths()))
    return _dataset(name, style, folders.get(name), os.environ.get("DATA"), packs)


@cache
def _dataset(
    name: str, style: str, folder: Path | None, data: str | None, packs: tuple[object, ...]
) -> Dataset:
    if folder is None:
        return load_dataset(name, style, data)
    if style != "default":
        raise ValueError(f"{name} is a folder, which has no style {style!r}; leave the style out")
    return replace(picture_folder(folder), name=name)


def _measure(
    runs: Sequence[Run], device: str, live: Path, folders: Mapping[str, Path]
) -> list[Result]:
    """One group of runs, in this process; ``live`` is the store that has the runs' sources."""
    data, tower = runs[0].data, runs[0].tower
    backbone = backbone_of(tower.backbone, tower.weights, tower.precision, device)
    dataset = dataset_of(data.dataset, data.style, folders)
    if isinstance(dataset, Pictures):
        _write_draws(dataset, runs)
    store = Store(live)
    group = Group(
        runs,
        backbone,
        dataset,
        _learned_by_sources(runs, store),
        dataset_of(data.target, "default", folders) if data.target else None,
    )
    results = zip(runs, measure_group(group), strict=True)
    return [
        Result(_stamp(record | _stopped_source(run, store), backbone), tensors)
        for run, (record, tensors) in results
    ]


def _learned_by_sources(runs: Sequence[Run], store: Store) -> list[dict[str, Tensor]] | None:
    """What the source of each run has learned; None for runs that train themselves."""
    if runs[0].source() == runs[0]:
        return None
    learned = [(run.source(), store.tensors(run.source())) for run in runs]
    if lost := [source for source, tensors in learned if tensors is None]:
        raise LookupError(f"the prompts of {lost[0]} are not in {store.live}: measure it first")
    return [tensors for _, tensors in learned if tensors is not None]


def _stopped_source(run: Run, store: Store) -> Record:
    """The status of a run whose source run stopped early; such a run is not evaluated."""
    source = store.get(run.source()) if run.source() != run else None
    return {"status": source["status"]} if source and source["status"] != FINISHED else {}


def _write_draws(dataset: Pictures, runs: Sequence[Run]) -> None:
    """Write which pictures a run has trained on, for readers of the results."""
    for shots, seed in {(run.data.shots, run.seed) for run in runs if run.data.shots}:
        name = f"{dataset.name}-{dataset.fingerprint}-shots{shots}-seed{seed}.json"
        if not (path := home() / "draws" / name).is_file():  # ImageNet's files take seconds
            write_draw(path, dataset.files, shots, seed)


def _stamp(record: Record, backbone: Backbone) -> Record:
    """Add where and with what a run was measured."""
    on_gpu = backbone.device.type == "cuda"
    if on_gpu:
        memory, device = torch.cuda.max_memory_allocated() / 2**20, torch.cuda.get_device_name()
    else:
        memory, device = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, "cpu"
    packages = ("torch", "open_clip_torch", "numpy", "matplotlib", "pillow")
    return record | {
        "memory_mb": round(memory, 1),
        "versions": {"python": platform.python_version()} | {p: version(p) for p in packages},
        "machine": {"cpu": cpu_name(), "threads": torch.get_num_threads(), "device": device},
        "finished_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def _start_worker(environment: Mapping[str, str]) -> None:
    os.environ.clear()  # the process that it was forked from has kept that of its own start
    os.environ.update(environment)
    torch.set_num_threads(1)  # two threads a process on two busy cores are slower than one
    tqdm.set_lock(RLock())  # its own outlives a worker that is ended, and Python warns of that
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    # a worker whose parent was killed would wait for work for ever, and keep its memory
    if parent := parent_process():
        parent.join()
        os._exit(1)


def measure(
    runs: Sequence[Run],
    store: Store,
    device: str = "cpu",
    folders: Mapping[str, Path] = NO_FOLDERS,
) -> None:
    """Measure runs and put each finished group into the store; shows progress with an ETA.

    On a CPU groups are spread over one-thread processes (``$DIP_WORKERS``, default: one a core).

    Args:
        folders: of the datasets that the runs' profile brings (:func:`dataset_of`).

    Raises:
        ValueError: a run of a sealed dataset; nothing was measured.
        RuntimeError: on photos, zero-shot accuracy is off the published one; nothing was trained.
    """
    for dataset in {name for run in runs for name in (run.data.dataset, run.data.target)}:
        check_open(dataset)
    first = gate.zero_shots(runs)
    _measure_all(store.missing(first), store, device, folders)
    for line in gate.check(record for run in first if (record := store.get(run))):
        tqdm.write(line, sys.stderr)
    sources = dict.fromkeys(run.source() for run in runs if run.source() != run)
    unknown = [run for run in sources if store.tensors(run) is None]
    known = {*first, *unknown}
    own = [run for run in runs if run.source() == run and run not in known]
    _measure_all([*own, *unknown], store, device, folders)
    _measure_all([run for run in runs if run.source() != run], store, device, folders)


def _measure_all(
    runs: Sequence[Run], store: Store, device: str, folders: Mapping[str, Path]
) -> None:
    if not runs:
        return
    workers = 1 if device != "cpu" else int(os.environ.get("DIP_WORKERS", usable_cores()))
    kind = torch.device(device).type
    batches = shared_out(runs, BATCH[kind], workers, kind)
    with tqdm(total=len(runs), desc="measuring", unit="run", mininterval=1) as bar:

        def keep(results: list[Result]) -> None:
            for record, learned in results:
                store.put(record, learned)
                if record["status"] != FINISHED:
                    tqdm.write(
                        f"{record['label']} on {record['run']['data']['dataset']}, seed "
                        f"{record['run']['seed']}: {record['status']}",
                        sys.stderr,
                    )
            bar.update(len(results))

        if min(workers, len(batches)) <= 1:
            for batch in batches:
                keep(_measure(batch, device, store.live, folders))
            return
        context = get_context(WORKERS_START)
        context.set_forkserver_preload([__name__, "open_clip"])
        start = _start_worker, (dict(os.environ),)
        with ProcessPoolExecutor(min(workers, len(batches)), context, *start) as pool:
            # Ctrl-C is for this process: its workers, which inherit the mask, end with it
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
            under_way = [pool.submit(_measure, b, device, store.live, folders) for b in batches]
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
            try:
                for done in as_completed(under_way):
                    keep(done.result())
            except KeyboardInterrupt:
                for worker in active_children():
                    worker.terminate()
                raise
