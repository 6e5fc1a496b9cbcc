"""Prompts in a frozen tower of either library: what they change, leave as it is, and cost."""

from __future__ import annotations

import pytest
import timm
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from visual_towers import TOWERS, module, pixels, tower

from dip_lib import load_backbone
from dip_lib.clip import onednn
from dip_lib.clip.frozen_vision import frozen_vision_encoder
from dip_lib.clip.onednn import fast_linear
from dip_lib.clip.vision_encoder import VisionEncoder
from dip_lib.methods.cvpt import CrossPrompts
from dip_lib.methods.memvp import MemoryPrompt
from dip_lib.methods.spt import prototypes
from dip_lib.methods.vpt import VisualPrompts, first_head, first_prompts
from dip_lib.training.attention import attention, effective_rank

each_tower = pytest.mark.parametrize("name", TOWERS)
KINDS = (VisualPrompts, CrossPrompts)


@fast_linear()
def plain(name: str, images: Tensor) -> Tensor:
    """What the library itself makes of images: the class token or mean behind the last norm."""
    visual = module(name)
    if "timm" in name:
        return visual(images)
    visual.proj = None  # open_clip then hands over the feature before its projection
    return visual(images)


def model_of(
    made: VisionEncoder, n: int, depth: int, kind: type[VisualPrompts] = VisualPrompts
) -> VisualPrompts:
    return kind(made, first_prompts(made, n, depth, 1), first_head(made, 5, 1)).eval()


def published(model: VisualPrompts, images: Tensor) -> Tensor:
    """The features (B, w) as the methods' papers compute them: every prompt a token."""
    if not model.in_sequence:
        return model.features(images)
    made = model.tower
    return made.finish(made.states(images, model.matrices)[-1][:, : made.tokens])


# ---- the plain tower ----------------------------------------------------------------------------


@each_tower
@pytest.mark.parametrize("kind", KINDS)
def test_no_prompts_leave_the_plain_tower_exactly(name: str, kind: type[VisualPrompts]) -> None:
    made, images = tower(name), pixels()
    expected = plain(name, images)
    nothing = kind(made, [], first_head(made, 5, 1))
    assert torch.equal(nothing.features(images), expected)
    assert torch.equal(tower(name).features(images), expected)
    empty = model_of(made, 0, len(made.blocks))
    assert torch.equal(empty.features(images), expected)


@each_tower
def test_cross_attention_to_prompts_of_zero_leaves_the_plain_tower(name: str) -> None:
    made, images = tower(name), pixels()
    prompts = first_prompts(made, 4, len(made.blocks), 1)
    model = CrossPrompts(made, prompts, first_head(made, 5, 1), bias=False).eval()
    assert (model.features(images) - plain(name, images)).abs().max() > 1e-3
    with torch.no_grad():
        for prompt in model.prompts:
            prompt.zero_()
    torch.testing.assert_close(model.features(images), plain(name, images), rtol=0, atol=1e-5)


def test_a_tower_in_half_precision_reads_full_prompts() -> None:
    made = frozen_vision_encoder(load_backbone("glyph-vit", precision="bf16").model)
    assert model_of(made, 3, 4).features(pixels()).dtype == torch.bfloat16


# ---- prompts ------------------------------------------------------------------------------------


@each_tower
def test_deep_prompts_replace_those_of_the_block_before(name: str) -> None:
    made, prompts = tower(name), first_prompts(tower(name), 4, 3, 1)
    deep = made.states(pixels(), prompts)
    shallow = made.states(pixels(), prompts[:1])
    assert {x.shape[1] for x in deep[:3]} == {x.shape[1] for x in shallow} == {made.tokens + 4}
    for i in range(3):
        assert torch.equal(deep[i][:, made.tokens :], prompts[i].expand(4, -1, -1))
    assert not torch.equal(shallow[1][:, made.tokens :], shallow[0][:, made.tokens :])
    # what the first block made of its prompts is gone: only the image's tokens go on
    with fast_linear():
        expected = made.blocks[0](deep[0])
    assert torch.equal(deep[1][:, : made.tokens], expected[:, : made.tokens])


def test_blocks_may_hold_different_numbers_or_none() -> None:
    made = tower("glyph-vit")
    prompts = [first_prompts(made, n, 1, n)[0] for n in (3, 0, 5, 1)]
    lengths = [x.shape[1] - made.tokens for x in made.states(pixels(), prompts)]
    assert lengths == [3, 0, 5, 1, 1]


