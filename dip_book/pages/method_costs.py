"""Page 10, its last part: what each method costs, from the benchmark ``methods``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch

from dip_book.interval import Interval
from dip_book.statistics import exactly, median_interval
from dip_lib import LowRankPrompt
from dip_lib.methods import METHODS

Result = Mapping[str, Any]


def title(name: str) -> str:
    """The benchmark's name of a method as the field writes it: "kgcoop+dip" is "KgCoOp + DIP"."""
    if name == "dip":
        return METHODS["coop"].low_rank_label
    method, _, update = name.partition("+")
    return METHODS[method].label + (" + DIP" if update else "")


def _median(result: Result, what: str) -> dict[str, float]:
    """Method -> median seconds of a step, or of an evaluation."""
    return {name: float(np.median(row[what])) for name, row in result["methods"].items()}


def step_ratios(result: Result) -> dict[str, float]:
    """Title of a method -> time of a training step as a multiple of CoOp's."""
    steps = _median(result, "seconds_of_a_step")
    return {title(name): seconds / steps["coop"] for name, seconds in steps.items()}


def cost_table(result: Result) -> pd.DataFrame:
    """A row a method: parameters, bytes, and costs of a step and an evaluation."""
    steps, evaluation = (_median(result, f"seconds_of_{what}") for what in ("a_step", "judging"))
    rows = {
        title(name): {
            "numbers": row["trainable"],
            "bytes": row["stored_bytes"],
            "ms a step": round(1000 * steps[name], 2),
            "MB a step": round(row["step_mb"], 1),
            "ms to evaluate": round(1000 * evaluation[name], 2),
        }
        for name, row in result["methods"].items()
    }
    return pd.DataFrame.from_dict(rows, orient="index")


def _step_ratios_by_round(result: Result) -> np.ndarray:
    dip, coop = (np.array(result["methods"][m]["seconds_of_a_step"]) for m in ("dip", "coop"))
    return dip / coop


def numbers(result: Result) -> dict[str, Interval | float]:
    """The page's numbers about cost, at CLIP's size (n = 4, d = 512) where they are counted."""
    prompt, full = LowRankPrompt(torch.randn(4, 512), rank=1), 4 * 512
    return {
        "stored_share_4_512": exactly(sum(p.numel() for p in prompt.parameters()) / full),
        "merged_extra_numbers": prompt.merge().numel() - full,
        "step_seconds_dip_over_coop": median_interval(_step_ratios_by_round(result)),
    }


def units(result: Result) -> dict[str, int]:
    """How many measurements the intervals among :func:`numbers` rest on."""
    rounds = len(_step_ratios_by_round(result))
    return {"stored_share_4_512": 1, "step_seconds_dip_over_coop": rounds}
