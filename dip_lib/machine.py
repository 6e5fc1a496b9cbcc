"""The machine that a process runs on."""

from __future__ import annotations

import os
import platform
from functools import cache
from pathlib import Path


@cache
def cpu_name(listed: Path = Path("/proc/cpuinfo")) -> str:
    """The processor's name, with the number of cores: as Linux lists it, else as Python has it."""
    lines = listed.read_text().splitlines() if listed.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.processor() or 'CPU'}, {os.cpu_count()} cores"
