"""Two other ways to a dense prompt, on CoOp's full matrix (the constants are ours).

DO, direct optimisation: cross-entropy - weight * ID_1(P).
PP, positional penalty: cross-entropy + weight * sum_i max(0, i - 1) s_i, so that every singular
value beyond the first is held down, the later the more. Source: the reviewed version of the paper
names both and what they are for, but no formula.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dip_lib.density import information_density, singular_values
from dip_lib.methods import coop
from dip_lib.methods.method import Batch, Learnt, Method, Setting

K = 1
"""Singular values that are not held down."""


def direct(learnt: Learnt, setting: Setting, batch: Batch) -> Tensor:
    """Cross-entropy less weight times information density, (R,)."""
    density = information_density(learnt.prompts[0], K)
    return coop.loss(learnt, setting, batch) - setting.weight * density


def positional(learnt: Learnt, setting: Setting, batch: Batch) -> Tensor:
    """Cross-entropy plus weight times the later singular values, (R,)."""
    prompt = learnt.prompts[0]
    values = singular_values(prompt)  # (R, n), descending
    # a value that is only rounding has no direction of its own ("a photo of a" has rank 3)
    rounding = max(prompt.shape[-2:]) * torch.finfo(values.dtype).eps
    values = torch.where(values > rounding * values[:, :1], values, 0)
    beyond = (torch.arange(values.shape[-1], device=values.device) + 1 - K).clamp(min=0)
    return coop.loss(learnt, setting, batch) + setting.weight * (beyond * values).sum(-1)


DO = Method(coop.start, direct, replays=False)
PP = Method(coop.start, positional, replays=False)
