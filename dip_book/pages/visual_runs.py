"""The runs of page 14, and what its profile lists: where the page's modules choose from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd

from dip_book.frame import finished, where
from dip_lib.methods import METHODS
from dip_study.profiles import Profile
from dip_study.visual import RELATIVES

ALL = 100
"""Per cent."""


@dataclass(frozen=True)
class Visual:
    """The runs of the page, and what its profile lists.

    Attributes:
        runs: a row a run, its last checkpoint.
        prompts: numbers of prompts in each block, from none to the most.
        compared: those at which SPT, CVPT and VPT-shallow stand beside VPT.
        keep: per cent of the prompts that condensing keeps.
        rates: learning rates among which one was selected.
        lr, depth: of all runs but those that vary them.
        seed: the first, which selected the rate.
    """

    runs: pd.DataFrame
    prompts: Sequence[int]
    compared: Sequence[int]
    keep: Sequence[int]
    rates: Sequence[float]
    lr: float
    depth: int
    seed: int

    @classmethod
    def of(cls, runs: pd.DataFrame, profile: Profile) -> Visual:
        lists = {name: profile.visual[name] for name in ("prompts", "compared", "keep", "rates")}
        own = {name: profile.settings["vpt"][name] for name in ("lr", "depth")}
        return cls(runs[runs["last"]], **lists, **own, seed=profile.seeds[0])

    @cached_property
    def epochs(self) -> int:
        """The length of the training; there is a longer one beside it."""
        return int(self.runs["epochs"].min())

    @property
    def longer(self) -> int:
        return int(where(self.runs, label="VPT")["epochs"].max())

    @property
    def relatives(self) -> list[str]:
        """Labels of the methods that stand beside VPT."""
        there = set(finished(self.runs)["label"])
        kinds = (METHODS[name].label for name in RELATIVES)
        return [label for label in kinds if label in there]

    @property
    def few(self) -> int:
        return self.compared[0]

    @property
    def most(self) -> int:
        return self.compared[-1]

    def ends(self, label: str = "VPT", **changed: Any) -> pd.DataFrame:
        """Runs with all their prompts, by default VPT-deep at every number of prompts."""
        settings = {"lr": self.lr, "depth": self.depth, "epochs": self.epochs, "keep": 0.0}
        return where(self.runs, label=label, **settings | changed)

    def kept(
        self, share: int, ranking: str = "global", tuned: bool = True, label: str = "VPT"
    ) -> pd.DataFrame:
        """Runs of which ``share`` per cent of the prompts stay, with or without more training.

        Of 100 % without more training these are the runs that were condensed.
        """
        if share == ALL and not tuned:
            return self.ends(label, vectors=self.most)
        ranking = ranking if share < ALL else "global"
        runs = where(self.runs, label=label, keep=float(share), ranking=ranking)
        return runs[(runs["tuned"] > 0) == tuned]

    @property
    def share(self) -> int:
        """Per cent of prompts kept in the headline: 30, as the paper has it, where measured."""
        return 30 if 30 in self.keep else self.keep[0]
