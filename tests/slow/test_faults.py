"""Sweeps that are killed, interrupted, run twice at once, or out of memory lose no finished run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
sys.path.append(str(TESTS))

import faults  # noqa: E402

TIMES = 5


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, object]]:
    """Image features, and the results of a sweep that nothing disturbs."""
    home = tmp_path_factory.mktemp("undisturbed")
    (home / "features").mkdir()
    return home / "features", faults.undisturbed(home)


Sweep = tuple[Path, dict[str, object]]


def test_the_program_is_killed_at_random_moments(sweep: Sweep) -> None:
    assert faults.killed(TIMES, *sweep).harmless


@pytest.mark.parametrize("engine", ["processes", "dask"])
def test_workers_are_killed_at_random_moments(sweep: Sweep, engine: str) -> None:
    assert faults.worker_killed(TIMES, *sweep, engine).harmless


@pytest.mark.parametrize("engine", ["processes", "dask"])
def test_ctrl_c_ends_all_and_the_next_call_resumes(sweep: Sweep, engine: str) -> None:
    tried = faults.interrupted(2, *sweep, engine)
    assert tried.harmless
    print(f"ended after {tried.seconds} s")


def test_two_sweeps_share_a_store(sweep: Sweep) -> None:
    assert faults.two_at_once(1, *sweep).harmless


# ---- memory -------------------------------------------------------------------------------------

SCARCE = """
import resource, sys
import torch
sys.path.insert(0, sys.argv[1])
from few_glyphs import Few, run
from dip_lib.training.record import Result, record
from dip_study.engine import group

def measure_group(of):
    torch.empty(len(of.runs), 2**26).zero_()  # a quarter of a gigabyte a run
    half = type("Half", (), {"names": ("a",), "labels": torch.zeros(3)})()
    return [Result(record(each, (half, half), [{"epoch": 0}], 1.0), {}) for each in of.runs]

group.measure_group, group.dataset_of = measure_group, lambda *_: Few()
runs = tuple(run("coop", seed) for seed in range(1, 9))
assert len(group.measured(group.Task(runs[:1], "cpu", {}))) == 1  # all is loaded
used = next(int(line.split()[1]) for line in open("/proc/self/status") if "VmData" in line)
for runs_that_fit in (3, 0):
    limit = used * 1024 + runs_that_fit * 2**28 + 2**26
    resource.setrlimit(resource.RLIMIT_DATA, (limit, resource.RLIM_INFINITY))
    print(*[result.record["status"] for result in group.measured(group.Task(runs, "cpu", {}))])
"""


def test_what_the_system_refuses_is_measured_in_parts_or_recorded_as_failed() -> None:
    if sys.platform != "linux":
        pytest.skip("the limit of a process's data is Linux's: no memory was refused")
    run = [sys.executable, "-c", SCARCE, str(TESTS)]
    where = {**os.environ, "PYTHONPATH": str(TESTS.parent)}
    done = subprocess.run(run, env=where, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    fits, none_fits = done.stdout.splitlines()
    assert fits.split() == ["finished"] * 8
    assert none_fits == " ".join(["failed: out of memory"] * 8)
