"""Dense Information Prompt (DIP; first called Re-parameterized Low-rank Prompt, RLP).

A prompt of n tokens of width d is P = P0 + dropout(A B): P0 (n, d) frozen word embeddings, A (n, r)
and B (r, d) trained, B = 0 at the start. After training P is one matrix, used like any prompt.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from dip_lib import randomness

NEXT_SEED = 1_000_003
"""Distance of the seeds of one run's prompts, so that the seeds 1, 2, 3, ... never meet."""

UNNOTICED = 32
"""Optimiser steps on one dropout mask after which a warning says so."""

SITES = {"update": (1, 1), "prompt": (1, 1), "rows": (1, 0), "columns": (0, 1)}
"""Site of dropout -> whether its mask differs between rows, and between columns."""


def low_rank_prompt(init: Tensor, a: Tensor, b: Tensor, mask: Tensor | None = None) -> Tensor:
    """P0 + mask * (A B), shapes (..., n, d), (..., n, r), (..., r, d), in the dtype of P0."""
    with torch.autocast(a.device.type, enabled=False):  # which would round the small update
        update = a @ b  # (..., n, d)
    return (init + (update if mask is None else mask * update)).to(init.dtype)


def initial_factors(
    seed: int, shape: Sequence[int], rank: int, bare: bool = False
) -> tuple[Tensor, Tensor]:
    """Factors at the start, float32: A ~ N(0, 1/r) (..., n, r) and B = 0 (..., r, d).

    ``bare`` (no P0): B ~ N(0, 0.02^2), so entries of A B have CoOp's random deviation, 0.02.
    """
    *lead, n, d = shape
    a = randomness.normal(seed, (*lead, n, rank)) / rank**0.5
    b = 0.02 * randomness.normal(seed, (*lead, rank, d), stream=3)
    return a, b if bare else torch.zeros_like(b)


def check_settings(shape: Sequence[int], rank: int, dropout: float) -> None:
    """Raise ValueError for a shape, rank or dropout that no low-rank prompt can have."""
    if len(shape) < 2:
        raise ValueError(f"a prompt needs shape (..., n, d), got {tuple(shape)}")
    if not 1 <= rank <= min(shape[-2:]):
        raise ValueError(f"rank = {rank} must be between 1 and min(n, d) = {min(shape[-2:])}")
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout = {dropout} must be in [0, 1)")


class LowRankUpdate(nn.Module):
    """(A, B) -> P; the dropout mask depends on (seed, step) alone; there is none in eval mode."""

    init: Tensor
    seed: Tensor

    def __init__(self, init: Tensor, rank: int, dropout: float, seed: int | None) -> None:
        super().__init__()
        check_settings(init.shape, rank, dropout)
        seed = int(torch.randint(2**31, ())) if seed is None else seed  # torch's seed governs
        self.rank, self.dropout, self.step = rank, dropout, 0
        self._seen, self._moves = (0, 0), 0  # the step and version of B last read; moves since
        self.register_buffer("init", init.detach().clone())
        self.register_buffer("seed", torch.tensor(seed, device=init.device), persistent=False)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        if not self.training or self.dropout == 0:
            return low_rank_prompt(self.init, a, b)
        self._watch(b)
        mask = randomness.dropout_mask(self.seed, self.step, self.init.shape, self.dropout)
        return low_rank_prompt(self.init, a, b, mask)

    def _watch(self, b: Tensor) -> None:
        """Warn once when B has moved many times, and the mask never has."""
        if torch.compiler.is_compiling():
            return
        before, self._seen = self._seen, (self.step, b._version)
        if self.step != before[0]:
            self._moves = 0
        elif b._version != before[1]:
            self._moves += 1
            if self._moves == UNNOTICED:
                warnings.warn(
                    f"the prompt was trained for {UNNOTICED} steps under one dropout mask, so that "
                    f"{100 * self.dropout:.0f} % of its update never train: call step() of what "
                    "densify returned after each step of the optimiser",
                    stacklevel=2,
                )

    def right_inverse(self, value: Tensor, bare: bool = False) -> tuple[Tensor, Tensor]:
        """Start, or start again, at ``value``: it becomes P0 and the factors are new."""
        self.init.copy_(value)
        a, b = initial_factors(int(self.seed), value.shape, self.rank, bare)
        return a.to(value.device), b.to(value.device)


class LowRankPrompt(nn.Module):
    """A prompt P (..., n, d) with r (n + d) trainable parameters, ``A`` and ``B``; called, it is P.

    In training mode every call draws a new dropout mask; in evaluation mode there is none.

    Args:
        init: P0 (..., n, d), frozen. None: no P0 (zeros), and both factors start random.
        rank, dropout: r in 1 ... min(n, d); probability of dropping an entry of A B, in [0, 1).
        seed: of factors and masks; None draws one from torch's generator.
        shape: (..., n, d), given exactly when ``init`` is None; else, ValueError.
    """

    def __init__(
        self,
        init: Tensor | None,
        rank: int = 1,
        dropout: float = 0.5,
        seed: int | None = None,
        *,
        shape: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        if (init is None) == (shape is None):
            raise ValueError("give either init (n, d) or, for a prompt without P0, shape=(n, d)")
        start = torch.zeros(*shape or ()) if init is None else init
        self.update = LowRankUpdate(start, rank, dropout, seed)
        a, b = self.update.right_inverse(start.detach(), bare=init is None)
        self.A = nn.Parameter(a)  # (..., n, r)
        self.B = nn.Parameter(b)  # (..., r, d)

    @property
    def init(self) -> Tensor:
        return self.update.init

    def forward(self) -> Tensor:
        prompt: Tensor = self.update(self.A, self.B)
        self.update.step += self.training
        return prompt

    def merge(self) -> Tensor:
        """The evaluated prompt as one matrix (..., n, d), detached."""
        return low_rank_prompt(self.init, self.A, self.B).detach()
