"""CoOp with one thing changed that DIP changes, too: a control of DIP's gain (ours).

A low-rank update with dropout changes several things at once: where the prompt starts, how dense it
gets, how far it moves, how large the loss is. Here one of them changes and all else is CoOp's: a
random start of the words' length, the cross-entropy times a constant, or the Information Density
that the text encoder reads, held at a level while the prompt trains.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from dip_lib.errors import one_of
from dip_lib.methods.prompts import Batch, FrozenClip, Learned, Start
from dip_lib.methods.text_prompt import TextPromptMethod
from dip_lib.prompt.density import information_density
from dip_lib.prompt.low_rank import low_rank_prompt
from dip_lib.randomness import normal

ORIGINS = ("words", "random")
HOLD = 3.0
"""Strength with which a density is held: a step of plain SGD with learning rate 1/3 would take the
prompt to its level, by the density's slope. With a momentum of 0.9 rates up to 1.2 are stable."""


class Factors(NamedTuple):
    """What R runs train: prompts base + A B; the base, or A and B."""

    base: Tensor  # (R, n, d)
    a: Tensor  # (R, n, r)
    b: Tensor  # (R, r, d)


@dataclass(frozen=True, kw_only=True)
class Control(TextPromptMethod):
    """CoOp with one thing changed; with the defaults it is CoOp.

    Args:
        context, vectors, class_position, class_specific: as :class:`TextPromptMethod`'s.
        origin: what the prompt starts from: the "words" of ``context``, or a "random" matrix whose
            rows are as long as the words'. With a low-rank update either is the frozen P0.
        loss_scale: constant by which the cross-entropy is multiplied. The learning rate stays.
        held: whether the density of the prompt as the first block reads it, centred (ID_1), is held
            while it trains: every step also goes back towards the nearest matrix, or factors, with
            that density, with the strength :data:`HOLD` (:meth:`way_back`).
        density: the level at which it is held, in (0, 1]; 0: that of the start.

    Raises:
        ValueError: what :class:`TextPromptMethod` refuses, a random start without words, a loss
            scale that is not positive, a level outside [0, 1] or without ``held``, a level for
            class-specific prompts, or the start's level where the start is random.
    """

    name = "control"
    label = "Control"
    settings_of = "coop"
    per_run = ("loss_scale",)
    cuda_graph = False

    origin: str = "words"
    loss_scale: float = 1.0
    held: bool = False
    density: float = 0.0

    def check(self) -> None:
        super().check()
        one_of("origin", self.origin, ORIGINS)
        if self.origin == "random" and not self.context:
            raise ValueError("origin='random' takes its length from words: give a context")
        if self.loss_scale <= 0:
            raise ValueError(f"loss_scale = {self.loss_scale} must be above 0")
        if not 0 <= self.density <= 1 or (self.density and not self.held):
            raise ValueError(f"density = {self.density} must be in [0, 1], and needs held=True")
        if self.held and self.class_specific:
            raise ValueError("held=True is for one prompt, not for class_specific ones")
        if self.held and not (self.density or (self.context and self.origin == "words")):
            raise ValueError("held=True needs a density where the start is random")

    def start(self, frozen: FrozenClip, seed: int) -> Start:
        """One prompt (n, d), or (C, n, d): the words', or a random one with rows of that length."""
        begun = super().start(frozen, seed)
        if self.origin == "words":
            return begun
        (words,) = begun.prompts
        random = normal(seed, words.shape, stream=6).to(words.device)
        return Start((F.normalize(random, dim=-1) * words.norm(dim=-1, keepdim=True),))

    def loss(self, learned: Learned, frozen: FrozenClip, batch: Batch) -> Tensor:
        """Cross-entropy times its constant, (R,)."""
        return frozen.per_run["loss_scale"] * super().loss(learned, frozen, batch)

    def gradient(
        self, learned: Learned, frozen: FrozenClip, batch: Batch, trained: Sequence[Tensor]
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """The loss (R,) and its gradient, plus what takes the density back to its level."""
        loss, gradients = super().gradient(learned, frozen, batch, trained)
        if not self.held:
            return loss, gradients
        back = self.way_back(Factors(*trained), frozen)
        return loss, tuple(g + HOLD * away for g, away in zip(gradients, back, strict=True))

    def way_back(self, trained: Factors, frozen: FrozenClip) -> Factors:
        """How far what trains is from the nearest with the level, to first order; shaped as it is.

        (ID - level) / |slope|^2 times the slope: one step of Newton's method, of length 1, would go
        back this way. The density is that of the prompt as it is evaluated, without dropout.
        """
        here = Factors(*(each.detach().requires_grad_() for each in trained))
        with torch.enable_grad():
            density = as_read_density(low_rank_prompt(*here), frozen)
            slope = Factors(*torch.autograd.grad(density.sum(), here))
        # a run with factors does not train its base; one without has none but zeros
        full = ~here.a.flatten(1).any(1).view(-1, 1, 1)
        moved = Factors(slope.base * full, slope.a, slope.b)
        squared = sum((each.square().sum((-2, -1)) for each in moved), torch.zeros_like(density))
        level = self.density or as_read_density(frozen.clip.context(self.context), frozen)
        gap = (density.detach() - level) / squared.clamp(min=torch.finfo(squared.dtype).tiny)
        return Factors(*(gap.view(-1, 1, 1) * each for each in moved))


def as_read_density(prompt: Tensor, frozen: FrozenClip) -> Tensor:
    """ID_1 of prompts (..., n, d) as the text encoder's first block reads them, centred: (...)."""
    return information_density(frozen.clip.as_read(prompt), centred=True)
