"""Sweeps that are killed, interrupted, or run twice at once, against an undisturbed one.

``python tests/faults.py 50`` (``make faults``) does each so often and writes
``results/faults.json``; the slow tests do the same less often.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil

ROOT = Path(__file__).resolve().parents[1]
COMMAND = [sys.executable, str(ROOT / "tests" / "sweep.py")]
OF_THE_MACHINE = ("seconds", "memory_mb", "finished_at")
"""What a record says of the time and the process, not of the run."""
SWEEP = 19
"""Runs of a sweep."""


@dataclass
class Tried:
    """What a fault cost.

    Attributes:
        fault: its name.
        times: how often it was done.
        runs: finished runs in the store before the faults, altogether.
        lost: of these, those that the store does not have afterwards.
        doubled: of these, those that were measured again.
        differing: runs whose result is not the undisturbed sweep's, to the last bit.
        seconds: of an interrupt, until the program had ended.
    """

    fault: str
    times: int = 0
    runs: int = 0
    lost: int = 0
    doubled: int = 0
    differing: int = 0
    seconds: list[float] = field(default_factory=list)

    @property
    def harmless(self) -> bool:
        return self.times > 0 and not (self.lost or self.doubled or self.differing)


def store(home: Path) -> dict[str, bytes]:
    """Every finished run in the store of a home, as it is on disk."""
    files = {path.name: path.read_bytes() for path in (home / "store").glob("*.json")}
    return {name: text for name, text in files.items() if b'"status": "finished"' in text}


def results(home: Path) -> dict[str, object]:
    """Of each stored run what does not depend on machine and time, and what it has learned."""
    found: dict[str, object] = {}
    for name, text in store(home).items():
        record = {k: v for k, v in json.loads(text).items() if k not in OF_THE_MACHINE}
        tensors = (home / "store" / name).with_suffix(".safetensors")
        found[name] = record, tensors.read_bytes() if tensors.is_file() else b""
    return found


def begin(home: Path, engine: str = "processes") -> subprocess.Popen[bytes]:
    """Start a sweep in a home."""
    return subprocess.Popen(
        [*COMMAND, engine],
        env={**os.environ, "DIP_HOME": str(home), "DIP_WORKERS": "2", "PYTHONPATH": str(ROOT)}
        | {"OMP_NUM_THREADS": "1"},
        stderr=(home / "log").open("ab"),
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def workers(sweep: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """The worker processes of a sweep: those below the server that forks them, or Dask's."""
    with suppress(psutil.NoSuchProcess):
        top = psutil.Process(sweep.pid)
        direct = top.children()
        below = [each for each in top.children(recursive=True) if each not in direct]
        return below or [each for each in direct if "spawn_main" in " ".join(each.cmdline())]
    return []


def alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    return psutil.wait_procs(processes, timeout=60)[1]


def until(sweep: subprocess.Popen[bytes], home: Path, count: int) -> None:
    """Wait until the store has so many runs, or the sweep has ended."""
    while len(store(home)) < count and sweep.poll() is None:
        time.sleep(0.02)


@contextmanager
def new_home(features: Path) -> Iterator[Path]:
    """A home without runs that has the image features encoded already."""
    with TemporaryDirectory(prefix="dip-fault-", ignore_cleanup_errors=True) as folder:
        (Path(folder) / "features").symlink_to(features)
        yield Path(folder)


def undisturbed(home: Path) -> dict[str, object]:
    """The results of a sweep that nothing disturbs."""
    assert begin(home).wait() == 0, (home / "log").read_text()
    found = results(home)
    assert len(found) == SWEEP
    return found


def compare(tried: Tried, home: Path, expected: dict[str, object]) -> None:
    """Count what differs from the undisturbed sweep, after a last call that nothing disturbs."""
    before = store(home)
    assert begin(home).wait() == 0, (home / "log").read_text()
    after, found = store(home), results(home)
    tried.doubled += sum(after.get(name) not in (text, None) for name, text in before.items())
    tried.lost += sum(name not in after for name in before)
    tried.differing += sum(found.get(name) != each for name, each in expected.items())


