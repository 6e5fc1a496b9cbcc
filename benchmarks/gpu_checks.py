"""What must hold on a GPU, a check a process: ``gpu_checks.py waits --device cuda``.

Prints one JSON as its last line. :mod:`first_gpu` runs all of them; on a CPU they run too, and show
that they work. Glyph World's towers and family greek; nothing is downloaded.
"""

from __future__ import annotations

import argparse
import json
import statistics
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from bench import clock, one_thread
from few import load_few
from methods import HOSTS, rows

from dip_lib import load_backbone
from dip_lib.clip.backbone import Backbone
from dip_lib.clip.features import load_features
from dip_lib.data import Dataset, load_dataset
from dip_lib.methods.prompt_method import PromptMethod
from dip_lib.training.batch_data import draws, training_data
from dip_lib.training.loop import train_epochs
from dip_lib.training.parts import Schedule
from dip_lib.training.run import Run
from dip_lib.training.runs import Runs
from dip_lib.training.trainer import train

FAMILY = "greek"
Found = dict[str, Any]


def scheduled(run: Run, epochs: int) -> Run:
    """The run with so many epochs, evaluated at the end alone."""
    assert isinstance(run.schedule, Schedule)
    return replace(run, schedule=replace(run.schedule, epochs=epochs, checkpoints=1))


def prepared(run: Run, clip: Backbone, dataset: Dataset) -> Runs:
    """One run before its first step."""
    method = run.method
    reads_pixels = clip if isinstance(method, PromptMethod) and method.encodes_images else None
    features, drawn = load_features(clip, dataset, run.data.views), draws([run], dataset)
    return Runs.prepare([run], clip, training_data([run], dataset, features, drawn, reads_pixels))


def waits(device: str, dataset: Dataset, smoke: bool) -> Found:
    """How often the processor waits for the GPU in the second epoch of each method, and where.

    Counted by torch's own ``set_sync_debug_mode``; None on a CPU, which has nothing to wait for.
    """
    clip, table, on_gpu = load_backbone("glyph-vit", device=device), {}, device != "cpu"
    for name, run in rows(HOSTS[:2] if smoke else HOSTS, 1).items():
        batch = prepared(scheduled(run, 2), clip, dataset)
        size = min(batch.schedule.batch, batch.data.labels.shape[1])
        epochs = train_epochs(batch, graphs=False)
        next(epochs)
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            if on_gpu:
                torch.cuda.set_sync_debug_mode("warn")
            next(epochs)
            if on_gpu:
                torch.cuda.set_sync_debug_mode("default")
        found = Counter(f"{Path(each.filename).name}:{each.lineno}" for each in said)
        steps = batch.data.labels.shape[1] // size
        table[name] = {"steps": steps, "waits": found.total() if on_gpu else None, "at": found}
    return {"methods": table}


def graphs(device: str, dataset: Dataset, smoke: bool) -> Found:
    """Recorded steps against plain ones: largest difference of a prompt, and seconds."""
    clip, table, ticks = load_backbone("glyph-vit", device=device), {}, clock(device)
    for name, run in rows(HOSTS[:1] if smoke else HOSTS, 1).items():
        method = run.method
        if not (isinstance(method, PromptMethod) and method.cuda_graph):
            continue
        ways, seconds = [], []
        for recorded in (True, False):
            batch = prepared(scheduled(run, 2 if smoke else 50), clip, dataset)
            began = ticks()
            for _ in train_epochs(batch, recorded):
                pass
            seconds.append(ticks() - began)
            ways.append(batch.learned().prompts[0].detach().cpu())
        apart = float((ways[0] - ways[1]).abs().max())
        moved = float((ways[1] - method.start(batch.frozen, run.seed).prompts[0].cpu()).abs().max())
        table[name] = {"apart": apart, "moved": moved, "seconds": seconds}
    return {"methods": table}


def ends(runs: Sequence[Run], clip: Backbone, dataset: Dataset) -> dict[str, list[float]]:
    """Base and new accuracy of runs, CoOp's and then DIP's of every seed, trained at once."""
    features = load_features(clip, dataset, runs[0].data.views)
    last = [r.record["checkpoints"][-1] for r in train(runs, clip, dataset, features)]
    half = len(last) // 2
    named = {"coop": last[:half], "dip": last[half:]}
    return {
        f"{k} {part}": [p[part] for p in v] for k, v in named.items() for part in ("base", "new")
    }


def seeds(smoke: bool) -> list[Run]:
    """CoOp and DIP with every seed."""
    both, count = rows(("coop",), 1 if smoke else 16), 2 if smoke else 5
    pair = (scheduled(both[name], 1 if smoke else 20) for name in ("coop", "dip"))
    return [replace(run, seed=seed) for run in pair for seed in range(1, count + 1)]


def compared(here: dict[str, list[float]], there: dict[str, list[float]]) -> Found:
    """Of each accuracy: both, the difference of the means, and the deviation between seeds."""
    table = {}
    for name, own in here.items():
        apart = statistics.mean(there[name]) - statistics.mean(own)
        noise = statistics.stdev(own)
        each = {"ours": own, "theirs": there[name], "difference": apart, "seed_deviation": noise}
        table[name] = each | {"within_seed_noise": abs(apart) <= noise}
    return table


def accuracy(device: str, dataset: Dataset, smoke: bool) -> Found:
    """CoOp and DIP with five seeds from pictures to accuracy, on the CPU and on the device."""
    here, there = (
        ends(seeds(smoke), load_backbone("glyph-vit", device=each), dataset)
        for each in ("cpu", device)
    )
    return {"cpu_against_device": compared(here, there)}


def bf16(device: str, dataset: Dataset, smoke: bool) -> Found:
    """The same on the device with encoders in fp32 and in bf16."""
    here, there = (
        ends(seeds(smoke), load_backbone("glyph-vit", device=device, precision=each), dataset)
        for each in ("fp32", "bf16")
    )
    return {"fp32_against_bf16": compared(here, there)}


CHECKS: dict[str, Callable[[str, Dataset, bool], Found]] = {
    each.__name__: each for each in (waits, graphs, accuracy, bf16)
}


def main() -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    options.add_argument("check", choices=CHECKS)
    options.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")
    options.add_argument("--smoke", action="store_true", help="for tests: the smallest sizes")
    chosen = options.parse_args()
    one_thread(chosen.device)
    dataset = (load_few if chosen.smoke else load_dataset)(FAMILY)
    print(json.dumps(CHECKS[chosen.check](chosen.device, dataset, chosen.smoke)))


if __name__ == "__main__":
    main()
