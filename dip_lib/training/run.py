"""What one run is, in parts that validate themselves, and the key that names it.

A run is data x backbone x method x low-rank update x schedule, and a seed. Its key covers every
setting and the code that makes its result.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, replace
from functools import cached_property
from typing import Any

from dip_lib.fields import fields_of
from dip_lib.methods import METHODS, Method, method_of
from dip_lib.methods.prompt_method import PromptMethod
from dip_lib.methods.vpt import VPT
from dip_lib.training.parts import Data, LowRank, Schedule, Tower, VisualSchedule

RECIPE = 1
"""Version of what all methods share: trainer, encoders, data. Golden runs (``tests/golden``) guard
it: it rises when their results change beyond tolerance, and only then."""


SCHEDULES: dict[type[Method], type[Schedule] | type[VisualSchedule]] = {
    PromptMethod: Schedule,
    VPT: VisualSchedule,
}
"""Kind of method -> its schedule; methods of another kind are not trained by steps."""


def schedule_type(method: type[Method]) -> type[Schedule] | type[VisualSchedule] | None:
    """The schedule of a method's runs; None where nothing is trained by steps."""
    return next((SCHEDULES[base] for base in method.__mro__ if base in SCHEDULES), None)


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run, completely described.

    Args:
        data, tower, method: its parts.
        low_rank: None: the method's prompts are trained as full matrices.
        schedule: None for methods that are not trained by steps.
        seed: of the few-shot draw, the order of samples, the factors and the dropout; 0 where
            nothing is drawn.

    Raises:
        ValueError: another schedule than the method's kind has; a low-rank update, target, seed or
            draw on a method that has no use for it; classes left out for one that does not learn
            from stored features; other classes than the trained ones for prompts that belong to
            these.
    """

    data: Data
    tower: Tower
    method: Method
    low_rank: LowRank | None = None
    schedule: Schedule | VisualSchedule | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        wanted = schedule_type(type(self.method))
        if type(self.schedule) is not (wanted or type(None)):
            raise ValueError(
                f"{self.method.label} needs {wanted.__name__ if wanted else 'no schedule'}, got "
                f"{self.schedule}"
            )
        if self.low_rank and self.site not in self.method.sites:
            where = ", ".join(map(repr, self.method.sites)) or "none: leave the update out"
            raise ValueError(
                f"{self.method.label} takes no low-rank update with dropout of {self.site!r}; it "
                f"takes {where}"
            )
        if self.data.target and not self.method.transfers:
            raise ValueError(f"{self.method.label} cannot be evaluated on a target: leave it out")
        if self.method.own_classes_only and (
            self.data.target or self.data.protocol != "all-classes"
        ):
            raise ValueError(
                f"class_specific prompts of {self.method.label} know no classes but the trained "
                "ones: give protocol='all-classes' and no target"
            )
        if self.data.held_out and self.method.side != "text":
            raise ValueError(
                f"{self.method.label} is not evaluated on validation images of classes that are "
                f"left out: leave held_out = {self.data.held_out} out"
            )
        drawn = self.seed, self.data.shots, self.data.views
        if not self.method.has_seed and any(drawn):
            raise ValueError(
                f"{self.method.label} draws nothing: seed, shots and views must be 0, got {drawn}"
            )

    def __str__(self) -> str:
        return f"{self.label} on {self.data.dataset} ({self.tower.backbone}), seed {self.seed}"

    @property
    def rank(self) -> int:
        """r of the low-rank update; 0 where full matrices are trained."""
        return (self.low_rank.rank or 0) if self.low_rank else 0

    @property
    def label(self) -> str:
        """As the field writes it: "CoOp", "DIP" (CoOp with a low-rank update), "KgCoOp + DIP"."""
        if not self.rank:
            return self.method.label
        return self.method.low_rank_label or f"{self.method.label} + DIP"

    @property
    def site(self) -> str:
        """The site of dropout."""
        return self.low_rank.site if self.low_rank else "update"

    def key(self) -> str:
        """16 hex digits that name the run: sha256 of settings, method's code and recipe version.

        Settings that have their default are left out, so that one added later, whose default is
        what was done before, renames no run.
        """
        return self._key

    @cached_property
    def _key(self) -> str:
        parts = {
            "data": _changed(self.data),
            "tower": _changed(self.tower),
            "method": {"name": self.method.name, **_changed(self.method)},
            "low_rank": _changed(self.low_rank) if self.low_rank else None,
            "schedule": _changed(self.schedule) if self.schedule else None,
            "seed": self.seed,
            "code": type(self.method).identity(),
            "recipe": RECIPE,
        }
        text = json.dumps(parts, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def to_dict(self) -> dict[str, Any]:
        """As records hold it: plain values, defaults included."""
        return {
            "data": asdict(self.data),
            "tower": asdict(self.tower),
            "method": {"name": self.method.name, **asdict(self.method)},
            "low_rank": asdict(self.low_rank) if self.low_rank else None,
            "schedule": asdict(self.schedule) if self.schedule else None,
            "seed": self.seed,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Run:
        """The run stored in a record.

        Raises:
            ValueError: an unknown method, values that a part does not have, or ones missing.
        """
        known = {field.name for field in fields_of(cls)}
        if not known == values.keys():
            raise ValueError(f"not a run: it needs {sorted(known)}, got {sorted(values)}")
        settings = dict(values["method"])
        name = settings.pop("name")
        earlier = METHODS[name].earlier if name in METHODS else {}
        method = method_of(METHODS, name, **{**earlier, **settings})
        schedule = schedule_type(type(method))
        return cls(
            data=Data.of(values["data"]),
            tower=Tower.of(values["tower"]),
            method=method,
            low_rank=LowRank.of(values["low_rank"]) if values["low_rank"] else None,
            schedule=schedule.of(values["schedule"]) if schedule else None,
            seed=values["seed"],
        )

    def shared(self) -> Run:
        """What runs of one batch have in common.

        All but seed, learning rate, rank, dropout, and what their method lists in ``per_run``.
        """
        default = {field.name: field.default for field in fields_of(type(self.method))}
        low_rank = None if self.site == "update" else LowRank(dropout=0.0, site=self.site)
        schedule = replace(self.schedule, lr=0.0) if self.schedule else None
        method = replace(self.method, **{name: default[name] for name in self.method.per_run})
        return replace(self, method=method, low_rank=low_rank, schedule=schedule, seed=0)

    def source(self) -> Run:
        """The run that trains what this one evaluates on its target, or condenses; else itself."""
        data = replace(self.data, target="", target_fingerprint="")
        return replace(self, data=data, method=self.method.source())


def _changed(part: Any) -> dict[str, Any]:
    """The settings of a part that differ from their defaults, or have none."""
    return {
        field.name: getattr(part, field.name)
        for field in fields_of(type(part))
        if field.default is MISSING or getattr(part, field.name) != field.default
    }
