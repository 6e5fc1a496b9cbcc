"""The runs of the page on class splits: how much hangs on which half of the classes is base."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from dip_lib.data.splits import RANDOM_SPLITS
from dip_lib.training.run import Run
from dip_study.profiles import Profile
from dip_study.runs import coop, dip, zero_shots

SEEDS = 2
"""As few as tell a seed's part of the variance from a split's. Ten splits average a seed's effect
out as ten times as many runs of one split would, so further seeds would add little but time."""


def class_splits(profile: Profile, **changes: Any) -> list[Run]:
    """Zero-shot, CoOp and DIP on the field's halves of the classes and on ten random ones.

    At the profile's learning rate, on every dataset, the first backbone and the first two seeds;
    the field's halves are runs of base-to-new.
    """
    few = replace(profile, towers=profile.towers[:1], seeds=profile.seeds[:SEEDS])
    return [
        run
        for split in range(RANDOM_SPLITS + 1)
        for make in (zero_shots, coop, dip)
        for run in make(few, **{"class_split": split, **changes})
    ]
