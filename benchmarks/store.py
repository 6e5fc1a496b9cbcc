"""A store of 20,000 runs: opening a study, its status, one run, its size.

The runs are made: records of the committed book under other seeds, with prompts of the usual size.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import statistics
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from bench import parser, start, write
from safetensors.torch import save

from dip_lib.paths import results_dir
from dip_lib.store import Store
from dip_lib.store.export import every_record
from dip_lib.training.run import Run
from dip_study.cli import main as dip

SOURCE = results_dir() / "embedded-full" / "base_to_new.json"
RUNS, STUDY = 20_000, 1_000
FIRST_SEED = 1_000
"""Beyond every seed of the committed runs."""


def fill(live: Path, count: int) -> Iterator[Run]:
    """Write so many made runs; yields them."""
    live.mkdir(parents=True)
    (live / ".layout").write_text("2\n")
    prompt = save({"prompt": torch.zeros(4, 128)})
    records = [each for each in every_record(SOURCE) if each["run"]["seed"]][:count]
    # in a live store checkpoints come after the status, other than in an export
    last = "checkpoints"
    ordered = [
        {name: each[name] for name in each if name != last} | {last: each[last]} for each in records
    ]
    texts = [json.dumps(each, indent=1) + "\n" for each in ordered]
    runs = [Run.from_dict(each["run"]) for each in records]
    for i in range(count):
        which = i % len(runs)
        run = replace(runs[which], seed=FIRST_SEED + i)
        old, seed = records[which]["key"], f'"seed": {runs[which].seed}'
        text = texts[which].replace(old, run.key()).replace(seed, f'"seed": {run.seed}')
        (live / f"{run.key()}.json").write_text(text)
        (live / f"{run.key()}.safetensors").write_bytes(prompt)
        yield run


def seconds(step: Any, repeats: int = 1) -> float:
    """CPU seconds of this process, the system's for it included: the median."""
    taken = []
    for _ in range(repeats):
        began = time.process_time()
        step()
        taken.append(time.process_time() - began)
    return statistics.median(taken)


def measure(home: Path, count: int, study: int) -> dict[str, Any]:
    """Every time and size of a store of ``count`` runs in a new home."""
    live = home / "store"
    runs = list(fill(live, count))
    wanted = runs[:: max(1, count // study)][:study]
    os.environ |= {"DIP_HOME": str(home), "DIP_RESULTS": str(home / "none")}

    def opened() -> None:
        store = Store(live)
        assert store.missing(wanted) == []
        assert len([store.get(run) for run in wanted]) == len(wanted)

    def status() -> None:
        with contextlib.redirect_stdout(io.StringIO()) as said:
            assert dip(["store", "status"]) == 0
        assert f"{count:,} current" in said.getvalue()

    store = Store(live)
    return {
        "runs": count,
        "study_runs": len(wanted),
        "megabytes": sum(each.stat().st_size for each in live.iterdir()) / 2**20,
        "seconds": {
            "open a study": seconds(opened),
            "all records": seconds(lambda: store.records()),
            "one run": seconds(lambda: store.get(runs[count // 2]), 20),
            "status, the first time": seconds(status),
            "status": seconds(status, 3),
        },
    }


def main() -> None:
    chosen = start(parser(__doc__, "store"))
    count, study = (40, 10) if chosen.smoke else (RUNS, STUDY)
    with TemporaryDirectory(prefix="dip-store-") as folder:
        result = measure(Path(folder) / "home", count, study)
    for name, value in result["seconds"].items():
        print(f"{name:24}{value:9.4f} s")
    print(f"{result['runs']:,} runs, {result['megabytes']:.0f} MB")
    write("store", result, chosen)


if __name__ == "__main__":
    main()
