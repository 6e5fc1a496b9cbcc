"""What training visual prompts costs, by the rates of ``benchmarks/visual_training.py``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import numpy as np

from dip_lib.methods.vpt import VPT
from dip_lib.training.run import Run

FORWARD = 1 / 3
"""Share of a step that is its forward pass."""


def visual_minutes(run: Run, images: int, benchmark: Mapping[str, Any]) -> float | None:
    """Minutes of a run whose steps read so many images, counted each time.

    Between the measured numbers of prompts, and beyond the ends as at them; a run without prompts
    encodes each image of its training set once. Condensed runs count as if they kept all prompts.

    Args:
        benchmark: its result on the device; empty: there is none.

    Returns:
        None if the run's encoder was not measured.
    """
    towers = benchmark.get("towers", {})
    if (rows := towers.get(run.tower.backbone, {}).get("prompts")) is None:
        return None
    way = "bf16" if run.tower.precision == "bf16" else "ours"
    seconds = {int(n): 1 / row["images_per_second"][way] for n, row in rows.items()}
    counts = sorted(seconds)
    method = cast(VPT, run.method)
    each = float(np.interp(method.vectors, counts, [seconds[n] for n in counts]))
    if method.vectors == 0:
        assert run.schedule is not None
        return FORWARD * each * images / max(1, run.schedule.epochs) / 60
    return each * images / 60
