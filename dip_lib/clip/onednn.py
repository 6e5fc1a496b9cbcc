"""Matrix products of frozen layers on a CPU, by oneDNN where PyTorch uses MKL.

MKL keeps its AVX-512 kernels for Intel's processors; oneDNN, which PyTorch carries too, has them
for every maker's. On an AMD EPYC (Zen 5) a layer takes half the time, on an Intel Xeon 1.1 to 1.6
times as long (``benchmarks/products.py``), so there nothing is changed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from dip_lib.machine import cpu_name

AVAILABLE = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
FASTER = AVAILABLE and torch.backends.mkl.is_available() and "Intel" not in cpu_name()
Pair = tuple[Tensor, Tensor | None]
"""Weight and bias."""


def _product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """x (..., k), W (m, k) -> x W^T + b (..., m), outside autograd."""
    product: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return product


class _Linear(torch.autograd.Function):
    """A linear layer whose weight and bias are constants."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(weight)
        return _product(x, weight, bias)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (weight,) = ctx.saved_tensors
        return _product(gradient, weight.t(), None), None, None


def _self_attention(x: Tensor, heads: int, inward: Pair, outward: Pair) -> Tensor:
    """Multi-head self-attention without a mask, (T, B, w) -> (T, B, w)."""
    rows = x.transpose(0, 1).contiguous()  # (B, T, w), as open_clip's blocks have it
    parts = _Linear.apply(rows, *inward).unflatten(-1, (3, heads, -1)).permute(2, 0, 3, 1, 4)
    mixed = F.scaled_dot_product_attention(*parts)  # of (B, heads, T, w / heads) each
    product: Tensor = _Linear.apply(mixed.transpose(1, 2).flatten(2), *outward).transpose(0, 1)
    return product


def _plain(args: Sequence[Any], options: Mapping[str, Any]) -> bool:
    """Whether arguments of ``F.multi_head_attention_forward`` ask for nothing but that."""
    query, key, value, *_, bias_k, bias_v, zero, dropout, _, _ = args
    asked = ("key_padding_mask", "need_weights", "attn_mask", "use_separate_proj_weight")
    more = (options.get(name) for name in asked)
    return (
        query is key is value
        and query.dim() == 3
        and not (dropout and options.get("training", True))
        and all(each is None or each is False for each in (bias_k, bias_v, zero, *more))
    )


def _fits(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> bool:
    tensors = [x, weight] if bias is None else [x, weight, bias]
    return all(t.dtype == torch.float32 and t.device.type == "cpu" for t in tensors) and not any(
        t.requires_grad for t in tensors[1:]
    )


class _Mode(TorchFunctionMode):
    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is F.linear and not kwargs and _fits(*args):
            x, weight, bias = (*args, None)[:3]
            return _Linear.apply(x, weight, bias)
        if (
            func is F.multi_head_attention_forward
            and len(args) == 13
            and _plain(args, kwargs or {})
        ):
            x, heads, inward, outward = args[0], args[4], args[5:7], args[11:]
            if _fits(x, *inward) and _fits(x, *outward):
                return _self_attention(x, heads, inward, outward), None
        return func(*args, **(kwargs or {}))


@contextmanager
def fast_linear(always: bool = False) -> Iterator[None]:
    """Runs a frozen encoder's linear layers by oneDNN; a context manager and a decorator.

    Only fp32 layers on a CPU whose weight and bias are not trained; all else is left as it is.
    Results agree to float rounding. A gradient can be taken once, not of a gradient.

    Args:
        always: wherever oneDNN is ``AVAILABLE``, also where PyTorch's own way is the faster one.
    """
    if not (FASTER or (always and AVAILABLE)):
        yield
        return
    with _Mode():
        yield
