"""Two other ways to a dense prompt, on CoOp's full matrix (the formulas and constants are ours).

DO, direct optimisation: cross-entropy - weight * ID_1(P).
PP, positional penalty: cross-entropy + weight * sum_i max(0, i - 1) s_i, so that every singular
value beyond the first is penalised, later ones more. Source: the reviewed version of the paper
names both and their purpose, but gives no formula.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dip_lib.methods.prompt_method import PromptMethod
from dip_lib.methods.prompts import Batch, FrozenClip, Learned
from dip_lib.prompt.density import information_density, singular_values

K = 1
"""Number of leading singular values that are not penalised."""


@dataclass(frozen=True, kw_only=True)
class DirectOptimisation(PromptMethod):
    """DO.

    Args:
        weight: of Information Density.
    """

    name = "do"
    label = "DO"
    alternative_to_dip = True
    per_run = ("weight",)
    cuda_graph = False

    weight: float = 1.0

    def loss(self, learned: Learned, frozen: FrozenClip, batch: Batch) -> Tensor:
        """Cross-entropy less weight times Information Density, (R,)."""
        density = information_density(learned.prompts[0], K)
        return super().loss(learned, frozen, batch) - frozen.per_run["weight"] * density


@dataclass(frozen=True, kw_only=True)
class PositionalPenalty(PromptMethod):
    """PP.

    Args:
        weight: of the penalty.
    """

    name = "pp"
    label = "PP"
    alternative_to_dip = True
    per_run = ("weight",)
    cuda_graph = False

    weight: float = 1.0

    def loss(self, learned: Learned, frozen: FrozenClip, batch: Batch) -> Tensor:
        """Cross-entropy plus weight times the later singular values, (R,)."""
        prompt = learned.prompts[0]
        values = singular_values(prompt)  # (R, n), descending
        # a value that is only rounding has no direction of its own ("a photo of a" has rank 3)
        rounding = max(prompt.shape[-2:]) * torch.finfo(values.dtype).eps
        values = torch.where(values > rounding * values[:, :1], values, 0)
        beyond = (torch.arange(values.shape[-1], device=values.device) + 1 - K).clamp(min=0)
        penalty = (beyond * values).sum(-1)
        return super().loss(learned, frozen, batch) + frozen.per_run["weight"] * penalty
