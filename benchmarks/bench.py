"""What the benchmarks share: the clock, interleaved timing, peak memory, results on disk.

On a CPU the clock is the process's own CPU seconds with one thread, so that other work on the
machine does not distort a ratio. On a GPU it is wall time after all kernels have finished.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import math
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from dip_lib.clip.loading import check_device
from dip_lib.clip.onednn import AVAILABLE, fast_linear
from dip_lib.files import write_atomic
from dip_lib.machine import cpu_name
from dip_lib.training.cuda_graph import WARM_UP, Replay

RESULTS = Path(__file__).resolve().parents[1] / "results" / "benchmarks"
SMOKE = "made with --smoke: the smallest sizes, once, to see that the program runs"
Step = Callable[[], object]


def parser(description: str | None, name: str) -> argparse.ArgumentParser:
    """Command line of the benchmark ``name``: ``--device``, ``--out``, the file it writes, and
    ``--smoke``, which every benchmark obeys."""
    arguments = argparse.ArgumentParser(description=(description or "").split("\n")[0])
    arguments.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")
    arguments.add_argument("--out", type=Path, default=RESULTS / f"{name}.json", help="JSON file")
    arguments.add_argument("--smoke", action="store_true", help="for tests: measures nothing")
    return arguments


def parse(options: argparse.ArgumentParser) -> argparse.Namespace:
    """The chosen options; what measures nothing must not replace a measurement."""
    chosen = options.parse_args()
    if chosen.smoke and chosen.out.resolve().parent == RESULTS:
        options.error("--smoke measures nothing: give it --out, a file outside of results")
    return chosen


def start(options: argparse.ArgumentParser) -> argparse.Namespace:
    """The chosen options, checked, and one thread on a CPU."""
    chosen = parse(options)
    one_thread(chosen.device)
    return chosen


def one_thread(device: str) -> None:
    """One thread on a CPU: its seconds are then comparable. What is no device is said."""
    if check_device(device).type == "cpu":
        torch.set_num_threads(1)


def machine(device: str = "cpu") -> dict[str, Any]:
    """Where and with what a benchmark was measured."""
    on_gpu = torch.device(device).type == "cuda"
    return {
        "cpu": cpu_name(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name() if on_gpu else "cpu",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "open_clip_torch": version("open_clip_torch"),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
    }


def write(name: str, result: dict[str, Any], chosen: argparse.Namespace) -> None:
    """Write a result, with the benchmark's name and the machine, atomically as JSON.

    One made with ``--smoke`` says in the file that it measures nothing.
    """
    about: dict[str, Any] = {"benchmark": name, "machine": machine(chosen.device)}
    if chosen.smoke:
        about["no_measurement"] = SMOKE
    text = json.dumps({**about, **result}, indent=1)
    write_atomic(chosen.out, f"{text}\n".encode())


def clock(device: str = "cpu") -> Callable[[], float]:
    """Seconds: of this process's CPU time, or on a GPU of wall time with everything finished."""
    if torch.device(device).type == "cpu":
        return time.process_time

    def finished() -> float:
        torch.cuda.synchronize()
        return time.perf_counter()

    return finished


def interleaved(
    candidates: dict[str, Step],
    repeats: int,
    clock: Callable[[], float] = time.process_time,
    warm_up: bool = True,
    settle: bool = False,
) -> dict[str, list[float]]:
    """Seconds of each repeat of each candidate: one warm-up of each, then round-robin.

    Candidates take turns so that a slow period of the machine affects all of them. ``settle``: each
    is called once more before it is timed, so that a short step does not pay for the caches that a
    long one before it has emptied.
    """
    for step in candidates.values() if warm_up else ():
        step()
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(repeats):
        for name, step in candidates.items():
            if settle:
                step()
            began = clock()
            step()
            seconds[name].append(clock() - began)
    return seconds


