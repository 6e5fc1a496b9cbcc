"""Everything that a first hour on a GPU should answer, in eight minutes and one JSON.

``python benchmarks/first_gpu.py --device cuda``. Each part is a process of its own with a limit of
time: one that fails or takes too long is recorded so, and the others go on. The JSON is written
after every part, so that a killed program leaves what it has. The limits add up to eight minutes.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import parser, start, write

HERE = Path(__file__).resolve().parent
ALL = 480
"""Seconds that all parts together may take."""


@dataclass(frozen=True)
class Part:
    """A program that answers one question.

    Attributes:
        program: a file of this folder.
        limit: seconds after which it is ended.
        options: on a GPU; ``--smoke`` takes their place on request.
        check: of :mod:`gpu_checks`, which prints its JSON; other programs write it to ``--out``.
    """

    program: str
    limit: int
    options: tuple[str, ...] = ()
    check: str = ""


PARTS = {
    "waits": Part("gpu_checks.py", 40, check="waits"),
    "graphs": Part("gpu_checks.py", 40, check="graphs"),
    "accuracy": Part("gpu_checks.py", 80, check="accuracy"),
    "bf16": Part("gpu_checks.py", 30, check="bf16"),
    "text_step": Part("text_step.py", 60, ("--quick",)),
    "sweep": Part("sweep.py", 70, ("--quick",)),
    "encode": Part("encode.py", 50, ("--images", "1024", "--repeats", "1")),
    "complete_set": Part("complete_set.py", 110),
}
"""In the order in which they run: what must hold before what is fast."""


def command(part: Part, device: str, smoke: bool, out: Path) -> list[str]:
    """The process of a part."""
    line = [sys.executable, str(HERE / part.program), *([part.check] if part.check else [])]
    line += ["--device", device, *(["--smoke"] if smoke else part.options)]
    return line if part.check else [*line, "--out", str(out)]


def ran(line: Sequence[str], limit: float, home: Path) -> tuple[str, str, str]:
    """How a process ended ("done", "failed", "out of time"), and its two outputs."""
    with subprocess.Popen(
        line,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"DIP_HOME": str(home), "TQDM_DISABLE": "1"},
        start_new_session=True,  # so that its loader processes end with it
    ) as process:
        try:
            out, err = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            _end(process)
            return "out of time", *process.communicate()
        except BaseException:  # Ctrl-C: the process would go on alone
            _end(process)
            raise
    return ("failed" if process.returncode else "done"), out, err


def _end(process: subprocess.Popen[str]) -> None:
    os.killpg(process.pid, signal.SIGKILL)


def measure(part: Part, device: str, smoke: bool, folder: Path, limit: float) -> dict[str, Any]:
    """What a part has found: its result, or what its process said before it ended."""
    file, began = folder / "part.json", time.monotonic()
    file.unlink(missing_ok=True)
    status, out, err = ran(command(part, device, smoke, file), limit, folder / "home")
    row: dict[str, Any] = {"status": status, "seconds": round(time.monotonic() - began, 1)}
    if status != "done":
        row["error"] = err[-2000:]
    if file.exists():  # some write what they have after every case
        row["result"] = json.loads(file.read_text())
    elif status == "done" and part.check:
        row["result"] = json.loads(out.splitlines()[-1])
    return row


def main() -> None:
    options = parser(__doc__, "first_gpu")
    options.add_argument("--only", help="names of parts, such as waits,graphs")
    chosen = start(options)
    wanted = chosen.only.split(",") if chosen.only else list(PARTS)
    if unknown := set(wanted) - PARTS.keys():
        options.error(f"no part {', '.join(sorted(unknown))}: there are {', '.join(PARTS)}")
    parts: dict[str, Any] = {name: {"status": "not run"} for name in wanted}
    write("first_gpu", {"parts": parts}, chosen)
    with tempfile.TemporaryDirectory() as scratch:
        for name in wanted:
            part = PARTS[name]
            limit = ALL if chosen.smoke else part.limit  # which a busy machine may need to start
            parts[name] = measure(part, chosen.device, chosen.smoke, Path(scratch), limit)
            write("first_gpu", {"parts": parts}, chosen)
            row = parts[name]
            print(f"{name:14}{row['seconds']:8.1f} s  {row['status']}", flush=True)


if __name__ == "__main__":
    main()