def killed(times: int, features: Path, expected: dict[str, object], seed: int = 0) -> Tried:
    """SIGKILL of the program at random moments of sweeps that each call resumes."""
    chance, tried = random.Random(seed), Tried("SIGKILL of the program")
    while tried.times < times:
        with new_home(features) as home:
            while tried.times < times and len(store(home)) < SWEEP - 1:
                sweep, had = begin(home), store(home)
                until(sweep, home, len(had) + chance.randint(1, 4))
                time.sleep(chance.random() / 5)
                own = workers(sweep)
                sweep.kill()
                sweep.wait()
                assert not alive(own), "workers outlived the program"
                now = store(home)
                tried.times, tried.runs = tried.times + 1, tried.runs + len(had)
                tried.lost += sum(name not in now for name in had)
                tried.doubled += sum(
                    now.get(name) not in (text, None) for name, text in had.items()
                )
            compare(tried, home, expected)
    return tried


def worker_killed(
    times: int, features: Path, expected: dict[str, object], engine: str, seed: int = 0
) -> Tried:
    """SIGKILL of a worker at random moments; the sweep that it works for goes on."""
    chance, tried = random.Random(seed), Tried(f"SIGKILL of a worker ({engine})")
    while tried.times < times:
        with new_home(features) as home:
            sweep, seen = begin(home, engine), dict[str, bytes]()
            while sweep.poll() is None and tried.times < times:
                had = store(home)
                seen |= {name: text for name, text in had.items() if name not in seen}
                until(sweep, home, len(had) + chance.randint(1, 4))
                time.sleep(chance.random() / 5)
                if sweep.poll() is None and (own := workers(sweep)):
                    with suppress(psutil.NoSuchProcess):
                        chance.choice(own).kill()
                        tried.times, tried.runs = tried.times + 1, tried.runs + len(had)
            assert sweep.wait() == 0, (home / "log").read_text()
            tried.doubled += sum(store(home).get(name) != text for name, text in seen.items())
            compare(tried, home, expected)
    return tried


def interrupted(times: int, features: Path, expected: dict[str, object], engine: str) -> Tried:
    """Ctrl-C, as a terminal sends it: to all processes of the program."""
    tried = Tried(f"Ctrl-C ({engine})")
    with new_home(features) as home:
        for i in range(times):
            sweep = begin(home, engine)
            until(sweep, home, 2 * i + 2)
            own, had = workers(sweep), store(home)
            began = time.monotonic()
            os.killpg(sweep.pid, signal.SIGINT)
            assert sweep.wait() == 130, (home / "log").read_text()
            tried.seconds.append(round(time.monotonic() - began, 2))
            assert not alive(own), "workers outlived the program"
            tried.times, tried.runs = tried.times + 1, tried.runs + len(had)
            tried.lost += sum(name not in store(home) for name in had)
        compare(tried, home, expected)
    return tried


def two_at_once(times: int, features: Path, expected: dict[str, object]) -> Tried:
    """Two sweeps of the same runs on one store at the same time."""
    tried = Tried("two sweeps on one store")
    for _ in range(times):
        with new_home(features) as home:
            both = begin(home), begin(home)
            assert [each.wait() for each in both] == [0, 0], (home / "log").read_text()
            tried.times, tried.runs = tried.times + 1, tried.runs + len(store(home))
            compare(tried, home, expected)
    return tried


def every(times: int, features: Path, expected: dict[str, object]) -> Iterator[Tried]:
    """Each fault so often."""
    few = max(1, times // 10)
    yield killed(times, features, expected)
    yield worker_killed(times, features, expected, "processes")
    yield worker_killed(times, features, expected, "dask")
    yield interrupted(few, features, expected, "processes")
    yield interrupted(few, features, expected, "dask")
    yield two_at_once(few, features, expected)


def main(say: Callable[[str], None] = print) -> None:
    from dip_lib.files import write_atomic
    from dip_lib.machine import cpu_name

    times = int(sys.argv[1])
    out = Path(sys.argv[2]) if sys.argv[2:] else ROOT / "results" / "faults.json"
    with TemporaryDirectory(prefix="dip-fault-") as folder:
        home = Path(folder)
        (home / "features").mkdir()
        expected, rows = undisturbed(home), []
        for tried in every(times, home / "features", expected):
            say(f"{tried.fault}: {asdict(tried)}")
            rows.append(asdict(tried))
            date = time.strftime("%Y-%m-%d", time.gmtime())
            made = {"machine": cpu_name(), "date": date, "sweep": SWEEP, "faults": rows}
            write_atomic(out, f"{json.dumps(made, indent=1)}\n".encode())


if __name__ == "__main__":
    main()
