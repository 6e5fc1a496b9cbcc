"""The singular values of a prompt given, its directions left: P = U diag(s) V^T with s chosen."""

from __future__ import annotations

import torch
from torch import Tensor


def with_singular_values(prompt: Tensor, values: Tensor) -> Tensor:
    """The matrix with these singular values that is nearest to the prompt.

    The prompt's singular vectors are kept, in their order, and its singular values replaced. By von
    Neumann's trace inequality no matrix with these values is nearer, in the Frobenius norm.

    Args:
        prompt: (..., n, d).
        values: (..., min(n, d)), descending and not negative.

    Returns:
        (..., n, d), in the dtype of the prompt.

    Raises:
        ValueError: another number of values, or ones that ascend or are negative.
    """
    count = min(prompt.shape[-2:])
    if values.shape[-1] != count:
        raise ValueError(
            f"a prompt {tuple(prompt.shape)} has {count} singular values, got {values.shape[-1]}"
        )
    if bool((values < 0).any()) or bool((values.diff(dim=-1) > 0).any()):
        raise ValueError(f"singular values must descend to at least 0, got {values.tolist()}")
    u, _, v = torch.linalg.svd(prompt, full_matrices=False)
    return (u * values[..., None, :].to(prompt)) @ v
