"""The runs of the page on visual prompts: VPT, its relatives, and condensed prompts."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain
from typing import Any, cast

from dip_lib.methods import METHODS
from dip_lib.methods.condensation import Condensation
from dip_lib.methods.vpt import RANKINGS, VPT
from dip_lib.training.run import Run, VisualSchedule
from dip_study.profiles import Profile
from dip_study.runs import DIP, costly, once, seeds

RELATIVES = [
    name
    for name, each in METHODS.items()
    if each.side == "visual" and each not in (VPT, Condensation)
]
"""Visual methods that are compared with VPT."""


def visual(profile: Profile, **changes: Any) -> list[Run]:
    """VPT-deep with few to many prompts; VPT-shallow, SPT, CVPT and DIP beside it; condensed runs.

    Of the largest compared number of prompts a part is kept, ranked over all blocks or within each,
    with and without fine-tuning for half the epochs; all of them, trained on as long, are the
    control. Of DIP's prompts as large a part is kept as it is. With the first seed alone: VPT at
    every learning rate of the profile, at the smallest compared number, on which the rate was
    selected; VPT trained ``longer`` times as long, with no prompts and the compared numbers.
    """
    settings = profile.visual
    few = costly(profile, settings["seeds"])
    compared, most = settings["compared"], settings["compared"][-1]
    parts = [seeds(few, "vpt", vectors=n, **changes) for n in settings["prompts"]]
    parts += [seeds(few, m, vectors=n, **changes) for m in RELATIVES for n in compared]
    parts += [seeds(few, "vpt", vectors=n, depth=1, **changes) for n in compared]
    dense = seeds(few, "vpt", DIP, vectors=most, **changes)
    parts += [dense, [_condensed(run, keep) for keep in settings["keep"] for run in dense]]
    for run in seeds(few, "vpt", vectors=most, **changes):
        long = max(1, cast(VisualSchedule, run.schedule).epochs // 2)
        kept = [
            (k, ranking, t) for k in settings["keep"] for ranking in RANKINGS for t in (0, long)
        ]
        parts.append([_condensed(run, *each) for each in [*kept, (100, RANKINGS[0], long)]])
    first = replace(few, seeds=few.seeds[:1])
    parts += [seeds(first, "vpt", vectors=compared[0], lr=r, **changes) for r in settings["rates"]]
    for n in (settings["prompts"][0], *compared):
        runs = seeds(first, "vpt", vectors=n, **changes)
        parts.append([_longer(run, settings["longer"]) for run in runs])
    return once(chain(*parts))


def _condensed(run: Run, keep: float, ranking: str = RANKINGS[0], tuned: int = 0) -> Run:
    method = replace(cast(VPT, run.method), keep=float(keep), ranking=ranking, tuned=tuned)
    return replace(run, method=method)


def _longer(run: Run, times: int) -> Run:
    schedule = cast(VisualSchedule, run.schedule)
    return replace(run, schedule=replace(schedule, epochs=times * schedule.epochs))
