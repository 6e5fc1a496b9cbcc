"""R runs of one method, ready to train: what the trainer, the classifier and benchmarks share.

Whatever trains has a leading R. A run whose prompts are full matrices trains them; one with a
low-rank update trains factors: P = base + mask * (A B). Where a method fixes the directions of its
prompt, their coordinates train. Runs may differ in seed, rank, dropout, learning rate and in the
settings that their method lists in ``per_run``.

Symbols: R runs, C classes, n vectors of a prompt, d width, r largest rank (smaller ones are padded
with zeros, whose gradients stay zero). Where every class has a prompt of its own, C comes behind R.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from dip_lib.clip.backbone import Backbone
from dip_lib.methods.prompt_method import PromptMethod
from dip_lib.methods.prompts import FrozenClip, Learned, Start
from dip_lib.prompt.low_rank import (
    NEXT_SEED,
    SITES,
    check_settings,
    initial_factors,
    low_rank_prompt,
)
from dip_lib.randomness import dropout_mask
from dip_lib.training.batch_data import TrainingData
from dip_lib.training.parts import LowRank, Schedule
from dip_lib.training.run import Run


class Factored(NamedTuple):
    """A prompt base + A B. The base trains where there is no rank, else the factors do.

    Along fixed directions, A (1, k) are the coordinates, which train, and B (k, n d) are the
    directions.
    """

    base: Tensor  # (..., n, d)
    a: Tensor  # (..., n, r)
    b: Tensor  # (..., r, d)

    @classmethod
    def along(cls, prompt: Tensor, directions: Tensor) -> Factored:
        """A prompt (n, d) that moves along directions (k, n, d) alone, from where it is."""
        flat = directions.flatten(1)
        return cls(prompt, flat.new_zeros(1, len(flat)), flat)


def factored(prompt: Tensor, index: int, run: Run, has_words: bool) -> Factored:
    """The ``index``-th prompt (..., n, d) of a run as it trains: itself, or P0 with factors.

    A ~ N(0, 1/r) and B = 0, so that training starts exactly at P0. A first prompt without words has
    no P0, nor has any of a run that leaves it out: both factors start at random.

    Raises:
        ValueError: a rank above min(n, d).
    """
    *lead, n, d = prompt.shape
    if not run.rank:
        return Factored(prompt, prompt.new_zeros(*lead, n, 0), prompt.new_zeros(*lead, 0, d))
    update = cast(LowRank, run.low_rank)  # which a run with a rank has
    check_settings(prompt.shape, run.rank, update.dropout)
    bare = not update.p0 or (index == 0 and not has_words)
    a, b = initial_factors(run.seed + index * NEXT_SEED, prompt.shape, run.rank, bare)
    base = torch.zeros_like(prompt) if bare else prompt
    return Factored(base, a.to(prompt.device), b.to(prompt.device))


@dataclass(frozen=True)
class State:
    """What R runs train. Updated in place."""

    prompts: tuple[Factored, ...]  # (R, n, d), (R, n, r), (R, r, d) each; or (R, C, n, d), ...
    others: tuple[Tensor, ...]  # (R, ...) each
    full: Tensor  # (R, 1, 1) whether the prompts' bases are trained, and not their factors
    dropout: Tensor  # (R, 1, 1)
    seeds: Tensor  # (R,)
    site: str
    rates: tuple[float, ...]  # of others, as multiples of the run's
    along: bool = False  # whether prompts move along fixed directions, whose coordinates train

    @property
    def trained(self) -> list[Tensor]:
        """Every tensor, in the order in which gradients come."""
        return [*(tensor for prompt in self.prompts for tensor in prompt), *self.others]

    def learned(self, step: Tensor | None = None) -> Learned:
        """The prompts under the dropout masks of ``step``; without one as they are evaluated."""
        return Learned(
            tuple(self._prompt(i, each, step) for i, each in enumerate(self.prompts)), self.others
        )

    def _prompt(self, index: int, prompt: Factored, step: Tensor | None) -> Tensor:
        if self.along:
            flat = low_rank_prompt(prompt.base.flatten(1)[:, None], prompt.a, prompt.b)
            return flat.view_as(prompt.base)
        if step is None:
            return low_rank_prompt(*prompt)
        of_row, of_column = SITES[self.site]
        *lead, n, d = prompt.base.shape[1:]
        shape = (*lead, n if of_row else 1, d if of_column else 1)
        rate = self.dropout.view(-1, *(1,) * len(shape))
        mask = dropout_mask(self.seeds + index * NEXT_SEED, step, shape, rate)
        if self.site == "prompt":
            return mask * low_rank_prompt(*prompt)
        return low_rank_prompt(*prompt, mask)


def _stack(prompts: Sequence[Factored]) -> Factored:
    rank = max(p.a.shape[-1] for p in prompts)
    return Factored(
        torch.stack([p.base for p in prompts]).requires_grad_(),
        torch.stack([F.pad(p.a, (0, rank - p.a.shape[-1])) for p in prompts]).requires_grad_(),
        torch.stack(
            [F.pad(p.b, (0, 0, 0, rank - p.b.shape[-2])) for p in prompts]
        ).requires_grad_(),
    )


def stack(starts: Sequence[Start], runs: Sequence[Run], has_words: bool) -> State:
    """The runs' starts as one state that can be differentiated.

    Args:
        has_words: whether the first prompt starts from words, which are then P0.

    Raises:
        ValueError: what :func:`factored` refuses.
    """
    device = starts[0].prompts[0].device
    factored_prompts = [
        [factored(prompt, i, run, has_words) for i, prompt in enumerate(start.prompts)]
        if start.directions is None
        else [Factored.along(prompt, start.directions) for prompt in start.prompts]
        for start, run in zip(starts, runs, strict=True)
    ]
    along = starts[0].directions is not None
    dropout = [run.low_rank.dropout if run.low_rank else 0.0 for run in runs]
    return State(
        tuple(_stack(prompts) for prompts in zip(*factored_prompts, strict=True)),
        tuple(
            torch.stack(tensors).requires_grad_()
            for tensors in zip(*(start.others for start in starts), strict=True)
        ),
        torch.tensor([not (run.rank or along) for run in runs], device=device).view(-1, 1, 1),
        torch.tensor(dropout, device=device).view(-1, 1, 1),
        torch.tensor([run.seed for run in runs], device=device),
        runs[0].site,
        starts[0].rates or (1.0,) * len(starts[0].others),
        along,
    )


@dataclass(frozen=True, eq=False)
class Runs:
    """R runs of one method before, while and after they train.

    Attributes:
        runs: what each is; they share a batch.
        method: of the runs; settings in which they differ are in ``frozen.per_run``.
        frozen: the encoders, class names and texts that do not change.
        data: what is trained on.
        state: what trains; updated in place by :func:`dip_lib.training.loop.train_epochs`.
        trainable: trainable parameters of each run.
    """

    runs: tuple[Run, ...]
    method: PromptMethod
    frozen: FrozenClip
    data: TrainingData
    state: State
    trainable: tuple[int, ...]

    @classmethod
    def prepare(cls, runs: Sequence[Run], clip: Backbone, data: TrainingData) -> Runs:
        """The runs before their first step.

        Raises:
            ValueError: runs that cannot share a batch, a method that learns no prompts for the text
                encoder, or a rank above min(n, d).
        """
        check_batch(runs)
        if not isinstance(method := runs[0].method, PromptMethod):
            raise ValueError(f"{method.label} learns no prompts for the text encoder")
        frozen = frozen_clip(runs, clip, data.names, data.template)
        starts = [method.start(frozen, run.seed) for run in runs]
        numbers = tuple(start.trainable(r.rank) for start, r in zip(starts, runs, strict=True))
        state = stack(starts, runs, bool(method.context))
        return cls(tuple(runs), method, frozen, data, state, numbers)

    @property
    def schedule(self) -> Schedule:
        """The runs' schedule, in which they differ in the learning rate alone."""
        return cast(Schedule, self.runs[0].schedule)

    def learned(self) -> Learned:
        """What the runs have learned so far, as it is evaluated: without dropout."""
        return self.state.learned()

    @torch.no_grad()
    def finite(self) -> Tensor:
        """Which runs classify with finite logits as they are now, (R,)."""
        classify = self.method.classifier(self.learned(), self.frozen, self.frozen.names)
        return torch.isfinite(classify(self.data.images[:, 0, :1])).flatten(1).all(1)


def check_batch(runs: Sequence[Run]) -> None:
    """Raise ValueError for runs that cannot share a batch; names the first two."""
    shared = runs[0].shared()
    if other := [run for run in runs if run.shared() != shared]:
        raise ValueError(
            "runs of one batch may differ only in seed, rank, dropout, learning rate and "
            f"{runs[0].method.per_run}: {runs[0]} and {other[0]}"
        )


def frozen_clip(
    runs: Sequence[Run], clip: Backbone, names: tuple[str, ...], template: str
) -> FrozenClip:
    """What stays fixed while the runs train on, or are evaluated on, the classes ``names``."""
    settings = runs[0].method.per_run
    values = {name: [getattr(run.method, name) for run in runs] for name in settings}
    tensors = {name: torch.tensor(each, device=clip.device) for name, each in values.items()}
    return FrozenClip(clip, names, template, tensors)
