"""The parts of a run: small frozen settings that validate themselves."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from dataclasses import MISSING, dataclass
from functools import cache, lru_cache
from typing import Any, Self, cast

from dip_lib.checks import shown, whole
from dip_lib.data.protocols import Classes
from dip_lib.errors import BadValueError, one_of
from dip_lib.fields import fields_of, make_floats
from dip_lib.prompt.low_rank import SITES


@dataclass(frozen=True, kw_only=True)
class Part:
    """A part of a run: settings with defaults, in plain values."""

    def __post_init__(self) -> None:
        make_floats(self)
        self.check()

    def check(self) -> None:
        """Raise ValueError for settings that do not go together."""

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """The part with these values.

        Raises:
            ValueError: values that it does not have, or ones missing that have no default.
        """
        known, needed = _names(cast(Hashable, cls))  # which every class is
        if values.keys() - known or needed - values.keys():
            raise ValueError(
                f"not the {cls.__name__} of a run: missing {sorted(needed - values.keys())}, "
                f"unknown {sorted(values.keys() - known)}"
            )
        try:
            return cast(Self, _made(cast(Hashable, cls), **values))
        except TypeError:  # of a value that has no hash: the part itself says what is wrong with it
            return cls(**values)


@lru_cache(4096, typed=True)
def _made(part: type[Part], **values: Any) -> Part:
    """A part; many runs have the same, and none can be changed."""
    return part(**values)


@cache
def _names(part: type[Part]) -> tuple[frozenset[str], frozenset[str]]:
    """The settings of a part, and those without a default."""
    every = fields_of(part)
    needed = (field.name for field in every if field.default is MISSING)
    return frozenset(field.name for field in every), frozenset(needed)


@dataclass(frozen=True, kw_only=True)
class Data(Part):
    """The images and class names of a run.

    Args:
        dataset: its name ("greek", "eurosat", ...).
        style: the style it is drawn in, where datasets have styles; "default" is its own.
        protocol: "base-to-new" (train on one half of the classes, evaluate both halves) or
            "all-classes" (few-shot, and the source of transfer).
        class_split: which half that is: 0, the field's first, or 1 to 10, a random one
            (:func:`dip_lib.base_new`).
        held_out: 0, or which third of the base classes, 1 to 3, is left out of training; such a run
            is evaluated on validation images alone: ``base`` is its accuracy on the trained
            classes, ``new`` that on the left-out ones, each among their own names.
        shots: training images a class; 0: none are read.
        views: augmented views of each training image, cycled over the epochs; 0: visual prompts
            train on the images themselves.
        fingerprint: of the dataset.
        target: another dataset, on all of whose classes the trained prompts are evaluated; such a
            run re-uses what the run without a target (:meth:`Run.source`) has learned.
        target_fingerprint: of the target.
    """

    dataset: str
    style: str = "default"
    protocol: str = "base-to-new"
    shots: int = 16
    views: int = 4
    fingerprint: str = ""
    target: str = ""
    target_fingerprint: str = ""
    class_split: int = 0
    held_out: int = 0

    def check(self) -> None:
        Classes(self.protocol, self.class_split, self.held_out)
        whole("shots", self.shots, 0)
        whole("views", self.views, 0)
        if self.held_out and self.target:
            raise ValueError(
                f"held_out = {self.held_out} is evaluated on validation images alone: leave the "
                f"target {self.target!r} out"
            )

    @property
    def classes(self) -> Classes:
        """Which classes are trained, and which others are evaluated."""
        return Classes(self.protocol, self.class_split, self.held_out)


@dataclass(frozen=True, kw_only=True)
class Tower(Part):
    """The frozen backbone of a run.

    Args:
        backbone: its name.
        weights: fingerprint of the weights it carries, or open_clip's tag; "": random.
        precision: of the frozen encoders: "fp32", "bf16" or "fp16"; prompts are always fp32.
    """

    backbone: str
    weights: str = ""
    precision: str = "fp32"


@dataclass(frozen=True, kw_only=True)
class LowRank(Part):
    """The low-rank parameterisation of prompts, P = P0 + dropout(A B), in place of full matrices.

    Args:
        rank: r of A (n, r) and B (r, d); None: the full matrix is trained, and only its dropout is
            meant (site "prompt"), as an ablation.
        dropout: probability of dropping a part of the prompt in a step, in [0, 1).
        site: what dropout drops: entries of the "update" A B, its "rows" (tokens) or "columns", or
            entries of the whole "prompt".
        p0: whether P0 is what the method starts its prompts from; False: there is none, P =
            dropout(A B), and both factors start random (:func:`..prompt.low_rank.initial_factors`).
            A first prompt for the text encoder that starts from no words has none either way.
    """

    rank: int | None = 1
    dropout: float = 0.5
    site: str = "update"
    p0: bool = True

    def check(self) -> None:
        one_of("site of dropout", self.site, SITES)
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout = {self.dropout} must be in [0, 1)")
        if self.rank is not None and self.rank < 1:
            raise ValueError(f"rank = {self.rank} must be at least 1, or None: the full matrix")
        if self.rank is None and self.site != "prompt":
            raise ValueError(
                f"dropout of {self.site!r} needs a low-rank update: give a rank, or site='prompt'"
            )
        if not isinstance(self.p0, bool):
            raise BadValueError("p0", shown(self.p0), "True or False")
        if self.rank is None and not self.p0:
            raise ValueError("p0 = False needs a low-rank update: give a rank")


@dataclass(frozen=True, kw_only=True)
class Schedule(Part):
    """CoOp's schedule: SGD, a constant first epoch, then an epoch-wise cosine.

    Args:
        epochs, batch, momentum, weight_decay: of SGD.
        lr: learning rate after the first epoch.
        warmup: learning rate of epoch 0 as a fraction of ``lr``.
        warmup_lr: the same in itself, for all that trains alike (the peers' WARMUP_CONS_LR); 0.0:
            ``warmup`` says it, and what learns at a multiple of ``lr`` begins at that multiple.
        checkpoints: evaluations along training, evenly spaced, after the one at the start; 1: the
            end alone, for methods that cost a pass through the image encoder to be evaluated.
    """

    epochs: int = 40
    batch: int = 128
    lr: float = 0.03
    momentum: float = 0.9
    weight_decay: float = 5e-4
    warmup: float = 1 / 200
    checkpoints: int = 10
    warmup_lr: float = 0.0

    def check(self) -> None:
        whole("epochs", self.epochs, 0)
        whole("batch", self.batch, 1)
        for name in ("lr", "momentum", "weight_decay", "warmup", "warmup_lr"):
            if not 0 <= (rate := getattr(self, name)) < math.inf:
                raise BadValueError(name, shown(rate), "a number of at least 0")


OPTIMISERS = ("", "sgd")
"""Of visual prompts: AdamW, as SPT and CVPT have it, and VPT's own."""


@dataclass(frozen=True, kw_only=True)
class VisualSchedule(Part):
    """Of visual prompts: a linear rise over the first tenth of the steps, then a cosine to zero.

    Args:
        epochs, batch, lr, weight_decay: of the optimiser.
        momentum: AdamW's first beta (the second is 0.999), or SGD's momentum.
        optimiser: "": AdamW; or "sgd", VPT's own: the bias of the head does not decay then.
    """

    epochs: int = 100
    batch: int = 64
    lr: float = 0.001
    momentum: float = 0.9
    weight_decay: float = 0.05
    optimiser: str = ""

    def check(self) -> None:
        one_of("optimiser", self.optimiser, OPTIMISERS)
