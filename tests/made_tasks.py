"""Made runs of a grid of tasks for visual prompts, whose answers are known."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

from made_records import made

from dip_book.frame import frame
from dip_book.pages.visual_tasks import TaskRuns
from dip_lib.methods.condensation import CHOICES
from dip_study.profiles import Profile, load_profile

SEEDS, EPOCHS, TUNED = (1, 2), 4, 2
LOSES = {"sum": 1.0, "each": 1.5, "norm": 2.0, "attention": 2.5, "mean": 3.0, "random": 4.0}
LOSES |= {"least": 6.0}
"""Points that a choice of 30 % loses against all prompts, trained on."""


def one(task: str, seed: int, base: float, method: str = "vpt", **settings: Any) -> dict[str, Any]:
    values = {"depth": 4, "epochs": EPOCHS, "vectors": 10, "protocol": "all-classes"} | settings
    record = made(task, method, seed, **values)
    n = record["run"]["method"]["vectors"]
    seen = {"mass": [n / 100, n / 50], "map_rank": [4 + n / 2 if n < 5 else 7.0] * 2}
    kept = {"counts": [n, n // 2], "flops": 1e6 * (20 + record["run"]["method"]["keep"] / 5)}
    end = {"base": base + seed, "new": None, "id": [0.5, 0.6]}
    record["checkpoints"] = [end | seen | kept]
    return record


@cache
def records() -> list[dict[str, Any]]:
    """Ten prompts gain 10 points on how-many and 1 on natural-greek; training on adds 2 more."""
    found = []
    for task, gain in (("how-many", 10.0), ("natural-greek", 1.0)):
        for seed in SEEDS:
            found += [
                one(task, seed, 40, vectors=0),
                one(task, seed, 40 + gain / 2, vectors=4),
                one(task, seed, 40 + gain),
                one(task, seed, 40 + gain / 4, depth=1, vectors=4),
                one(task, seed, 40 + gain - 5, vectors=3, epochs=EPOCHS + TUNED),
                one(task, seed, 90, vectors=0, epochs=2 * EPOCHS),  # twice as long: shown apart
                one(f"{task}-800", seed, 95),  # tunes
                one(task, seed, 40 + gain + 2, "condensation", keep=100.0, tuned=TUNED),
                one(task, seed, 41 + gain, "condensation", keep=30.0, ranking="layer", tuned=TUNED),
            ]
            for choice in CHOICES:
                for tuned in (0, TUNED):
                    for draw in (1, 2) if choice == "random" else (0,):
                        base = 40 + gain + tuned - LOSES[choice] + (draw == 1) - (draw == 2)
                        kept = {"keep": 30.0, "choice": choice, "tuned": tuned, "draw": draw}
                        found.append(one(task, seed, base, "condensation", **kept))
    return found


@cache
def profile() -> Profile:
    """Visual-tasks' with few numbers."""
    own = load_profile("visual-tasks")
    table = own.visual["tasks"]
    condense = {"of": 10, "keep": [30], "headline": 30, "tuned": TUNED, "draws": 2}
    small = {"deep": [0, 4, 10], "shallow": [4], "epochs": EPOCHS, "condense": condense}
    small |= {"chosen_at": ["deep 0"]}
    return replace(own, visual={**own.visual, "tasks": {**table, **small}})


@cache
def grid(*datasets: str, condensed: bool = True) -> TaskRuns:
    """The grid of which these tasks are measured, by default all; with condensed runs or not."""
    some = [
        each
        for each in records()
        if (not datasets or each["run"]["data"]["dataset"] in datasets)
        and (condensed or each["label"] != "VPT condensed")
    ]
    return TaskRuns.of(frame(some), profile())