def paired_ratio(slow: Sequence[float], fast: Sequence[float]) -> float:
    """Median of ``slow[i] / fast[i]``; what was measured once is paired with every repeat."""
    most = max(len(slow), len(fast))
    a, b = (list(each) * (most if len(each) == 1 else 1) for each in (slow, fast))
    return statistics.median(x / y for x, y in zip(a, b, strict=True))


def recorded(step: Step, device: str) -> Step:
    """``step`` as the trainer takes it: on a GPU a recorded graph, on a CPU the step itself."""
    if torch.device(device).type == "cpu":
        return step
    replay = Replay(lambda: (step(), None)[1], torch.device(device))
    for _ in range(WARM_UP + 1):
        replay()
    return replay


def count_flops(step: Step) -> int:
    """Floating-point operations of matrix products and attention in one call of ``step``."""
    others = {torch.ops.mkldnn._linear_pointwise: _linear_flops} if AVAILABLE else {}
    with FlopCounterMode(display=False, custom_mapping=others) as counter:
        step()
    return counter.get_total_flops()


def _linear_flops(x: Sequence[int], weight: Sequence[int], *_: Any, **__: Any) -> int:
    """Of a layer by oneDNN, which torch's counter does not know, from its shapes."""
    return 2 * math.prod(x) * weight[0]


def gemm_peak(device: str = "cpu", dtype: torch.dtype = torch.float32, repeats: int = 8) -> float:
    """Best GFLOP/s of plain matrix products: 512 x 512 x 2048 on a CPU, 8192^3 on a GPU."""
    rows, inner, columns = (512, 512, 2048) if device == "cpu" else (8192,) * 3
    a = torch.randn(rows, inner, device=device, dtype=dtype)
    b = torch.randn(columns, inner, device=device, dtype=dtype)
    # ten a repeat: the CPU clock ticks in steps that one product would not fill
    with fast_linear():
        ten: dict[str, Step] = {"": lambda: [F.linear(a, b) for _ in range(10)]}
        seconds = interleaved(ten, repeats, clock(device), warm_up=repeats > 1)[""]
    return 10 * 2 * rows * inner * columns / min(seconds) / 1e9


def _status(field: str) -> float:
    """A line of this process's /proc status, MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{field}:"))


def step_memory(step: Step, device: str = "cpu") -> dict[str, float]:
    """Peak memory of the second call of ``step``, MB; run it in a fresh process (:func:`in_child`).

    After the first call libraries keep memory that does not belong to a step. A process with a long
    history can hold freed memory that its heap cannot give back, which hides as much of what a step
    needs.

    Returns:
        ``step_mb``: beyond what was in use before the call. ``process_mb``: the whole process with
        weights and libraries (on a GPU: all that torch holds there). Where the system cannot reset
        its high-water mark (not Linux), ``step_mb`` is the growth of the mark in the first call.
    """
    if torch.device(device).type == "cuda":
        step()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        step()
        peak = torch.cuda.max_memory_allocated()
        return {"step_mb": (peak - before) / 2**20, "process_mb": peak / 2**20}
    reset = Path("/proc/self/clear_refs")
    if not reset.exists():
        unit = 2**20 if sys.platform == "darwin" else 2**10
        in_use = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
        step()
        highest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
        return {"step_mb": highest - in_use, "process_mb": highest}
    step()
    earlier = _status("VmHWM")
    if hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
        libc.malloc_trim(0)  # freed memory that the allocator keeps would hide new memory
    reset.write_text("5")  # the high-water mark falls to what is in use now
    in_use = _status("VmRSS")
    step()
    highest = _status("VmHWM")
    return {"step_mb": highest - in_use, "process_mb": max(earlier, highest)}


def in_child(script: str, *arguments: str) -> Any:
    """What a fresh process of ``script`` prints as its last line of JSON.

    Raises:
        RuntimeError: the process failed; with its error output.
    """
    done = subprocess.run(
        [sys.executable, script, *arguments],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())},
    )
    if done.returncode:
        raise RuntimeError(f"{script} {' '.join(arguments)} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])
