"""Prompts in the image tower: a plain forward, block by block, says what they must do."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from peer_methods import image_features, unit
from torch import Tensor

from dip_lib import load_backbone
from dip_lib.clip.backbone import Backbone
from dip_lib.clip.prompted_vision import encode_prompted, image_as_read, image_width

WIDTH = 128


@pytest.fixture(scope="module")
def clip() -> Backbone:
    return load_backbone("glyph-vit")


@pytest.fixture(scope="module")
def pixels() -> Tensor:
    torch.manual_seed(0)
    return torch.randn(2, 4, 3, 48, 48)  # (R, B, 3, S, S)


def prompts_of(*vectors: int, runs: int = 2, wide: int = WIDTH) -> list[Tensor]:
    """A prompt (R, n, w) for each block, n as given."""
    torch.manual_seed(1)
    return [0.3 * torch.randn(runs, n, wide) for n in vectors]


@pytest.mark.parametrize("vectors", [(4,), (2, 2), (2, 2, 2), (4, 1, 3), (1, 2, 3, 2)])
def test_prompts_are_read_as_in_a_plain_forward(
    clip: Backbone, pixels: Tensor, vectors: tuple[int, ...]
) -> None:
    prompts = prompts_of(*vectors)
    found = encode_prompted(clip, pixels, prompts)
    assert found.shape == (2, 4, 128)
    assert found.dtype == torch.float32
    for r in range(2):
        first, *deep = (prompt[r] for prompt in prompts)
        expected = unit(image_features(clip, pixels[r], first, deep))
        torch.testing.assert_close(found[r], expected, rtol=0, atol=1e-5)
    plain = torch.stack([clip.encode_image(each) for each in pixels])
    assert (found - plain).abs().max() > 0.01


def test_every_block_counts(clip: Backbone, pixels: Tensor) -> None:
    found = [encode_prompted(clip, pixels, prompts_of(*[3] * depth)) for depth in (1, 2, 3, 4)]
    for fewer, more in pairwise(found):
        assert (fewer - more).abs().max() > 1e-3


@pytest.mark.parametrize("depth", [1, 4])
def test_prompts_of_no_vectors_leave_the_plain_tower(
    clip: Backbone, pixels: Tensor, depth: int
) -> None:
    found = encode_prompted(clip, pixels, prompts_of(*[0] * depth))
    plain = torch.stack([clip.encode_image(each) for each in pixels])
    torch.testing.assert_close(found, plain, rtol=0, atol=1e-5)


def test_runs_at_once_equal_each_alone(clip: Backbone, pixels: Tensor) -> None:
    prompts = prompts_of(2, 3)
    both = encode_prompted(clip, pixels, prompts)
    for r in range(2):
        alone = encode_prompted(clip, pixels[r : r + 1], [p[r : r + 1] for p in prompts])
        torch.testing.assert_close(both[r], alone[0], rtol=0, atol=1e-5)


def test_images_can_be_shared_by_all_runs(clip: Backbone, pixels: Tensor) -> None:
    prompts = prompts_of(2, 3, runs=3)
    shared = encode_prompted(clip, pixels[:1], prompts)
    repeated = encode_prompted(clip, pixels[:1].expand(3, -1, -1, -1, -1), prompts)
    assert shared.shape == (3, 4, 128)
    torch.testing.assert_close(shared, repeated, rtol=0, atol=1e-5)


def test_an_image_is_encoded_alike_in_any_company(clip: Backbone, pixels: Tensor) -> None:
    prompts = prompts_of(2, 2)
    whole = encode_prompted(clip, pixels, prompts)
    part = encode_prompted(clip, pixels[:, 1:2], prompts)
    torch.testing.assert_close(whole[:, 1:2], part, rtol=0, atol=1e-5)


def test_the_order_of_a_blocks_prompts_means_nothing(clip: Backbone, pixels: Tensor) -> None:
    prompts = prompts_of(4, 3)
    turned = [prompts[0][:, [2, 0, 3, 1]], prompts[1][:, [1, 2, 0]]]
    torch.testing.assert_close(
        encode_prompted(clip, pixels, prompts),
        encode_prompted(clip, pixels, turned),
        rtol=0,
        atol=1e-5,
    )


def test_the_gradient_is_that_of_finite_differences(clip: Backbone, pixels: Tensor) -> None:
    exact = replace(clip, model=deepcopy(clip.model).double())
    torch.manual_seed(2)
    readout = torch.randn(2, 4, 128)
    prompts = [p.double().requires_grad_() for p in prompts_of(2, 3, 1)]

    def value(read: list[Tensor]) -> Tensor:
        return (encode_prompted(exact, pixels, read) * readout).double().sum()

    gradients = torch.autograd.grad(value(prompts), prompts)
    for i, gradient in enumerate(gradients):
        way, step = torch.randn_like(gradient), 1e-3
        ends = []
        for sign in (1, -1):
            moved = [p.detach() for p in prompts]
            moved[i] = moved[i] + sign * step * way
            ends.append(value(moved))
        slope = float((ends[0] - ends[1]) / (2 * step))
        assert abs(slope) > 0.05
        assert float((gradient * way).sum()) == pytest.approx(slope, rel=0.01)


def test_the_first_prompt_is_read_without_its_mean_and_scale(
    clip: Backbone, pixels: Tensor
) -> None:
    (prompt,) = prompts_of(4)
    read = image_as_read(clip, prompt)
    torch.testing.assert_close(read, image_as_read(clip, 3 * prompt + 0.5), rtol=0, atol=1e-3)
    assert (image_as_read(clip, prompt.flip(-1)) - read).abs().max() > 0.1
    # a deeper block reads its prompts as they are: handed over behind ln_pre they do the same there
    found = encode_prompted(clip, pixels, prompts_of(0, 4))
    tokens = clip.image_tower.prompted(pixels, [read[:, :0], prompts_of(0, 4)[1]])
    features = clip.image_tower.finish(tokens) @ clip.model.visual.proj
    expected = features / features.norm(dim=-1, keepdim=True)
    torch.testing.assert_close(found.flatten(0, 1), expected, rtol=0, atol=1e-5)
    with pytest.raises(ValueError, match="64"):
        image_as_read(clip, torch.zeros(4, 64))


def test_towers_stay_frozen(clip: Backbone, pixels: Tensor) -> None:
    prompts = [p.requires_grad_() for p in prompts_of(2, 2)]
    encode_prompted(clip, pixels, prompts).sum().backward()
    assert all(p.grad is not None for p in prompts)
    assert all(weight.grad is None for weight in clip.model.parameters())


def test_a_half_precision_tower_sees_nearly_the_same(pixels: Tensor) -> None:
    half, prompts = load_backbone("glyph-vit", precision="bf16"), prompts_of(2, 3)
    prompts = [p.requires_grad_() for p in prompts]
    rough = encode_prompted(half, pixels, prompts)
    exact = encode_prompted(load_backbone("glyph-vit"), pixels, prompts)
    assert rough.dtype == torch.float32
    assert float((rough * exact).sum(-1).min()) > 0.999
    rough.square().sum().backward()
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in prompts)


def test_open_clips_vision_transformers_read_prompts_too() -> None:
    clip = load_backbone("ViT-B-32")  # random weights
    assert image_width(clip) == 768
    torch.manual_seed(0)
    images, prompts = torch.randn(1, 2, 3, 224, 224), prompts_of(4, 2, runs=1, wide=768)
    found = encode_prompted(clip, images, prompts)[0]
    expected = unit(image_features(clip, images[0], prompts[0][0], [prompts[1][0]]))
    torch.testing.assert_close(found, expected.detach(), rtol=0, atol=1e-5)
    plain = clip.encode_image(images[0])
    none = encode_prompted(clip, images, prompts_of(0, runs=1, wide=768))[0]
    torch.testing.assert_close(none, plain, rtol=0, atol=1e-5)


def test_a_tower_without_blocks_is_refused_by_name(pixels: Tensor) -> None:
    resnet = load_backbone("glyph-resnet")
    with pytest.raises(ValueError, match="ModifiedResNet"):
        encode_prompted(resnet, pixels, prompts_of(2))
    with pytest.raises(ValueError, match="ModifiedResNet"):
        image_width(resnet)


@pytest.mark.parametrize("count", [0, 5])
def test_more_prompts_than_blocks_are_refused_and_none_at_all(
    clip: Backbone, pixels: Tensor, count: int
) -> None:
    with pytest.raises(ValueError, match="glyph-vit"):
        encode_prompted(clip, pixels, prompts_of(*[2] * count))
