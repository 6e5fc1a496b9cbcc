"""Linear layers by oneDNN: the same numbers, for frozen fp32 layers on a CPU and no others."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dip_lib import load_backbone
from dip_lib.clip import onednn
from dip_lib.clip.onednn import AVAILABLE, fast_linear

needs_it = pytest.mark.skipif(not AVAILABLE, reason="this PyTorch is built without oneDNN")


def layer(x: Tensor, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor]:
    """The layer's output, and the gradient of its squares' sum in x."""
    start = x.detach().clone().requires_grad_()
    found = F.linear(start, weight, bias)
    (gradient,) = torch.autograd.grad(found.square().sum(), start)
    return found.detach(), gradient


@needs_it
@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize("shape", [(5, 16), (2, 7, 16), (3, 1, 2, 16), (0, 16)])
def test_values_and_gradients_are_those_of_exact_arithmetic(
    shape: tuple[int, ...], biased: bool
) -> None:
    torch.manual_seed(0)
    x, weight, bias = torch.randn(shape), torch.randn(24, 16), torch.randn(24) if biased else None
    exact = layer(x.double(), weight.double(), None if bias is None else bias.double())
    with fast_linear(always=True):
        found = layer(x, weight, bias)
    for ours, theirs in zip(found, exact, strict=True):
        assert ours.dtype == torch.float32
        torch.testing.assert_close(ours.double(), theirs, rtol=1e-5, atol=1e-4)


@needs_it
def test_rows_that_do_not_lie_together_and_parts_of_weights_are_read_right() -> None:
    torch.manual_seed(0)
    x, weight = torch.randn(16, 9, 4).permute(2, 1, 0), torch.randn(48, 16)
    for part in (weight[16:32], torch.randn(16, 48).t()[:32]):
        with fast_linear(always=True):
            found = layer(x, part, None)
        for ours, theirs in zip(found, layer(x, part, None), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-4)


@needs_it
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("training", [False, True])
def test_self_attention_is_torchs(
    masked: bool, batch_first: bool, training: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    block = nn.MultiheadAttention(16, 4, batch_first=batch_first).requires_grad_(False)
    block.train(training)
    mask = torch.full((5, 5), -torch.inf).triu(1) if masked else None
    x, calls = torch.randn(3, 5, 16) if batch_first else torch.randn(5, 3, 16), list[Tensor]()
    real = onednn._self_attention

    def counted(x: Tensor, *given: Any) -> Tensor:
        calls.append(x)
        return real(x, *given)

    def attended() -> tuple[Tensor, Tensor]:
        start = x.clone().requires_grad_()
        found, _ = block(start, start, start, need_weights=False, attn_mask=mask)
        (gradient,) = torch.autograd.grad(found.square().sum(), start)
        return found.detach(), gradient

    expected = attended()
    monkeypatch.setattr(onednn, "_self_attention", counted)
    with fast_linear(always=True):
        found = attended()
        assert len(calls) == (not masked)
        other, _ = block(x, x + 1, x + 1, need_weights=False)  # not of x to itself
        weights = block(x, x, x)[1]
        assert len(calls) == (not masked)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(other, block(x, x + 1, x + 1)[0], rtol=1e-5, atol=1e-5)
    assert weights is not None


@needs_it
def test_only_frozen_fp32_layers_on_a_cpu_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[Tensor] = []

    def product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        taken.append(x)
        return x @ weight.t() + (0 if bias is None else bias)

    monkeypatch.setattr(onednn, "_product", product)
    frozen, trained = nn.Linear(8, 8).requires_grad_(False), nn.Linear(8, 8)
    half = nn.Linear(8, 8, dtype=torch.bfloat16).requires_grad_(False)
    x = torch.randn(3, 8)
    with fast_linear(always=True):
        trained(x).sum().backward()
        half(x.bfloat16())
        nn.Linear(8, 8, dtype=torch.float64).requires_grad_(False)(x.double())
        assert not taken
        frozen(x)
    assert len(taken) == 1
    assert trained.weight.grad is not None
    frozen(x)
    assert len(taken) == 1  # the block has ended


@needs_it
@pytest.mark.parametrize("name", ["glyph-vit", "glyph-resnet"])
def test_towers_ask_for_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[Any] = []
    real = onednn._product
    monkeypatch.setattr(onednn, "_product", lambda *given: taken.append(given) or real(*given))
    monkeypatch.setattr(onednn, "FASTER", True)
    clip = load_backbone(name)
    clip.class_embeddings(clip.context("a photo of a"), ["alpha", "beta"])
    texts = len(taken)
    assert texts > 0
    images = torch.rand(2, 3, clip.image_size, clip.image_size)
    found = clip.encode_image(images)
    assert (len(taken) > texts) == (name == "glyph-vit")  # a ResNet is made of convolutions
    monkeypatch.setattr(onednn, "FASTER", False)
    torch.testing.assert_close(found, clip.encode_image(images), rtol=0, atol=1e-5)


@pytest.mark.parametrize("faster", [False, pytest.param(True, marks=needs_it)])
def test_where_pytorch_is_the_faster_nothing_changes(
    faster: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[Any] = []
    monkeypatch.setattr(onednn, "_product", lambda x, *_: taken.append(x) or x)
    monkeypatch.setattr(onednn, "FASTER", faster)
    x, weight = torch.randn(3, 8), torch.randn(8, 8)
    with fast_linear():
        found = F.linear(x, weight)
    assert len(taken) == faster
    assert torch.equal(found, x if faster else x @ weight.t())
