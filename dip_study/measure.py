"""Measuring runs: group those that can share a batch, train the groups, keep each as it finishes.

On a CPU groups are spread over one-thread processes, which is faster than threads; on a GPU they
run one after another in this process. A killed call loses only the groups under way.
"""

from __future__ import annotations

import os
import platform
import resource
import signal
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import cache
from importlib.metadata import version
from itertools import groupby, zip_longest
from multiprocessing import active_children, get_context, parent_process
from pathlib import Path
from threading import RLock, Thread
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from dip_lib.backbone import Backbone
from dip_lib.datasets import Dataset, load_dataset
from dip_lib.datasets.photos import PHOTOS
from dip_lib.datasets.pictures import Pictures
from dip_lib.datasets.splits import write_draw
from dip_lib.features import load_features
from dip_lib.loading import GLYPH_NAMES, load_backbone
from dip_lib.machine import cpu_name
from dip_lib.methods.probe import probe
from dip_lib.methods.zero_shot import zero_shot
from dip_lib.paths import home
from dip_lib.protocols import draws
from dip_lib.spec import RECIPE, RunSpec
from dip_lib.store import Store
from dip_lib.trainer import train
from dip_lib.transfer import transfer
from dip_lib.visual import VISUAL
from dip_lib.visual.train import train_visual
from dip_study import gate
from dip_study.gate import WORDS

Record = dict[str, Any]
BATCH = {"cpu": 16, "cuda": 64}
"""Most runs trained at once: on a CPU few, so that every core has a batch."""


@cache
def _backbone(name: str, weights: str, precision: str, device: str) -> Backbone:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # random weights ("") are the same in every process
        carried = name in GLYPH_NAMES or not weights
        return load_backbone(name, None if carried else weights, device, precision)


def dataset_of(name: str, style: str) -> Dataset:
    """A dataset, listed once in a process: ImageNet has 1.3 million files."""
    return _dataset(name, style, os.environ.get("DATA"))


@cache
def _dataset(name: str, style: str, data: str | None) -> Dataset:
    return load_dataset(name, style, data)


Found = tuple[Record, dict[str, Tensor]]


def _measure(specs: Sequence[RunSpec], device: str, live: Path) -> list[Found]:
    """One group of runs, in this process; ``live`` is the store that has the runs' sources."""
    first = specs[0]
    backbone = _backbone(first.backbone, first.weights, first.precision, device)
    dataset = dataset_of(first.dataset, first.style)
    if first.method in VISUAL:
        whole = Store(live).learnt(first.source()) if first.keep else None
        trained = train_visual(specs, backbone, dataset, whole)
        return [(_stamp(record, backbone), learnt) for record, learnt in trained]
    if first.target:
        learnt = [Store(live).learnt(spec.source()) for spec in specs]
        judged = transfer(
            specs, [each or {} for each in learnt], backbone, dataset_of(first.target, "default")
        )
        return [(_stamp(record, backbone), {}) for record in judged]
    if first.method in WORDS:
        return [(_stamp(zero_shot(s, backbone, dataset), backbone), {}) for s in specs]
    # a family in its own style serves so many studies that its whole splits are encoded once
    some = first.dataset in PHOTOS or first.style != "default"
    rows = draws(specs, dataset.labels).values() if some else ()
    features = load_features(backbone, dataset, first.views, rows)
    if isinstance(dataset, Pictures):  # for people: which pictures a run has trained on
        for shots, seed in {(s.shots, s.seed) for s in specs}:
            name = f"{dataset.name}-{dataset.fingerprint}-shots{shots}-seed{seed}.json"
            if not (path := home() / "draws" / name).is_file():  # ImageNet's files take seconds
                write_draw(path, dataset.files, shots, seed)
    if first.method == "probe":
        records = [probe(s, backbone, dataset, features) for s in specs]
        return [(_stamp(record, backbone), {}) for record in records]
    found = train(specs, backbone, dataset, features)
    return [(_stamp(record, backbone), learnt) for record, learnt in found]