def test_where_the_prompts_stand_does_not_matter() -> None:
    made, images = tower("glyph-vit"), pixels()
    (prompt,) = first_prompts(made, 4, 1, 1)
    x = made.embed(images)
    rows = prompt.expand(4, -1, -1)
    x = torch.cat([x[:, :1], rows, x[:, 1:]], 1)  # behind the class token, as VPT has them
    for block in made.blocks:
        x = block(x)
    expected = made.finish(torch.cat([x[:, :1], x[:, 5:]], 1))
    torch.testing.assert_close(made.features(images, [prompt]), expected, rtol=0, atol=1e-5)


def test_prompts_start_within_xaviers_bound_and_fill_it() -> None:
    made = tower("glyph-vit")
    bound = (6 / (3 * 8 * 8 + 128)) ** 0.5
    prompts = torch.stack(first_prompts(made, 50, 4, 1))
    assert 0.99 * bound < prompts.abs().max() <= bound
    assert abs(float(prompts.mean())) < 0.02 * bound
    assert not torch.equal(prompts[0], prompts[1])
    assert torch.equal(prompts, torch.stack(first_prompts(made, 50, 4, 1)))


@each_tower
@pytest.mark.parametrize("kind", KINDS)
def test_only_prompts_and_head_train(name: str, kind: type[VisualPrompts]) -> None:
    made = tower(name)
    model = model_of(made, 3, 2, kind)
    names = {n for n, p in model.named_parameters() if p.requires_grad}
    assert names == {"prompts.0", "prompts.1", "head.weight", "head.bias"}
    model(pixels()).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in model.parameters())


@each_tower
@pytest.mark.parametrize("counts", [(4,), (4, 0), (3, 5, 2), (0, 4), (5, 0, 2)])
def test_computing_only_what_is_read_changes_nothing(name: str, counts: tuple[int, ...]) -> None:
    made, images = tower(name), pixels()
    prompts = [4 * first_prompts(made, n, 1, i)[0] for i, n in enumerate(counts)]
    model = VisualPrompts(made, prompts, first_head(made, 5, 1))

    def gradients(features: Tensor) -> list[Tensor]:
        loss = model.head(features).square().sum()
        return list(torch.autograd.grad(loss, [p for p in model.parameters() if p.numel()]))

    found, expected = model.features(images), published(model, images)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    for got, wanted in zip(gradients(found), gradients(expected), strict=True):
        largest = max(1.0, float(wanted.abs().max()))
        torch.testing.assert_close(got, wanted, rtol=0, atol=1e-5 * largest)


def test_less_is_computed_with_prompts_in_every_block() -> None:
    made = tower("open_clip, random")
    model = model_of(made, 20, 3)
    work = []
    for way in (lambda: published(model, pixels(1)), lambda: model.features(pixels(1))):
        with FlopCounterMode(display=False) as counter, pytest.MonkeyPatch.context() as patch:
            patch.setattr(onednn, "FASTER", False)
            way()
        work.append(counter.get_total_flops())
    assert work[1] < 0.5 * work[0]


# ---- prototypes ---------------------------------------------------------------------------------


def test_prototypes_are_centres_of_the_tokens_that_enter_each_block() -> None:
    made, images = tower("glyph-vit"), pixels(6)
    found = prototypes(made, images, 7, 3, 1)
    for entering, centres in zip(made.states(images), found, strict=False):
        bank = entering[:, -36:].flatten(0, 1)
        nearest = torch.cdist(bank, centres).argmin(1)
        assert len(nearest.unique()) == 7
        spread = (bank - centres[nearest]).square().sum()
        assert spread < (bank - bank.mean(0)).square().sum()
    again = prototypes(made, images, 7, 3, 1)
    assert all(torch.equal(a, b) for a, b in zip(found, again, strict=True))
    # one centre is the mean, whatever the start
    (mean,) = prototypes(made, images, 1, 1, 3)
    expected = made.embed(images)[:, 1:].flatten(0, 1).mean(0, keepdim=True)
    torch.testing.assert_close(mean, expected, rtol=0, atol=1e-5)


# ---- cost ---------------------------------------------------------------------------------------


