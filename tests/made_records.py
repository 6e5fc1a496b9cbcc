"""Made runs whose answers are known: curves that are functions of time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd

from dip_book.frame import frame

POINTS = 11
Curve = Callable[[float], float]


def made(
    dataset: str = "greek",
    method: str = "coop",
    seed: int = 1,
    new: Curve = lambda t: 60 - 10 * t,
    base: Curve = lambda t: 60 + 10 * t,
    id1: Curve = lambda t: 0.6 - 0.3 * t,
    **spec: Any,
) -> dict[str, Any]:
    """A record whose curves are functions of the time t in 0..1."""
    times = [i / (POINTS - 1) for i in range(POINTS)]
    checkpoints: list[dict[str, Any]] = [
        {"epoch": i, "base": base(t), "new": new(t), "val": base(t) - 1, "id": [id1(t), id1(t) / 2]}
        | {"joint": base(t) / 2, "ece": 3 + t, "singular": [id1(t), (1 - id1(t)) / 2] * 2}
        for i, t in enumerate(times)
    ]
    spec = {"dataset": dataset, "method": method, "seed": seed, "lr": 0.03, "rank": 0} | spec
    run = {"key": str(sorted(spec.items())), "status": "finished", "trainable": 2048}
    machine = {"cpu": "Test CPU, 2 cores", "device": "cpu", "threads": 1}
    return run | {"spec": spec, "checkpoints": checkpoints, "seconds": 1.5, "machine": machine}


def stop(record: dict[str, Any]) -> dict[str, Any]:
    """The record as it is when the run stopped before its end."""
    record["status"] = "stopped: non-finite loss in epoch 3"
    return record


def records(method: str = "coop", shift: float = 0.0, seeds: Sequence[int] = (1, 2)) -> list[Any]:
    """Two datasets by some seeds, with accuracies that differ between all of them."""

    def one(dataset: str, level: float, seed: int) -> dict[str, Any]:
        height = level + seed
        return made(dataset, method, seed, lambda t: 50 + height - 9 * t + shift, lambda t: height)

    return [one(d, level, s) for d, level in (("greek", 3.0), ("latin", 8.0)) for s in seeds]


def study(method: str = "coop", shift: float = 0.0, seeds: Sequence[int] = (1, 2)) -> pd.DataFrame:
    """The frame of :func:`records`."""
    return frame(records(method, shift, seeds))