def _stamp(record: Record, backbone: Backbone) -> Record:
    """Add what names the run and where and with what it was measured."""
    on_gpu = backbone.device.type == "cuda"
    if on_gpu:
        memory, device = torch.cuda.max_memory_allocated() / 2**20, torch.cuda.get_device_name()
    else:
        memory, device = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, "cpu"
    packages = ("torch", "open_clip_torch", "numpy", "matplotlib", "pillow")
    return {
        "key": RunSpec.from_dict(record["spec"]).key(),
        "recipe": RECIPE,
        **record,
        "memory_mb": round(memory, 1),
        "versions": {"python": platform.python_version()} | {p: version(p) for p in packages},
        "machine": {"cpu": cpu_name(), "threads": torch.get_num_threads(), "device": device},
        "finished_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def _start_worker() -> None:
    torch.set_num_threads(1)  # two threads a process on two busy cores are slower than one
    tqdm.set_lock(RLock())  # its own outlives a worker that is ended, and Python warns of that
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    # a worker whose parent was killed would wait for work for ever, and keep its memory
    if parent := parent_process():
        parent.join()
        os._exit(1)


def groups(specs: Sequence[RunSpec], most: int) -> Iterator[list[RunSpec]]:
    """Runs that can share a batch, at most ``most`` together, in a fixed order."""

    def batch_key(run: RunSpec) -> str:
        if run.method not in VISUAL:
            return f"{run.dataset}|{run.shared().key()}"
        # they train alone: together are those that condense the same run
        return f"{run.dataset}|{run.seed}|{run.source().key()}|{bool(run.keep)}"

    for _, same in groupby(sorted(specs, key=batch_key), key=batch_key):
        batch = list(same)
        for start in range(0, len(batch), most):
            yield batch[start : start + most]


def shared_out(specs: Sequence[RunSpec], most: int, workers: int) -> list[list[RunSpec]]:
    """Groups for so many processes: the first of each dataset, then the second of each, ...

    Two processes that begin with one dataset would both encode it. Visual prompts have no features
    to share, and the images of one draw stay at hand from group to group: they keep their order.
    Where too few groups train to occupy every process, they are split.
    """
    batches = list(groups(specs, most))
    trained = [len(batch) for batch in batches if batch[0].epochs]
    if 0 < len(trained) < workers:
        batches = list(groups(specs, -(-max(trained) // workers)))
    lines = defaultdict[tuple[str, ...], list[list[RunSpec]]](list)
    for batch in batches:
        run = batch[0]
        lines[() if run.method in VISUAL else (run.dataset, run.style, run.backbone)].append(batch)
    return [batch for turn in zip_longest(*lines.values()) for batch in turn if batch]


def measure(specs: Sequence[RunSpec], store: Store, device: str = "cpu") -> None:
    """Measure runs and put each finished group into the store; shows progress with an ETA.

    On a CPU groups are spread over one-thread processes (``$DIP_WORKERS``, default: one a core).

    Raises:
        RuntimeError: on photos, zero-shot accuracy is off the published one; nothing was trained.
    """
    first = gate.zero_shots(specs)
    _measure_all(store.missing(first), store, device)
    for line in gate.check(record for run in first if (record := store.get(run))):
        tqdm.write(line)
    sources = dict.fromkeys(run.source() for run in specs if run.source() != run)
    unknown = [run for run in sources if store.learnt(run) is None]
    known = {*first, *unknown}
    learn = [run for run in specs if run.source() == run and run not in known]
    _measure_all([*learn, *unknown], store, device)
    _measure_all([run for run in specs if run.source() != run], store, device)


def _measure_all(specs: Sequence[RunSpec], store: Store, device: str) -> None:
    if not specs:
        return
    workers = 1 if device != "cpu" else int(os.environ.get("DIP_WORKERS", os.cpu_count() or 1))
    batches = shared_out(specs, BATCH[torch.device(device).type], workers)
    with tqdm(total=len(specs), desc="measuring", unit="run", mininterval=1) as bar:

        def keep(results: list[Found]) -> None:
            for record, learnt in results:
                store.put(record, learnt)
            bar.update(len(results))

        if min(workers, len(batches)) <= 1:
            for batch in batches:
                keep(_measure(batch, device, store.live))
            return
        context = get_context("spawn")
        with ProcessPoolExecutor(min(workers, len(batches)), context, _start_worker) as pool:
            # Ctrl-C is for this process: its workers, which inherit the mask, end with it
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
            groups_under_way = [pool.submit(_measure, b, device, store.live) for b in batches]
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
            try:
                for done in as_completed(groups_under_way):
                    keep(done.result())
            except KeyboardInterrupt:
                for worker in active_children():
                    worker.terminate()
                raise
