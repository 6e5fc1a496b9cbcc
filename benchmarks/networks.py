"""Where a scheduler and its workers run: here, or each in a network of its own on this machine."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Place:
    """A network's address of this machine, and what a command there begins with."""

    host: str
    prefix: tuple[str, ...] = ()


Here = Place("127.0.0.1")


@dataclass(frozen=True)
class Networks:
    """Two network namespaces that a cable joins; neither has another way out."""

    places: tuple[Place, Place]

    @staticmethod
    @contextmanager
    def made() -> Iterator[Networks | None]:
        """Them, until the block is left; None where this user may not make any (Linux, root)."""
        tag = f"{os.getpid():x}"
        names, cables = [f"dip{tag}{side}" for side in "ab"], [f"v{tag}{side}" for side in "ab"]
        hosts = [f"10.213.7.{number}" for number in (1, 2)]
        with ExitStack() as stack:
            if not shutil.which("ip") or not _ip("netns", "add", names[0]):
                yield None
                return
            stack.callback(_ip, "netns", "del", names[0])
            _ip("netns", "add", names[1])
            stack.callback(_ip, "netns", "del", names[1])
            _ip("link", "add", cables[0], "type", "veth", "peer", "name", cables[1])
            for name, cable, host in zip(names, cables, hosts, strict=True):
                _ip("link", "set", cable, "netns", name)
                _ip("-n", name, "addr", "add", f"{host}/30", "dev", cable)
                _ip("-n", name, "link", "set", "lo", "up")
                _ip("-n", name, "link", "set", cable, "up")
            at = ("ip", "netns", "exec")
            yield Networks((Place(hosts[0], (*at, names[0])), Place(hosts[1], (*at, names[1]))))


def _ip(*arguments: str) -> bool:
    return subprocess.run(["ip", *arguments], capture_output=True).returncode == 0


@contextmanager
def scheduler(place: Place, folder: Path) -> Iterator[str]:
    """The address of a scheduler of Dask at a place, until the block is left."""
    file = folder / "scheduler.json"
    command = ["distributed.cli.dask_scheduler", "--host", place.host, "--port", "0"]
    command += ["--no-dashboard", "--scheduler-file", str(file)]
    with _process(place, command, folder / "scheduler.log", folder) as process:
        while not file.is_file():
            if process.poll() is not None:
                raise RuntimeError((folder / "scheduler.log").read_text())
            time.sleep(0.1)
        yield json.loads(file.read_text())["address"]


@contextmanager
def worker(address: str, place: Place, folder: Path) -> Iterator[None]:
    """A worker with one thread at a place, whose home is ``folder / "home"``."""
    command = ["distributed.cli.dask_worker", address, "--nthreads", "1", "--no-nanny"]
    command += ["--no-dashboard", "--memory-limit", "0", "--host", place.host]
    command += ["--local-directory", str(folder), "--preload", "dip_study.measure"]
    with _process(place, command, folder / "worker.log", folder / "home"):
        yield


@contextmanager
def _process(
    place: Place, module: list[str], log: Path, home: Path
) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as out:
        process = subprocess.Popen(
            [*place.prefix, sys.executable, "-m", *module],
            cwd=log.parent,  # python -m would import what lies in this one
            env={**os.environ, "OMP_NUM_THREADS": "1", "DIP_HOME": str(home)},
            stdout=out,
            stderr=out,
        )
        try:
            yield process
        finally:
            process.kill()  # asked to end, a worker waits for a scheduler that has gone
            process.wait()
