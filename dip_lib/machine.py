"""The machine that a process runs on."""

from __future__ import annotations

import os
import platform
import time
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


@cache
def cpu_name(listed: Path = Path("/proc/cpuinfo")) -> str:
    """The processor's name, with the number of cores: as Linux lists it, else as Python has it."""
    lines = listed.read_text().splitlines() if listed.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.processor() or 'CPU'}, {os.cpu_count()} cores"


def work_seconds(device: torch.device) -> float:
    """A clock whose differences say what a computation costs, in seconds.

    On a CPU the time that cores have spent on this process, all its threads together, so that work
    beside other processes costs what it costs alone; on a GPU the time that passes.
    """
    return time.process_time() if device.type == "cpu" else time.perf_counter()


def usable_cores(groups: Path = Path("/sys/fs/cgroup")) -> int:
    """Cores that this process may use: those it is bound to, within its container's share.

    The share is the quota of control groups, version 2 (``cpu.max``) or 1 (``cpu/cpu.cfs_*``),
    rounded up; ``taskset`` and a batch system bind a process to cores.
    """
    # not on macOS
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, min([bound or 1, *_quotas(groups)]))


def _quotas(groups: Path) -> list[int]:
    """Cores by the quotas of control groups; [] where there is none."""
    quotas = []
    for names in (("cpu.max",), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")):
        try:
            words = " ".join((groups / name).read_text() for name in names).split()
        except OSError:
            continue
        if len(words) == 2 and all(word.isdigit() for word in words) and int(words[1]):
            quotas.append(-(-int(words[0]) // int(words[1])))  # "max" and -1: no limit
    return quotas
