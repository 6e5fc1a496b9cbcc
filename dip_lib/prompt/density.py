"""Information Density: how much of a prompt matrix lies along its first singular directions.

ID_k(P) = (s_1 + ... + s_k) / (s_1 + ... + s_n) for the singular values s_1 >= s_2 >= ... of P. The
papers name the quantity in words only; this formula is our reading of them.
"""

from __future__ import annotations

import torch
from torch import Tensor


def _as_matrices(prompt: Tensor) -> Tensor:
    """``prompt`` in a dtype that has an SVD, after refusing what has no spectrum."""
    if prompt.dim() < 2:
        raise ValueError(f"a prompt needs shape (..., n, d), got {tuple(prompt.shape)}")
    wide = prompt if prompt.dtype == torch.float64 else prompt.float()
    if not bool(torch.isfinite(wide).all()):
        where = _which(~torch.isfinite(wide).all(-1).all(-1))
        raise ValueError(f"the prompt{where} has non-finite entries; its spectrum is undefined")
    return wide


def _which(bad: Tensor) -> str:
    """Where the bad matrices are in a stack: " at [2], [5]"; "" for a single matrix."""
    if bad.dim() == 0:
        return ""
    return " at " + ", ".join(str(index) for index in bad.nonzero().tolist())


def singular_values(prompt: Tensor) -> Tensor:
    """Singular values in descending order, (..., n, d) -> (..., min(n, d)); differentiable.

    Half precision is computed and returned in float32.

    Raises:
        ValueError: an entry is not finite, or the prompt has fewer than two dimensions.
    """
    return torch.linalg.svdvals(_as_matrices(prompt))


def centre(prompt: Tensor) -> Tensor:
    """The prompt without each token's mean over the width, (..., n, d) -> (..., n, d).

    CLIP's text encoder reads every token through a LayerNorm, which takes this mean away.
    """
    return prompt - prompt.mean(-1, keepdim=True)


def information_density(
    prompt: Tensor, k: int = 1, power: float = 1, centred: bool = False
) -> Tensor:
    """ID_k, the share of the ``k`` largest singular values, (..., n, d) -> (...), in (0, 1].

    Singular values up to max(n, d) * eps * s_1 count as zero: they are rounding. The share is
    ``cumsum[k - 1] / cumsum[-1]`` of s / s_1, because a plain ratio of sums exceeds 1 by rounding.

    Args:
        prompt: one matrix or a stack; half precision is computed in float32. Differentiable.
        k: how many singular values count as the dense part, 1 <= k <= min(n, d).
        power: 1 for the values themselves, 2 for their energy.
        centred: whether each token's mean over the width is taken away first: it changes no output
            of a text encoder whose blocks begin with a LayerNorm. Of what the first block reads
            (``Backbone.as_read``) this is the as-read ID.

    Raises:
        ValueError: a matrix is zero or not finite (naming which), ``k`` or ``power`` out of range.
    """
    matrices = _as_matrices(prompt)
    if centred:
        matrices = centre(matrices)
    n, d = matrices.shape[-2:]
    if not 1 <= k <= min(n, d):
        raise ValueError(f"k = {k} must be between 1 and min(n, d) = {min(n, d)}")
    if power < 1:
        raise ValueError(f"power = {power} must be at least 1 (1: values, 2: energy)")
    largest = matrices.detach().abs().amax((-2, -1), keepdim=True)  # (..., 1, 1)
    if bool((largest == 0).any()):
        where = _which(largest[..., 0, 0] == 0)
        raise ValueError(f"the prompt{where} is zero; its Information Density is undefined")
    # ID does not depend on scale, so entries near the ends of the float range are safe
    s = torch.linalg.svdvals(matrices / largest)  # (..., min(n, d))
    share = s / s[..., :1]
    rounding = max(n, d) * torch.finfo(s.dtype).eps
    total = torch.where(share > rounding, share, 0).pow(power).cumsum(-1)
    return total[..., k - 1] / total[..., -1]