@each_tower
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("counts", [(0, 0, 0), (4,), (4, 4, 4), (5, 0, 2)])
def test_counted_flops_equal_torchs_counter(
    name: str,
    kind: type[VisualPrompts],
    counts: tuple[int, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = tower(name)
    monkeypatch.setattr(onednn, "FASTER", False)  # the counter knows torch's own products
    prompts = [first_prompts(made, n, 1, 1)[0] for n in counts]
    model = kind(made, prompts, first_head(made, 5, 1))
    torch.backends.mha.set_fastpath_enabled(False)  # a fused kernel that the counter cannot see
    try:
        with FlopCounterMode(display=False) as counter:
            model.head(published(model, pixels(1)))
    finally:
        torch.backends.mha.set_fastpath_enabled(True)
    assert model.flops() == counter.get_total_flops()


# ---- attention ----------------------------------------------------------------------------------


@each_tower
def test_attention_maps_are_those_of_the_block(name: str) -> None:
    made = tower(name)
    for block, x in zip(made.blocks, made.states(pixels()), strict=False):
        maps = block.maps(x)
        torch.testing.assert_close(maps.sum(-1), torch.ones(maps.shape[:-1]))
        value = block.projected(block.norms[0](x), 2)
        read = (maps @ value).transpose(1, 2).flatten(2) @ block.outward.T
        given = block.attention(block.norms[0](x))
        bias = given - read  # nothing but the output's bias is left
        torch.testing.assert_close(bias, bias[:1, :1].expand_as(bias), rtol=0, atol=1e-5)


def test_mass_is_the_prompts_share_and_rank_lies_between_one_and_the_tokens() -> None:
    made = tower("glyph-vit")
    mass, rank = attention(model_of(made, 0, 4), pixels())
    assert mass == [0, 0, 0, 0]
    assert all(1 < r < made.tokens for r in rank)
    more, _ = attention(model_of(made, 9, 4), pixels())
    assert all(0.01 < m < 0.9 for m in more)
    assert float(effective_rank(torch.ones(5))) == pytest.approx(5)
    assert float(effective_rank(torch.tensor([3.0, 0.0]))) == pytest.approx(1)


# ---- MemVP --------------------------------------------------------------------------------------


def test_memvp_follows_its_formula() -> None:
    torch.manual_seed(0)
    frozen = nn.Sequential(nn.Linear(6, 12), nn.GELU(), nn.Linear(12, 6))
    layer = MemoryPrompt(frozen, rows=4, width=6, scale=0.1, dropout=0.5).eval()
    with torch.no_grad():
        layer.values.normal_()
    x, visual = torch.randn(2, 5, 6), torch.randn(2, 3, 6)
    for b in range(2):
        for t in range(5):
            expected = frozen(x[b, t])
            for row in range(4):
                v = visual[b, row] if row < 3 else torch.zeros(6)  # padded with zeros
                key = x[b, t] @ (v + layer.keys[0, row])
                expected = expected + 0.1 * key * torch.sigmoid(key) * (v + layer.values[0, row])
            torch.testing.assert_close(layer(x, visual)[b, t], expected)
    assert {n for n, p in layer.named_parameters() if p.requires_grad} == {"keys", "values"}
    assert not torch.equal(layer.train()(x, visual), layer.eval()(x, visual))
    with pytest.raises(ValueError, match=r"\(5, 6\)"):
        layer(x, torch.zeros(2, 5, 6))


# ---- bad input ----------------------------------------------------------------------------------


def test_runs_at_once_read_what_each_reads_alone() -> None:
    made, images = tower("glyph-vit"), pixels(6).view(2, 3, 3, 48, 48)
    alone = [first_prompts(made, 4, 3, seed) for seed in (1, 2)]
    together = [torch.stack(each) for each in zip(*alone, strict=True)]
    both = made.finish(made.prompted(images, together)).unflatten(0, (2, 3))
    for r in range(2):
        torch.testing.assert_close(both[r], made.features(images[r], alone[r]), rtol=0, atol=1e-5)
    shared = made.finish(made.prompted(images[:1], together)).unflatten(0, (2, 3))
    torch.testing.assert_close(shared[0], both[0], rtol=0, atol=1e-5)


def test_what_a_tower_cannot_have_is_refused() -> None:
    made = tower("glyph-vit")
    with pytest.raises(ValueError, match="201"):
        first_prompts(made, 201, 4, 1)
    with pytest.raises(ValueError, match="5"):
        first_prompts(made, 4, 5, 1)
    with pytest.raises(ValueError, match="5"):
        made.states(pixels(), [torch.zeros(1, 128)] * 5)
    with pytest.raises(ValueError, match=r"\(3, 64\)"):
        made.states(pixels(), [torch.zeros(3, 64)])
    with pytest.raises(ValueError, match="40"):
        prototypes(made, pixels(1), 40, 1, 1)


def test_towers_without_blocks_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="ModifiedResNet"):
        frozen_vision_encoder(load_backbone("glyph-resnet").model, "glyph-resnet")
    with pytest.raises(ValueError, match="ResNet"):
        frozen_vision_encoder(timm.create_model("resnet18"))
    normed = timm.create_model("vit_tiny_patch16_224", qk_norm=True, depth=1)
    with pytest.raises(ValueError, match="Block"):
        frozen_vision_encoder(normed)
