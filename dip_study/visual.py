"""The runs of the page on visual prompts: VPT, its relatives, and condensed prompts."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain
from typing import Any

from dip_lib.spec import RunSpec
from dip_lib.visual.condense import RANKINGS
from dip_study.profiles import Profile
from dip_study.runs import DIP, costly, once, seeds


def visual(profile: Profile, **changes: Any) -> list[RunSpec]:
    """VPT-deep with few to many prompts; VPT-shallow, SPT, CVPT and DIP beside it; condensed runs.

    Of the largest compared number of prompts a part is kept, ranked over all blocks or within each,
    with and without fine-tuning for half the epochs; all of them, trained on as long, are the
    control. Of DIP's prompts as large a part is kept as it is. With the first seed alone: VPT at
    every learning rate of the profile, at the smallest compared number, on which the rate was
    selected; VPT trained ``longer`` times as long, with no prompts and the compared numbers.
    """
    given = profile.visual
    few = costly(profile, given["seeds"])
    compared, most = given["compared"], given["compared"][-1]
    found = [seeds(few, "vpt", vectors=n, **changes) for n in given["prompts"]]
    found += [seeds(few, m, vectors=n, **changes) for m in ("spt", "cvpt") for n in compared]
    found += [seeds(few, "vpt", vectors=n, depth=1, **changes) for n in compared]
    dense = seeds(few, "vpt", vectors=most, **DIP, **changes)
    found += [dense, [replace(run, keep=float(k)) for k in given["keep"] for run in dense]]
    for run in seeds(few, "vpt", vectors=most, **changes):
        long = max(1, run.epochs // 2)
        parts = [(k, ranking, t) for k in given["keep"] for ranking in RANKINGS for t in (0, long)]
        found += [
            [replace(run, keep=float(k), ranking=ranking, tuned=t)]
            for k, ranking, t in [*parts, (100, RANKINGS[0], long)]
        ]
    first = replace(few, seeds=few.seeds[:1])
    found += [seeds(first, "vpt", vectors=compared[0], lr=r, **changes) for r in given["rates"]]
    for n in (given["prompts"][0], *compared):
        runs = seeds(first, "vpt", vectors=n, **changes)
        found += [[replace(run, epochs=given["longer"] * run.epochs) for run in runs]]
    return once(chain(*found))
