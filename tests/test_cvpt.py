"""CVPT as its authors have it: the block, where it starts, and what it drops in training."""

from __future__ import annotations

import json
from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import pytest
import torch
from few_glyphs import Few, few, run
from torch import Tensor, nn
from visual_towers import TOWERS, module, pixels, tower

from dip_lib.clip.frozen_vision import frozen_vision_encoder
from dip_lib.clip.vision_encoder import Block, VisionEncoder
from dip_lib.methods.cvpt import CVPT, CrossPrompts, cross_attention
from dip_lib.methods.vpt import first_head, first_prompts
from dip_lib.training.condense import condensed
from dip_lib.training.run import Run
from dip_lib.training.visual import train_visual

N = 4
each_tower = pytest.mark.parametrize("name", TOWERS)
NOTHING = {"dropout": 0.0, "drop_path": 0.0}


def model_of(made: VisionEncoder, depth: int = 3, **settings: Any) -> CrossPrompts:
    prompts = [5 * prompt for prompt in first_prompts(made, N, depth, 1)]
    return CrossPrompts(made, prompts, first_head(made, 5, 1), **settings)


# ---- the block -----------------------------------------------------------------------------------


def attention_of(block: Block, biases: bool = True) -> nn.MultiheadAttention:
    """Torch's own attention by the block's weights; else without biases of values and output."""
    width, (weight, bias) = len(block.outward), block.inward
    made = nn.MultiheadAttention(width, block.heads, batch_first=True).to(weight).eval()
    with torch.no_grad():
        for own, given in (
            (made.in_proj_weight, weight),
            (made.out_proj.weight, block.outward),
            (made.in_proj_bias, bias if bias is not None else 0 * weight[:, 0]),
            (made.out_proj.bias, block.outward_bias),
        ):
            assert own is not None and given is not None
            own.copy_(given)
        if not biases:
            made.in_proj_bias[2 * width :] = 0
            made.out_proj.bias.zero_()
    return made


def reference(
    model: CrossPrompts,
    images: Tensor,
    entries: Sequence[Tensor] = (),
    branches: Sequence[Tensor] = (),
) -> Tensor:
    """x + a1 attention(norm x), then + CA(x, e P), then + a2 MLP(norm x), by torch's attention.

    Args:
        entries: e (B, n, w) of each block; branches: (a1, a2) (2, B, 1, 1) of each.
    """
    x = model.tower.embed(images)
    for i, block in enumerate(model.tower.blocks):
        first, second = branches[i] if branches else (1, 1)
        normed = block.norms[0](x)
        own = attention_of(block)(normed, normed, normed, need_weights=False)[0]
        x = x + first * block.scales[0](own)
        if i < len(model.prompts):
            prompt = model.prompts[i].to(x.dtype).expand(len(x), -1, -1)
            prompt = entries[i] * prompt if entries else prompt
            x = x + attention_of(block, model.bias)(x, prompt, prompt, need_weights=False)[0]
        x = x + second * block.scales[1](block.mlp(block.norms[1](x)))
    return model.tower.finish(x)


def in_double(name: str) -> VisionEncoder:
    """A tower of its own, whose biases are not zero as those of random towers."""
    made = deepcopy(module(name)).double()
    draws = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for key, each in made.named_parameters():
            if key.endswith("bias"):
                each.add_(0.3 * torch.randn(each.shape, generator=draws))
    return frozen_vision_encoder(made, name)


@each_tower
@pytest.mark.parametrize("bias", [True, False])
def test_it_is_the_equations_by_the_blocks_own_weights(name: str, bias: bool) -> None:
    made, images = in_double(name), pixels(2).double()
    model = model_of(made, bias=bias).eval()
    with torch.no_grad():
        found, expected = model.features(images), reference(model, images)
        other = model_of(made, bias=not bias).eval().features(images)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    assert (found - other).abs().max() > 1e-3


