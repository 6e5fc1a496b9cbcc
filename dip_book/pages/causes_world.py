"""What one world has measured for page 20, ready to compare."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import pandas as pd

from dip_book.pages import causes
from dip_book.pages.hosts import labelled
from dip_study import causes as study
from dip_study.profiles import Profile


@dataclass(frozen=True, eq=False)
class World:
    """What one world has measured for the page.

    Attributes:
        shown: last checkpoints by row (:func:`dip_book.pages.causes.rows`).
        operated: last checkpoints of surgery, by the design that was operated on.
        trajectories: all checkpoints of every method that trains on stored features, of the seeds
            at which they hold the density as read.
        ends: last checkpoints of all designs that train a prompt.
        groups: last checkpoints by design, with every setting of which ``shown`` has one.
        wordless: last checkpoints of few-shot learning from random vectors, by label.
    """

    shown: Mapping[str, pd.DataFrame]
    operated: Mapping[str, pd.DataFrame]
    trajectories: pd.DataFrame
    ends: pd.DataFrame
    groups: Mapping[str, pd.DataFrame]
    wordless: Mapping[str, pd.DataFrame]

    @classmethod
    def of(cls, runs: pd.DataFrame, hosts: pd.DataFrame, profile: Profile) -> Self:
        """Of the runs of the two studies, causes and hosts.

        Raises:
            NotMeasuredError: at no seed do the runs hold the density as read.
        """
        groups = causes.by_design(runs, study.designs(profile))
        prompts = {name: each for name, each in groups.items() if not name.startswith("text-tower")}
        at_length = hosts[hosts["epochs"] == profile.epochs]  # zero-shot runs have none
        ends = pd.concat([*prompts.values()]).drop_duplicates("key")
        return cls(
            causes.rows(groups),
            causes.by_design(runs, study.surgery(profile)),
            labelled(causes.with_density(at_length), profile),
            causes.with_density(ends),
            groups,
            causes.by_design(runs, study.few_shot(profile)),
        )
