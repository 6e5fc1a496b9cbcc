"""The table ``[visual.tasks]`` of a profile: on which tasks and encoders, with how many prompts.

Learning rates, and weight decays where these are tried, too, stand in the profile once they are
chosen; ``dip_study/visual_rates.py`` chooses them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, replace
from itertools import product
from typing import Any, NamedTuple

from dip_lib.clip.loading import check_backbone
from dip_lib.clip.timm_tower import check_timm, is_timm
from dip_lib.errors import BadValueError
from dip_lib.methods.vpt import VPT
from dip_lib.training.parts import LowRank
from dip_study.profiles import Profile

EVERY = "every number"
"""In ``chosen_at``: each number of prompts has a learning rate of its own."""
USUAL = 16
"""Prompts of a block in VPT-deep whose rate those without one of their own have."""


class Rate(NamedTuple):
    """A learning rate, and a weight decay where the profile tries several."""

    lr: float
    decay: float | None = None

    @classmethod
    def of(cls, given: float | Sequence[float]) -> Rate:
        """As a profile has it: 0.01, or [0.01, 0.0001]."""
        return cls(*given) if isinstance(given, Sequence) else cls(given)

    @property
    def settings(self) -> dict[str, float]:
        return {"lr": self.lr} | ({} if self.decay is None else {"weight_decay": self.decay})

    def __str__(self) -> str:
        return f"{self.lr:g}" if self.decay is None else f"[{self.lr:g}, {self.decay:g}]"


@dataclass(frozen=True)
class Prompts:
    """How many prompts, and where: "deep 16", or "shallow 16" in the first block alone."""

    kind: str
    count: int

    def __str__(self) -> str:
        return f"{self.kind} {self.count}"


@dataclass(frozen=True)
class Condense:
    """The table ``[visual.tasks.condense]`` of a profile.

    Attributes:
        of: how many deep prompts are condensed.
        keep: percentages that stay.
        headline: the one at which every control is trained on, too.
        tuned: epochs of training on.
        draws: random subsets.
    """

    of: int
    keep: Sequence[float]
    headline: float
    tuned: int
    draws: int

    @property
    def few(self) -> Prompts:
        """As many prompts as stay at the headline's share, to be trained from the start."""
        return Prompts("deep", round(self.of * self.headline / 100))


@dataclass(frozen=True)
class LowRankPrompts:
    """The table ``[visual.tasks.low_rank]`` of a profile: DIP on visual prompts.

    Attributes:
        datasets: the tasks.
        of: deep prompts of a block.
        ranks, dropout: each rank with each dropout, with P0 and without, is a variant.
        lr: task -> variant -> the learning rate that was chosen, or [rate, weight decay].
    """

    datasets: Sequence[str]
    of: int
    ranks: Sequence[int]
    dropout: Sequence[float]
    lr: Mapping[str, Mapping[str, Any]]

    def variants(self) -> dict[str, LowRank]:
        """By name, "rank 1, dropout 0.5" or "rank 1, dropout 0.5, no P0"."""
        return {
            f"rank {r}, dropout {p:g}{'' if p0 else ', no P0'}": LowRank(rank=r, dropout=p, p0=p0)
            for r, p, p0 in product(self.ranks, self.dropout, (True, False))
        }


FEW = "few"
"""In the table of rates: few prompts trained from the start, as long as the others in all."""