@pytest.mark.parametrize("drops", [{"dropout": 0.4}, {"drop_path": 0.6}, {}])
def test_training_multiplies_entries_and_branches_of_each_image(
    drops: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    made, images = in_double("timm, random"), pixels(3).double()
    model = model_of(made, **NOTHING | drops) if drops else model_of(made, dropout=0.4)
    taken: dict[int, list[tuple[Tensor, float]]] = {3: [], 4: []}
    mask = CrossPrompts._mask

    def noted(self: CrossPrompts, shape: Sequence[int], rate: float, stream: int) -> Tensor:
        found = mask(self, shape, rate, stream)
        taken[len(shape)].append((found, rate))
        return found

    monkeypatch.setattr(CrossPrompts, "_mask", noted)
    with torch.no_grad():
        found = model.train().features(images)
        entries = [each.double() for each, _ in taken[3]]
        # none of the first block's branches is dropped
        branches = [torch.ones(2, 3, 1, 1)] + [each for each, _ in taken[4]] if taken[4] else []
        expected = reference(model, images, entries, branches)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    assert {each.shape for each in entries} <= {(3, N, made.width)}
    if model.drop_path:
        rates = torch.linspace(0, model.drop_path, 3).tolist()[1:]
        assert [rate for _, rate in taken[4]] == pytest.approx(rates)
    assert (found - model.eval().features(images)).abs().max() > 1e-3


def test_prompts_of_zero_add_one_vector_to_every_token() -> None:
    made = in_double("timm, random")
    block, x = made.blocks[0], made.embed(pixels(2).double())
    zero, bias, last = torch.zeros(N, made.width), block.inward[1], block.outward_bias
    assert bias is not None and last is not None
    expected = block.outward @ bias.chunk(3)[2] + last
    added = cross_attention(block, x, zero)
    torch.testing.assert_close(added, expected.expand_as(added), rtol=0, atol=1e-6)
    assert expected.abs().min() > 1e-4
    assert not cross_attention(block, x, zero, bias=False).any()


# ---- what is dropped -----------------------------------------------------------------------------


def test_masks_have_their_share_and_follow_seed_and_call_alone() -> None:
    made = tower("glyph-vit")
    model, same = (model_of(made, seed=7) for _ in range(2))
    other, shape = model_of(made, seed=8), (50, 40, 10)
    mask = model._mask(shape, 0.1, 100)
    assert set(mask.unique().tolist()) == {0.0, float(torch.tensor(1 / 0.9))}
    assert float((mask == 0).float().mean()) == pytest.approx(0.1, abs=4 * (0.09 / 20_000) ** 0.5)
    assert torch.equal(mask, same._mask(shape, 0.1, 100))
    assert not torch.equal(mask, other._mask(shape, 0.1, 100))
    assert not torch.equal(mask, model._mask(shape, 0.1, 101))
    images = pixels(2)
    first, second = (model.train().features(images) for _ in range(2))
    assert torch.equal(first, same.train().features(images))
    assert not torch.equal(first, second)
    assert torch.equal(second, same.features(images))
    assert (model.step, same.step, other.step) == (2, 2, 0)


@pytest.mark.parametrize("settings", [NOTHING, {"drop_path": 0.0}, {"dropout": 0.0}, {}])
def test_nothing_is_dropped_in_evaluation_or_at_rates_of_zero(settings: dict[str, float]) -> None:
    made, images = tower("glyph-vit"), pixels(2)
    model, plain = model_of(made, **settings), model_of(made, **NOTHING)
    expected = plain.eval().features(images)
    assert torch.equal(model.eval().features(images), expected)
    assert model.step == 0
    assert torch.equal(plain.train().features(images), expected)
    assert torch.equal(model.train().features(images), expected) == (settings == NOTHING)


def test_without_prompts_nothing_is_dropped() -> None:
    made, images = tower("glyph-vit"), pixels(2)
    for prompts in ([], first_prompts(made, 0, 4, 1)):
        model = CrossPrompts(made, prompts, first_head(made, 5, 1), drop_path=0.9).train()
        assert torch.equal(model.features(images), made.features(images))


def test_what_is_condensed_keeps_biases_and_rates() -> None:
    model = model_of(tower("glyph-vit"), bias=False, dropout=0.2, drop_path=0.3, seed=5)
    small = condensed(model, [torch.tensor([1, 3])] * 3)
    assert isinstance(small, CrossPrompts)
    assert (small.bias, small.dropout, small.drop_path, int(small.seed)) == (False, 0.2, 0.3, 5)
    assert small.tower is model.tower
    assert [len(prompt) for prompt in small.prompts] == [2, 2, 2]


# ---- where it starts -----------------------------------------------------------------------------


def test_prompts_start_by_xaviers_rule_over_all_of_them() -> None:
    made = tower("glyph-vit")
    own, like_vpt = (
        torch.stack(CVPT(vectors=9, depth=4, start=start).prompts(made, pixels(), 1))
        for start in ("prompts", "patches")
    )
    fans = nn.init._calculate_fan_in_and_fan_out(own)
    bound = (6 / sum(fans)) ** 0.5
    assert 0.99 * bound < own.abs().max() <= bound
    assert abs(float(own.mean())) < 0.03 * bound
    torch.testing.assert_close(own / own.abs().max(), like_vpt / like_vpt.abs().max())
    assert torch.equal(like_vpt, torch.stack(first_prompts(made, 9, 4, 1)))


# ---- runs ----------------------------------------------------------------------------------------


def test_settings_come_back_from_a_record_and_name_the_run() -> None:
    changes: list[dict[str, Any]] = [
        *({"start": "patches"}, {"bias": False}, {"prompt_dropout": 0.2}, {"drop_path": 0.0}),
        CVPT.earlier,
    ]
    runs = [run("cvpt"), *(run("cvpt", **each) for each in changes)]
    assert len({each.key() for each in runs}) == len(runs)
    for each in runs:
        again = Run.from_dict(json.loads(json.dumps(each.to_dict())))
        assert (again, again.key()) == (each, each.key())


def test_a_record_of_before_means_what_was_done_then() -> None:
    stored = run("cvpt").to_dict()
    for name in CVPT.earlier:
        del stored["method"][name]
    assert Run.from_dict(stored) == run("cvpt", **CVPT.earlier) != run("cvpt")


def test_a_run_that_drops_is_reproducible_and_another_than_one_that_does_not() -> None:
    clip = few().clip
    ends = [
        train_visual([run("cvpt", vectors=3, **settings)], clip, Few())[0].tensors
        for settings in ({}, {}, {"prompt_dropout": 0.0}, {"drop_path": 0.0}, {"bias": False})
    ]
    first, again, *others = (end["prompts.0"] for end in ends)
    assert torch.equal(first, again)
    assert not any(torch.equal(first, other) for other in others)


@pytest.mark.parametrize(
    ("settings", "token"),
    [
        ({"start": "patch"}, "'patches'"),
        ({"bias": 1}, "bias = 1"),
        ({"prompt_dropout": 1.0}, "prompt_dropout = 1.0"),
        ({"prompt_dropout": -0.1}, "prompt_dropout = -0.1"),
        ({"drop_path": 1}, "drop_path = 1.0"),
        ({"drop_path": float("nan")}, "drop_path = nan"),
    ],
)
def test_bad_settings_are_refused_by_name(settings: dict[str, Any], token: str) -> None:
    with pytest.raises(ValueError, match=token):
        CVPT(**settings)
