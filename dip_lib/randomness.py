"""Counter-based random numbers: a draw is a pure function of (seed, step, position).

A run must see the same dropout masks and the same order of samples whether it is trained alone or
in a batch of R runs, on a CPU or on a GPU. A stateful generator does not give this; a hash of a
counter does. The hash is SplitMix64's finaliser (Steele, Lea and Flood, 2014) in wrapping int64
arithmetic, which every torch device computes bit for bit alike.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

_GAMMA = 0x9E3779B97F4A7C15
_MIX1, _MIX2 = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB


def _signed(value: int) -> int:
    """The int64 with the same 64 bits as the unsigned ``value``."""
    return (value & (2**64 - 1)) - (2**64 if value & 2**63 else 0)


def _shift(x: Tensor, bits: int) -> Tensor:
    """Logical right shift of int64 (torch's ``>>`` keeps the sign)."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def _mix(x: Tensor) -> Tensor:
    x = (x ^ _shift(x, 30)) * _signed(_MIX1)
    x = (x ^ _shift(x, 27)) * _signed(_MIX2)
    return x ^ _shift(x, 31)


def uniform(
    seed: int | Tensor, step: int | Tensor, shape: Sequence[int], stream: int = 0
) -> Tensor:
    """Uniform numbers in [0, 1), float32, the same on every device.

    Args:
        seed: one integer, or an integer tensor (R,) with a seed for each run.
        step: the counter (training step, epoch, ...); an int64 tensor () gives the same bits.
        shape: shape of one draw.
        stream: separates draws of different purpose that share seed and step.

    Returns:
        ``shape`` for one seed, (R, *shape) for R seeds.
    """
    seeds = torch.as_tensor(seed, dtype=torch.int64)
    key = _mix(seeds * _signed(_GAMMA) + _signed(_MIX2 * (stream + 1)))
    # int64 tensors wrap by themselves, Python's integers do not
    counter = step * _signed(_GAMMA) if isinstance(step, Tensor) else _signed(step * _GAMMA)
    key = _mix(key + counter)  # () or (R,)
    count = torch.arange(1, math.prod(shape) + 1, device=seeds.device)
    bits = _mix(key[..., None] + count * _signed(_GAMMA))  # (..., prod(shape))
    # 24 bits: what a float32 in [0, 1) can hold exactly
    return (_shift(bits, 40).float() / 2**24).view(*seeds.shape, *shape)


def normal(seed: int | Tensor, shape: Sequence[int], stream: int = 0) -> Tensor:
    """Standard normal numbers (Box-Muller), float32; arguments as :func:`uniform`."""
    u = uniform(seed, 0, (2, *shape), stream).double()
    axis = u.dim() - len(shape) - 1
    radius, angle = u.unbind(axis)
    return ((-2 * torch.log1p(-radius)).sqrt() * torch.cos(2 * math.pi * angle)).float()


def dropout_mask(
    seed: int | Tensor, step: int | Tensor, shape: Sequence[int], p: float | Tensor
) -> Tensor:
    """Inverted-dropout mask: 0 with probability ``p``, else 1 / (1 - p).

    ``p`` is one rate in [0, 1), or a tensor that broadcasts against (R, *shape).
    """
    keep = uniform(seed, step, shape, stream=1) >= p
    return keep / (1 - torch.as_tensor(p, device=keep.device))


def permutation(seed: int | Tensor, epoch: int, n: int) -> Tensor:
    """A random order of ``n`` samples, (n,) or (R, n): the sampler of epoch ``epoch``."""
    return uniform(seed, epoch, (n,), stream=2).argsort(dim=-1, stable=True)