@dataclass(frozen=True)
class Grid:
    """The table ``[visual.tasks]`` of a profile, for one encoder.

    Attributes:
        datasets: the tasks.
        deep, shallow: numbers of prompts.
        epochs, batch: of all runs.
        twice: tasks that are trained for twice as many epochs, too, with the first seed.
        rates: learning rates that are tried; none: nothing is tuned, ``lr`` is given.
        chosen_at: numbers of prompts ("deep 16") with a rate of their own, or "every number".
        lr: task -> number of prompts -> the rate that was chosen, or [rate, weight decay].
        condensing: what is condensed, and how.
        low_rank: where prompts get a low rank; None: nowhere.
        seeds: of the runs that are shown; the first tunes.
        tower: the encoder: a backbone, or timm's, "timm:vit_base_patch16_224.mae".
        screened: those of the tasks that are there because prompts gain on the images that choose:
            they judge condensing, and say nothing of how often prompts gain.
        alike: tasks of one drawing, which a page also counts as one.
        decays: weight decays that are tried with each rate; none: the profile's is taken.
        optimiser: of all runs (:class:`dip_lib.training.parts.VisualSchedule`).
    """

    datasets: Sequence[str]
    deep: Sequence[int]
    shallow: Sequence[int]
    epochs: int
    batch: int
    twice: Sequence[str]
    rates: Sequence[float]
    chosen_at: Sequence[str]
    lr: Mapping[str, Mapping[str, Any]]
    condensing: Condense
    seeds: Sequence[int]
    tower: str
    screened: Sequence[str] = ()
    alike: Sequence[str] = ()
    decays: Sequence[float] = ()
    optimiser: str = ""
    low_rank: LowRankPrompts | None = None

    @classmethod
    def each(cls, profile: Profile, full: bool = False, planned: bool = False) -> list[Grid]:
        """Those of a profile, one for each encoder; none if it has no tasks.

        The encoder is the backbone that the profile gives VPT, or ``towers`` names others, and
        ``lr`` is then encoder -> what it is for this one.

        Args:
            full: with what the table ``full`` says.
            planned: with a rate for what has none yet: costs do not depend on it.

        Raises:
            ValueError: a table with other fields, an unknown encoder.
        """
        table = dict(profile.visual.get("tasks", {}))
        if not table:
            return []
        differs, towers = (table.pop(name, ()) for name in ("full", "towers"))
        table |= differs if full else {}
        rates = table.get("lr", {})
        own = {tower: table | {"lr": rates.get(tower, {})} for tower in towers}
        own = own or {profile.values(VPT, "")["backbone"]: table}
        grids = [cls._of(profile, tower, each) for tower, each in own.items()]
        return [grid._with_rates() for grid in grids] if planned else grids

    @classmethod
    def _of(cls, profile: Profile, tower: str, given: Mapping[str, Any]) -> Grid:
        table = dict(given)
        condense, low_rank = table.pop("condense", {}), table.pop("low_rank", None)
        parts: list[tuple[Mapping[str, Any], type]] = [(table, cls), (condense, Condense)]
        parts += [] if low_rank is None else [(low_rank, LowRankPrompts)]
        for part, of in parts:
            known = {f.name: f for f in fields(of) if f.name not in OTHERWISE}
            needed = {name for name, f in known.items() if f.default is MISSING}
            if wrong := (part.keys() - known.keys()) | (needed - part.keys()):
                raise ValueError(f"{profile.name}: [visual.tasks] needs {sorted(needed)}: {wrong}")
        (check_timm if is_timm(tower) else check_backbone)(tower)
        return cls(
            **table,
            condensing=Condense(**condense),
            low_rank=None if low_rank is None else LowRankPrompts(**low_rank),
            seeds=profile.seeds,
            tower=tower,
        )

    @classmethod
    def of(cls, profile: Profile, full: bool = False) -> Grid | None:
        """That of a profile's first encoder; None if it has no tasks (:meth:`each`)."""
        return next(iter(cls.each(profile, full)), None)

    def _with_rates(self) -> Grid:
        names = [*map(str, self.tuned()), f"deep {USUAL}", FEW]
        any_rate = next(iter(self.tried()), Rate(PLANNED))
        some = dict.fromkeys(names, any_rate)
        lr = {task: some | dict(self.lr.get(task, {})) for task in self.datasets}
        if (low := self.low_rank) is None:
            return replace(self, lr=lr)
        own = dict.fromkeys(low.variants(), any_rate)
        rates = {task: own | dict(low.lr.get(task, {})) for task in low.datasets}
        return replace(self, lr=lr, low_rank=replace(low, lr=rates))

    def prompts(self) -> list[Prompts]:
        """All numbers of prompts: the head alone, deep, shallow."""
        deep = [Prompts("deep", count) for count in self.deep]
        return [*deep, *(Prompts("shallow", count) for count in self.shallow)]

    def tuned(self) -> list[Prompts]:
        """Numbers of prompts that have a learning rate of their own."""
        every = self.prompts()
        if EVERY in self.chosen_at:
            return every
        if unknown := set(self.chosen_at) - set(map(str, every)):
            raise BadValueError("chosen_at", str(sorted(unknown)), f"some of {[*map(str, every)]}")
        return [each for each in every if str(each) in self.chosen_at]

    def tried(self) -> list[Rate]:
        """Every learning rate, with every weight decay where these are tried, in rising order."""
        return sorted(Rate(lr, decay) for lr in self.rates for decay in self.decays or (None,))

    def rate(self, task: str, prompts: Prompts) -> Rate | None:
        """The chosen rate; None: it is not chosen yet."""
        own = prompts in self.tuned()
        return self.chosen(task, str(prompts) if own else f"deep {USUAL}")

    def chosen(self, task: str, name: str) -> Rate | None:
        """What the profile has chosen for a number of prompts, or for :data:`FEW`."""
        given = self.lr.get(task, {}).get(name)
        return None if given is None else Rate.of(given)


PLANNED = 0.001
"""The rate of runs that are only counted, where none is tried."""
OTHERWISE = ("condensing", "low_rank", "seeds", "tower")
"""Fields of a grid that its table does not give."""
