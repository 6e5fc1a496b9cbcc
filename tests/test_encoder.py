"""Classes in parts: the same embeddings and gradients in any number of parts, in less memory."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import Tensor, nn

from dip_lib import load_backbone
from dip_lib.clip.backbone import Backbone
from dip_lib.data import load_dataset


@pytest.fixture(scope="module")
def clip() -> Backbone:
    return load_backbone("glyph-vit")


@pytest.fixture(scope="module")
def names() -> tuple[str, ...]:
    return load_dataset("cyrillic").class_names[:40]


def gradients(
    clip: Backbone, names: tuple[str, ...], memory: int, prompts: list[Tensor], per_class: bool
) -> tuple[Tensor, tuple[Tensor, ...], int]:
    """Embeddings, gradients of a fixed loss, and the number of parts."""
    encoder = clip.encoder(names, prompts[0].shape[-2], per_class)
    encoder.memory = memory
    leaves = [p.clone().requires_grad_() for p in prompts]
    found = encoder(leaves[0], leaves[1:])
    weight = torch.linspace(-1, 1, found.numel()).view(found.shape)
    parts = encoder._parts_needed(len(prompts[0]), keep=True)
    return found.detach(), torch.autograd.grad((found * weight).sum(), leaves), parts


@pytest.mark.parametrize("per_class", [False, True])
@pytest.mark.parametrize("memory", [5_000_000, 1])
def test_parts_change_neither_embeddings_nor_gradients(
    clip: Backbone, names: tuple[str, ...], memory: int, per_class: bool
) -> None:
    source = torch.Generator().manual_seed(1)
    shape = (2, len(names), 3, 128) if per_class else (2, 3, 128)
    prompts = [0.05 * torch.randn(shape, generator=source) for _ in range(2)]
    whole, wanted, one = gradients(clip, names, 2**40, prompts, per_class)
    found, got, parts = gradients(clip, names, memory, prompts, per_class)
    assert one == 1
    assert parts == len(names) if memory == 1 else 1 < parts < len(names)
    assert (found - whole).abs().max() < 1e-6
    for a, b in zip(got, wanted, strict=True):
        assert (a - b).abs().max() < 1e-5 * b.abs().max()


def test_evaluation_keeps_nothing_and_needs_fewer_parts(
    clip: Backbone, names: tuple[str, ...]
) -> None:
    encoder = clip.encoder(names, 3)
    encoder.memory = 5_000_000
    assert encoder._parts_needed(2, keep=False) < encoder._parts_needed(2, keep=True)


def starve(clip: Backbone, rows: int) -> None:
    """Let the tower's first block ask for a petabyte as soon as it sees more than ``rows`` rows."""

    def ask(module: nn.Module, inputs: tuple[Tensor]) -> None:
        if inputs[0].shape[1] > rows:
            torch.empty(2**50)

    clip.model.transformer.resblocks[0].attn.out_proj.register_forward_pre_hook(ask)


@pytest.mark.parametrize("evaluating", [False, True])
def test_running_out_of_memory_halves_the_classes_and_says_so_once(
    names: tuple[str, ...], evaluating: bool
) -> None:
    clip, starved = load_backbone("glyph-vit"), load_backbone("glyph-vit")
    starve(starved, rows=20)
    context = clip.context("a photo of a").requires_grad_()
    with warnings.catch_warnings(record=True) as said, torch.set_grad_enabled(not evaluating):
        warnings.simplefilter("always")
        found = [starved.class_embeddings(context, names) for _ in range(2)][1]
    assert [str(w.message).split(":")[0] for w in said] == [
        "out of memory with 40 classes at a time"
    ]
    assert starved.encoder(names, 4).parts_at_least >= 8
    wanted = clip.class_embeddings(context, names)
    assert (found - wanted).abs().max() < 1e-6
    if not evaluating:
        a, b = (
            torch.autograd.grad(x.square().sum() + x[0, 0], context)[0] for x in (found, wanted)
        )
        assert (a - b).abs().max() < 1e-5 * b.abs().max()


def test_a_class_too_large_for_memory_is_an_error(names: tuple[str, ...]) -> None:
    starved = load_backbone("glyph-vit")
    starve(starved, rows=3)
    with (
        pytest.warns(UserWarning, match="memory"),
        pytest.raises(RuntimeError, match="allocate"),
    ):
        starved.class_embeddings(starved.context("a photo of a"), names)


def test_other_faults_are_not_taken_for_memory(clip: Backbone, names: tuple[str, ...]) -> None:
    encoder = clip.encoder(names, 5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(RuntimeError, match="expand|size|shape"):
            encoder(torch.zeros(1, 2, 128))
    assert encoder.parts_at_least == 1
