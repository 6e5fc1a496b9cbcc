"""CoOp (Zhou et al., IJCV 2022): every number of the prompt is trained, from word embeddings."""

from __future__ import annotations

from torch import Tensor

from dip_lib.methods.start import Start
from dip_lib.spec import RunSpec


def start(p0: Tensor, spec: RunSpec) -> Start:
    """Full rank: P starts at ``p0`` (n, d) and all n d numbers are trained.

    Raises:
        ValueError: a rank or a dropout was asked for, which CoOp does not have.
    """
    if spec.rank or spec.dropout:
        raise ValueError(
            f"coop trains the full prompt: rank {spec.rank} and dropout {spec.dropout} must be 0 "
            "(method 'dip' has them)"
        )
    return Start(p0, p0.new_zeros(len(p0), 0), p0.new_zeros(0, p0.shape[1]), True, 0.0)
