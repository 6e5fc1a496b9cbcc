"""The machine's name, by which a record says where it was measured, and the cores to use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dip_lib.machine import cpu_name, usable_cores


def test_the_processor_is_named_as_the_system_lists_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = tmp_path / "cpuinfo"
    listed.write_text("processor\t: 0\nmodel name\t: AMD EPYC\nprocessor\t: 1\nmodel name\t: AMD\n")
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    assert cpu_name(listed) == "AMD EPYC, 2 cores"
    monkeypatch.setattr("platform.processor", lambda: "Intel64 Family 6, GenuineIntel")
    assert cpu_name(tmp_path / "not Linux") == "Intel64 Family 6, GenuineIntel, 2 cores"
    monkeypatch.setattr("platform.processor", lambda: "")
    assert cpu_name(tmp_path / "unknown") == "CPU, 2 cores"


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="binds no process to cores")
def test_a_process_bound_to_one_core_uses_one(tmp_path: Path) -> None:
    every = os.sched_getaffinity(0)
    assert usable_cores(tmp_path) == len(every)
    try:
        os.sched_setaffinity(0, {min(every)})  # as `taskset -c 0` does
        assert usable_cores(tmp_path) == 1
    finally:
        os.sched_setaffinity(0, every)


@pytest.mark.parametrize(
    ("quota", "cores"),
    [
        ({"cpu.max": "max 100000\n"}, 64),
        ({"cpu.max": "150000 100000\n"}, 2),
        ({"cpu.max": "10000 100000\n"}, 1),
        ({"cpu.max": "damaged"}, 64),
        ({"cpu/cpu.cfs_quota_us": "400000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 4),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 64),
        ({}, 64),
    ],
)
def test_a_containers_share_bounds_the_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quota: dict[str, str], cores: int
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(64)), raising=False)
    for name, text in quota.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert usable_cores(tmp_path) == cores
