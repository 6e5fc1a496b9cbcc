"""Made runs whose answers are known: curves that are functions of time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd

from dip_book.frame import frame
from dip_lib.training.parts import LowRank
from dip_study.profiles import load_profile
from dip_study.runs import DIP, make_run

POINTS = 11
PROFILE = load_profile("embedded")
Curve = Callable[[float], float]


def made(
    dataset: str = "greek",
    method: str = "coop",
    seed: int = 1,
    new: Curve = lambda t: 60 - 10 * t,
    base: Curve = lambda t: 60 + 10 * t,
    id1: Curve = lambda t: 0.6 - 0.3 * t,
    rank: int = 0,
    dropout: float = 0.0,
    site: str = "update",
    **changes: Any,
) -> dict[str, Any]:
    """A record whose curves are functions of the time t in 0..1.

    Args:
        method: its name; "dip": CoOp with the book's low-rank update.
        rank, dropout, site: of the low-rank update; none without rank and dropout.
        changes: settings of the run, as :func:`dip_study.runs.make_run` takes them.
    """
    times = [i / (POINTS - 1) for i in range(POINTS)]
    checkpoints: list[dict[str, Any]] = [
        {"epoch": i, "base": base(t), "new": new(t), "val": base(t) - 1, "id": [id1(t), id1(t) / 2]}
        | {"joint": base(t) / 2, "ece": 3 + t, "singular": [id1(t), (1 - id1(t)) / 2] * 2}
        for i, t in enumerate(times)
    ]
    low_rank = LowRank(rank=rank or None, dropout=dropout, site=site) if rank or dropout else None
    if method == "dip":
        method, low_rank = "coop", low_rank or DIP
    run = make_run(PROFILE, dataset, method, seed, low_rank, fingerprint="", **changes)
    names = {"key": run.key(), "label": run.label, "run": run.to_dict()}
    machine = {"cpu": "Test CPU, 2 cores", "device": "cpu", "threads": 1}
    return names | {
        "status": "finished",
        "checkpoints": checkpoints,
        "trainable": 2048,
        "seconds": 1.5,
        "machine": machine,
    }


def stop(record: dict[str, Any]) -> dict[str, Any]:
    """The record as it is when the run stopped before its end."""
    record["status"] = "stopped: non-finite loss in epoch 3"
    return record


def records(
    method: str = "coop", shift: float = 0.0, seeds: Sequence[int] = (1, 2), **changes: Any
) -> list[Any]:
    """Two datasets by some seeds, with accuracies that differ between all of them."""

    def one(dataset: str, level: float, seed: int) -> dict[str, Any]:
        height = level + seed
        new, base = (lambda t: 50 + height - 9 * t + shift), (lambda t: height)
        return made(dataset, method, seed, new, base, **changes)

    return [one(d, level, s) for d, level in (("greek", 3.0), ("latin", 8.0)) for s in seeds]


def study(method: str = "coop", shift: float = 0.0, seeds: Sequence[int] = (1, 2)) -> pd.DataFrame:
    """The frame of :func:`records`."""
    return frame(records(method, shift, seeds))
