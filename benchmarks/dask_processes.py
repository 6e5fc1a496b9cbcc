"""Dask's scheduler and workers as real processes of their own, as on other machines.

Benchmarks and tests start them; :mod:`networks` makes places other than this one.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from networks import HERE, Place

ROOT = Path(__file__).resolve().parents[1]
PLAIN = ("--no-dashboard",)


@contextmanager
def scheduler(
    folder: Path, protocol: str = "tcp", place: Place = HERE, **variables: str
) -> Iterator[str]:
    """The address of a scheduler that runs until the block is left.

    Raises:
        RuntimeError: it has ended before it had an address, with what it said.
    """
    file, log = folder / "scheduler.json", folder / "scheduler.log"
    more = ("--protocol", protocol, "--scheduler-file", str(file))
    command = ["distributed.cli.dask_scheduler", "--host", place.host, "--port", "0", *PLAIN]
    with _process([*command, *more], log, place, variables) as process:
        while not file.is_file():
            if process.poll() is not None:
                raise RuntimeError(log.read_text())
            time.sleep(0.1)
        yield json.loads(file.read_text())["address"]


@contextmanager
def worker(
    address: str, folder: Path, *more: str, place: Place = HERE, **variables: str
) -> Iterator[subprocess.Popen[bytes]]:
    """A worker of one thread with a home of its own in ``folder``.

    Args:
        more: options of Dask's.
        variables: of its environment.
    """
    folder.mkdir(parents=True, exist_ok=True)
    command = ["distributed.cli.dask_worker", address, "--nthreads", "1", "--no-nanny", *PLAIN]
    options = ["--memory-limit", "0", "--local-directory", str(folder), "--host", place.host]
    where = {"DIP_HOME": str(folder / "home"), **variables}
    with _process([*command, *options, *more], folder / "worker.log", place, where) as process:
        yield process


@contextmanager
def _process(
    module: list[str], log: Path, place: Place, variables: Mapping[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as out:
        process = subprocess.Popen(
            [*place.prefix, sys.executable, "-m", *module],
            cwd=log.parent,  # python -m would import what lies in this one
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), **variables},
            stdout=out,
            stderr=out,
        )
        try:
            yield process
        finally:
            process.kill()  # asked to end, a worker waits for a scheduler that has gone
            process.wait()
