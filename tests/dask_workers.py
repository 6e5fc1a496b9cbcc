"""Dask's scheduler and workers as real processes of their own, as on other machines."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PLAIN = ("--no-dashboard",)


@contextmanager
def scheduler(folder: Path, protocol: str = "tcp", **variables: str) -> Iterator[str]:
    """The address of a scheduler that runs until the block is left."""
    file = folder / "scheduler.json"
    more = ("--protocol", protocol, "--scheduler-file", str(file))
    command = ["distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0", *PLAIN]
    with _process([*command, *more], folder / "scheduler.log", variables):
        while not file.is_file():
            time.sleep(0.1)
        yield json.loads(file.read_text())["address"]


@contextmanager
def worker(address: str, folder: Path, **variables: str) -> Iterator[subprocess.Popen[bytes]]:
    """A worker with a home of its own in ``folder``; ``variables`` of its environment."""
    folder.mkdir(parents=True, exist_ok=True)
    command = ["distributed.cli.dask_worker", address, "--nthreads", "1", "--no-nanny", *PLAIN]
    options = ["--memory-limit", "0", "--local-directory", str(folder), "--host", "127.0.0.1"]
    where = {"DIP_HOME": str(folder / "home"), **variables}
    with _process([*command, *options], folder / "worker.log", where) as process:
        yield process


@contextmanager
def _process(
    module: list[str], log: Path, variables: Mapping[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", *module],
            cwd=log.parent,  # python -m would import what lies in this one
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), **variables},
            stdout=out,
            stderr=out,
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()
