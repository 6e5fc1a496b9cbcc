"""DIP, first called RLP (arXiv 2312.10813): a frozen prompt plus a trained low-rank update.

It is no method of its own but a way to hold the prompts of any: P = P0 + dropout(A B) takes the
place of each. "dip" is CoOp with it; any other method has it as soon as its run has a rank.
:func:`dip_lib.densify` does the same to a module.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from dip_lib.errors import one_of
from dip_lib.prompt import check_settings, initial_factors
from dip_lib.spec import RunSpec

NEXT_SEED = 1_000_003
"""Distance of the seeds of one run's prompts, so that the seeds 1, 2, 3, ... never meet."""
SITES = {"update": (1, 1), "prompt": (1, 1), "rows": (1, 0), "columns": (0, 1)}
"""Where dropout sits -> whether it tells rows and columns of the prompt apart."""


class LowRank(NamedTuple):
    """A prompt base + A B. The base trains where there is no rank, else the factors do."""

    base: Tensor  # (..., n, d)
    a: Tensor  # (..., n, r)
    b: Tensor  # (..., r, d)


def held(prompt: Tensor, index: int, spec: RunSpec) -> LowRank:
    """The ``index``-th prompt (n, d) of a run as its rank says: itself, or P0 with factors.

    A ~ N(0, 1/r) and B = 0, so that training starts exactly at P0. A context without words has no
    P0: both factors start at random.

    Raises:
        ValueError: a rank outside 1..min(n, d), a dropout outside [0, 1), a site that is not one,
            or dropout on the update of a prompt that has none.
    """
    one_of("site of dropout", spec.site, SITES)
    if spec.method == "coop" and spec.rank:
        raise ValueError(f"coop trains the full prompt: rank {spec.rank} is method 'dip'")
    full = not spec.rank and spec.method != "dip"
    check_settings(prompt.shape, 1 if full else spec.rank, spec.dropout)
    if full:
        if spec.dropout and spec.site != "prompt":
            raise ValueError(
                f"{spec.method} without a rank has no update to drop {spec.site!r} of: dropout "
                f"{spec.dropout} needs a rank, or site='prompt'"
            )
        return LowRank(
            prompt, prompt.new_zeros(len(prompt), 0), prompt.new_zeros(0, prompt.shape[1])
        )
    bare = index == 0 and not spec.context
    a, b = initial_factors(spec.seed + index * NEXT_SEED, prompt.shape, spec.rank, bare)
    base = torch.zeros_like(prompt) if bare else prompt
    return LowRank(base, a.to(prompt.device), b.to(prompt.device))
