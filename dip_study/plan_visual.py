"""What training visual prompts costs, by the rates of ``benchmarks/visual_training.py``, or by one
that is given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from dip_lib.methods.vpt import VPT
from dip_lib.training.run import Run

FORWARD = 1 / 3
"""Share of a step that is its forward pass."""


def visual_minutes(
    run: Run,
    images: int,
    tested: int,
    benchmark: Mapping[str, Any],
    encoded: float | None = None,
) -> float | None:
    """Minutes of a run of visual prompts: training, and the evaluation of test images.

    Between the measured numbers of prompts, and beyond the ends as at them; a run without prompts
    encodes each image of its training set once. Condensed runs count as if they kept all prompts.

    Args:
        images: that its steps read, counted each time.
        tested: test images.
        benchmark: its result on the device; empty: there is none.
        encoded: images a second that the encoder encodes, in place of a benchmark; without what
            prompts add.

    Returns:
        None for another method, or if the run's encoder was not measured.
    """
    method, towers = run.method, benchmark.get("towers", {})
    rows = towers.get(run.tower.backbone, {}).get("prompts")
    if not isinstance(method, VPT) or (rows is None and not encoded):
        return None
    if rows is not None:
        way = "bf16" if run.tower.precision == "bf16" else "ours"
        seconds = {int(n): 1 / row["images_per_second"][way] for n, row in rows.items()}
        counts = sorted(seconds)
        each = float(np.interp(method.vectors, counts, [seconds[n] for n in counts]))
    else:
        assert encoded is not None
        each = 1 / (FORWARD * encoded)
    if method.vectors == 0 and run.schedule:
        images = round(FORWARD * images / max(1, run.schedule.epochs))
    return each * (images + FORWARD * tested) / 60
