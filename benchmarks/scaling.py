"""One sweep on one and two workers, here and over two networks; then the paper's on 1, 8, 64 GPUs.

Every candidate measures the same runs in a store of its own, from image features that are encoded,
in a new process, and they take turns. Seconds are of the wall, so the machine must be quiet. The
results of all candidates have to be the same to the last bit. The estimate for GPUs is a model
(``dip_study.plan_scaling``) with the client's time as measured here and two rates that are assumed.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from bench import parser, start, write
from dask_processes import scheduler, worker
from networks import HERE, Networks, Place

from dip_lib.paths import home
from dip_lib.store import Store
from dip_lib.training.run import Run
from dip_study.engine.cluster import dask_cluster
from dip_study.measure import measure
from dip_study.plan_scaling import Rates, estimate, group_seconds, phases
from dip_study.profiles import load_profile
from dip_study.runs import DIP, make_run

FAMILIES, SEEDS = ("boxes", "cyrillic", "greek", "shapes"), range(1, 11)
GPUS = (1, 8, 64)
ASSUMED = {"times_a_core": 250.0, "images_per_second": 1500.0}
"""A GPU: text-side steps over those of the core in ``text_step.json``, which does about 110 GFLOP/s
in fp32; and images from files to features. No GPU was measured."""
OF_THE_MACHINE = ("seconds", "memory_mb", "finished_at", "batch_runs")
"""What a record says of time, process and group."""


def sweep(smoke: bool) -> list[Run]:
    """CoOp and DIP, every run evaluated along training."""
    profile = load_profile("smoke" if smoke else "embedded")
    families, seeds = (FAMILIES[2:3], range(1, 3)) if smoke else (FAMILIES, SEEDS)
    at = {"backbone": "glyph-resnet"}
    return [
        make_run(profile, family, "coop", seed, low_rank, **at)
        for family in families
        for low_rank in (None, DIP)
        for seed in seeds
    ]


def client(address: str, smoke: bool) -> dict[str, Any]:
    """Measure the sweep in this process's home: with a scheduler's workers, or with processes."""
    wanted, store = sweep(smoke), Store(home() / "store")
    with dask_cluster(address) if address else nullcontext() as engine:
        if engine:
            engine.names()
        wall, cpu = time.perf_counter(), time.process_time()
        measure(wanted, store, engine=engine)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    learned = hashlib.sha256()
    for run in wanted:
        record = store.get(run) or {}
        kept = {name: value for name, value in record.items() if name not in OF_THE_MACHINE}
        tensors = store.tensors(run) or {}
        learned.update(json.dumps(kept, sort_keys=True).encode())
        learned.update(b"".join(tensors[name].numpy().tobytes() for name in sorted(tensors)))
    return {"seconds": wall, "client_seconds": cpu, "results": learned.hexdigest()}


@contextmanager
def new_home(features: Path) -> Iterator[Path]:
    """A home without runs."""
    with TemporaryDirectory(prefix="dip-scaling-") as folder:
        (Path(folder) / "features").symlink_to(features)
        yield Path(folder)


def timed(place: Place, address: str, features: Path, workers: int, smoke: bool) -> dict[str, Any]:
    """What the client says that runs at a place, in a new home."""
    with new_home(features) as folder:
        said = subprocess.run(
            [*place.prefix, sys.executable, __file__, "--client", address or "processes"]
            + ["--smoke"] * smoke,
            env={**os.environ, "DIP_HOME": str(folder), "DIP_WORKERS": str(workers)},
            stdout=subprocess.PIPE,
            check=True,
        )
    answer: dict[str, Any] = json.loads(said.stdout)
    return answer


def on_dask(
    count: int, at: Place, workers_at: Place, features: Path, smoke: bool
) -> dict[str, Any]:
    """The same with so many workers of Dask, which have imported everything before."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="dip-dask-")))
        address = stack.enter_context(scheduler(folder, place=at))
        for own in (folder / f"worker-{i}" for i in range(count)):
            (own / "home").mkdir(parents=True)
            (own / "home" / "features").symlink_to(features)
            warm = ("--preload", "dip_study.measure")
            stack.enter_context(worker(address, own, *warm, place=workers_at))
        return timed(at, address, features, count, smoke)


def candidates(features: Path, networks: Networks | None, smoke: bool) -> Iterator[tuple[str, Any]]:
    """Name -> a call that measures the sweep; a smoke test has those with two workers."""
    for count in (1, 2)[smoke:]:
        yield (
            f"processes, {count}",
            lambda count=count: timed(HERE, "", features, count, smoke),
        )
        yield (
            f"Dask, {count}",
            lambda count=count: on_dask(count, HERE, HERE, features, smoke),
        )
    if networks:
        first, second = networks.places
        yield "Dask, 2, other network", lambda: on_dask(2, first, second, features, smoke)


def extrapolated(client_seconds: float) -> dict[str, Any]:
    """The profile ``paper`` on GPUs, by the model."""
    profile, rates = load_profile("paper"), Rates(client_seconds=client_seconds, **ASSUMED)
    runs = sum(map(len, phases(profile)))
    every = {n: group_seconds(profile, rates, n) for n in GPUS}
    return {
        "rates": asdict(rates),
        "runs": runs,
        "groups": sum(map(len, every[1])),
        "gpus": [asdict(estimate(seconds, runs, n, rates)) for n, seconds in every.items()],
    }


def main() -> None:
    options = parser(__doc__, "scaling")
    options.add_argument("--client", default="", help="of this program itself")
    options.add_argument("--repeats", type=int, default=2)
    if (known := options.parse_known_args()[0]).client:
        address = known.client if known.client != "processes" else ""
        print(json.dumps(client(address, known.smoke)))
        return
    chosen = start(options)
    repeats = 1 if chosen.smoke else chosen.repeats
    with TemporaryDirectory(prefix="dip-scaling-") as name, Networks.made() as networks:
        features = Path(name) / "features"
        features.mkdir()
        timed(HERE, "", features, 1, chosen.smoke)  # encodes the images
        measured: dict[str, list[dict[str, Any]]] = {}
        for _ in range(repeats):
            for label, call in candidates(features, networks, chosen.smoke):
                measured.setdefault(label, []).append(call())
                print(f"{label:24}{measured[label][-1]['seconds']:8.1f} s", flush=True)
    runs = len(sweep(chosen.smoke))
    every = [each for rows in measured.values() for each in rows]
    dask = [rows for label, rows in measured.items() if "Dask" in label]
    per_run = median(row["client_seconds"] for rows in dask for row in rows) / runs
    result = {
        "runs": runs,
        "seconds": {label: [row["seconds"] for row in rows] for label, rows in measured.items()},
        "client_seconds_a_run": per_run,
        "same_results": len({each["results"] for each in every}) == 1,
        "other_network": "" if networks else "not measured: it needs ip netns, and root",
    }
    if not chosen.smoke:
        result["paper"] = extrapolated(per_run)
    write("scaling", result, chosen)


if __name__ == "__main__":
    main()
