"""Peak memory of one training step through the text encoder, measured in a process of its own.

``python benchmarks/memory.py ours "ImageNet 100"`` prints it as JSON.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from functools import cache
from typing import Any

from bench import in_child, one_thread, step_memory
from steps import PART, our_step, settings, their_step, vit_b_16


@cache
def child_memory(way: str, setting: str, device: str) -> dict[str, float]:
    """Peak memory of a step in a process of its own, MB."""
    megabytes: dict[str, float] = in_child(__file__, way, setting, "--device", device)
    return megabytes


def of_both(setting: str, names: Sequence[str], device: str) -> dict[str, Any]:
    """Peak memory of both ways; the reference's along its slope where it would not fit."""
    ours = child_memory("ours", setting, device)
    extrapolated = len(names) > PART and device == "cpu"
    if extrapolated:
        low, high = (child_memory("reference", f"ImageNet {c}", device) for c in (50, 100))
        slope = (high["step_mb"] - low["step_mb"]) / 50
        theirs = high["step_mb"] + slope * (len(names) - 100)
    else:
        theirs = child_memory("reference", setting, device)["step_mb"]
    return {
        "ours_mb": ours["step_mb"],
        "reference_mb": theirs,
        "reference_extrapolated": extrapolated,
        "ratio": theirs / ours["step_mb"],
        "ours_whole_process_mb": ours["process_mb"],
    }


def main() -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    options.add_argument("way", choices=["ours", "reference"])
    options.add_argument("setting", help='"ImageNet C", "EuroSAT base" or "StanfordCars base"')
    options.add_argument("--device", default="cpu")
    chosen = options.parse_args()
    one_thread(chosen.device)
    count = [int(word) for word in chosen.setting.split() if word.isdigit()]
    names, clip = settings(count)[chosen.setting], vit_b_16(chosen.device)
    make = {"ours": our_step, "reference": their_step}[chosen.way]
    print(json.dumps(step_memory(make(clip, names), chosen.device)))


if __name__ == "__main__":
    main()
