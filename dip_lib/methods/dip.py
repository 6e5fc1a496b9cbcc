"""DIP, first called RLP (arXiv 2312.10813): a frozen prompt plus a trained low-rank update."""

from __future__ import annotations

from torch import Tensor

from dip_lib.methods.start import Start
from dip_lib.prompt import check_settings, initial_factors
from dip_lib.spec import RunSpec


def start(p0: Tensor, spec: RunSpec) -> Start:
    """P = p0 + dropout(A B); A ~ N(0, 1/r), B = 0, so training starts exactly at ``p0`` (n, d).

    Raises:
        ValueError: a rank outside 1..min(n, d), a dropout outside [0, 1).
    """
    check_settings(p0.shape, spec.rank, spec.dropout)
    a, b = initial_factors(spec.seed, p0.shape, spec.rank)
    return Start(p0, a.to(p0.device), b.to(p0.device), False, spec.dropout)
