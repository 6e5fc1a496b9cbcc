"""How prompts are held: where dropout sits, where a random context starts, what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from few_glyphs import DIP, IMAGE_SIDE, Bench, few, learned, run, start_of
from torch import Tensor

from dip_lib import LowRankPrompt
from dip_lib.errors import UnknownNameError
from dip_lib.methods import METHODS, method_of
from dip_lib.prompt.low_rank import NEXT_SEED, SITES
from dip_lib.training.parts import LowRank
from dip_lib.training.runs import Factored, State, factored, stack
from dip_lib.training.trainer import train

P = 0.3


@pytest.fixture(scope="module")
def bench() -> Bench:
    return few()


def state_of(site: str, full: bool = False, seeds: tuple[int, ...] = (1, 2)) -> State:
    """Two prompts (R, 4, 16) with updates that are not zero; ``full``: without factors."""
    torch.manual_seed(0)
    r = 0 if full else 2
    shapes = (4, 16), (4, r), (r, 16)
    prompts = [Factored(*(torch.randn(len(seeds), *s) for s in shapes)) for _ in range(2)]
    runs = len(seeds)
    return State(
        tuple(prompts),
        (),
        torch.full((runs, 1, 1), full),
        torch.full((runs, 1, 1), P),
        torch.tensor(seeds),
        site,
        (),
    )


def kept_shares(state: State, step: int) -> list[Tensor]:
    """What is left of each entry of the dropped part, as a share: (R, n, d) each."""
    shares = []
    for prompt, read in zip(state.prompts, state.learned(torch.tensor(step)).prompts, strict=True):
        update = prompt.a @ prompt.b
        whole = state.site == "prompt"
        part, base = (prompt.base + update, 0) if whole else (update, prompt.base)
        shares.append((read - base) / part)
    return shares


@pytest.mark.parametrize("site", SITES)
def test_dropout_drops_its_site_and_scales_the_rest(site: str) -> None:
    state = state_of(site)
    for step in range(5):
        for share in kept_shares(state, step):
            dropped = share.abs() < 1e-3
            torch.testing.assert_close(
                share[~dropped], torch.full_like(share[~dropped], 1 / (1 - P)), rtol=2e-3, atol=0
            )
            rows, columns = (dropped.float().std(axis) == 0 for axis in (2, 1))
            if site == "rows":
                assert rows.all()  # whole tokens
            elif site == "columns":
                assert columns.all()  # whole features, in all tokens
            else:
                assert not rows.all()
                assert not columns.all()


@pytest.mark.parametrize("site", SITES)
def test_dropped_prompts_are_right_on_average(site: str) -> None:
    state, steps = state_of(site), 4000
    whole, total = state.learned().prompts, [torch.zeros(2, 4, 16) for _ in range(2)]
    for step in range(steps):
        for sum_, read in zip(total, state.learned(torch.tensor(step)).prompts, strict=True):
            sum_ += read
    for sum_, plain, prompt in zip(total, whole, state.prompts, strict=True):
        part = plain if site == "prompt" else prompt.a @ prompt.b
        deviation = part.abs() * (P / (1 - P) / steps) ** 0.5
        assert ((sum_ / steps - plain).abs() < 5 * deviation + 1e-4).all()


@pytest.mark.parametrize("site", SITES)
def test_masks_follow_seed_step_and_prompt_and_nothing_else(site: str) -> None:
    state = state_of(site, seeds=(1, 1 + NEXT_SEED, 1))
    shares = [torch.stack(kept_shares(state, step)) for step in range(8)]
    patterns = torch.stack(shares, 1) > 0.5  # (prompt, step, run, n, d)
    assert torch.equal(patterns[:, :, 0], patterns[:, :, 2])
    # the second prompt draws from a seed of its own
    assert torch.equal(patterns[1, :, 0], patterns[0, :, 1])
    assert not torch.equal(patterns[0], patterns[1])
    assert len({str(each.tolist()) for each in patterns[0, :, 0]}) > 4


def test_a_prompt_without_factors_can_be_dropped_itself() -> None:
    for share in kept_shares(state_of("prompt", full=True), 3):
        assert 0.4 < (share > 1).float().mean() < 0.95
        assert share[share > 0].tolist() == pytest.approx([1 / (1 - P)] * int((share > 0).sum()))


def test_without_dropout_a_step_reads_what_is_evaluated() -> None:
    for site in SITES:
        state = replace(state_of(site), dropout=torch.zeros(2, 1, 1))
        for step, plain in zip(
            state.learned(torch.tensor(2)).prompts, state.learned().prompts, strict=True
        ):
            assert torch.equal(step, plain)


# ---- where a prompt starts -------------------------------------------------------------------


def test_random_vectors_have_their_deviation_and_follow_the_seed(bench: Bench) -> None:
    wide: dict[str, Any] = {"context": "", "vectors": 4}
    runs = bench.prepare(run("coop", **wide), run("coop", seed=2, **wide), run("coop", **wide))
    (prompts,) = learned(runs).prompts
    assert prompts.shape == (3, 4, 128)
    assert torch.equal(prompts[0], prompts[2])
    assert (prompts[0] - prompts[1]).std() > 0.02
    assert prompts[:2].std((1, 2)).tolist() == pytest.approx([0.02] * 2, rel=0.1)
    assert prompts.mean().abs() < 0.003


def test_dip_without_words_has_no_p0(bench: Bench) -> None:
    dip = run("coop", low_rank=LowRank(rank=2), context="", vectors=4)
    state = bench.prepare(dip).state
    ((base, a, b),) = state.prompts
    assert not base.any()
    assert a.any()
    assert b.any()
    alone = LowRankPrompt(None, 2, 0.5, seed=dip.seed, shape=(4, 128))
    assert torch.equal(a[0], alone.A)
    assert torch.equal(b[0], alone.B)
    alone.update.step = 3
    (dropped,) = state.learned(torch.tensor(3)).prompts
    torch.testing.assert_close(dropped[0], alone(), rtol=0, atol=1e-7)
    seeds = [learned(bench.prepare(replace(dip, seed=s))).prompts[0] for s in range(30)]
    assert float(torch.stack(seeds).std()) == pytest.approx(0.02, rel=0.1)


def test_deep_prompts_keep_their_p0_in_a_random_context(bench: Bench) -> None:
    runs = bench.prepare(run("promptsrc", low_rank=DIP, context="", vectors=4))
    first, *deep = runs.state.prompts
    assert not first.base.any()
    for prompt, begun in zip(deep, start_of(runs).prompts[1:], strict=True):
        assert torch.equal(prompt.base[0], begun)
        assert not prompt.b.any()
    assert len({float(prompt.a.detach().sum()) for prompt in runs.state.prompts}) == 6


def test_runs_of_several_ranks_share_a_state(bench: Bench) -> None:
    dips = (LowRank(rank=r, dropout=0.0) for r in (1, 3))
    runs = bench.prepare(*(run("coop", i, each) for i, each in enumerate((None, *dips))))
    ((_, a, b),) = runs.state.prompts
    assert (a.shape, b.shape) == ((3, 4, 3), (3, 3, 128))
    assert [int(each.any(0).sum()) for each in a] == [0, 1, 3]
    assert runs.state.full.flatten().tolist() == [True, False, False]
    assert runs.trainable == (4 * 128, 4 + 128, 3 * (4 + 128))
    own = stack([start_of(runs, 2)], runs.runs[2:], has_words=True).prompts[0]
    assert torch.equal(own.a[0], a[2])


# ---- faults ----------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["coop", "kgcoop"])
@pytest.mark.parametrize("rank", [5, 9])
def test_a_rank_above_those_of_the_prompt_is_refused(method: str, rank: int) -> None:
    dip = run(method, low_rank=LowRank(rank=rank))
    with pytest.raises(ValueError, match=f"rank = {rank}"):
        factored(torch.randn(4, 16), 0, dip, has_words=True)


@pytest.mark.parametrize("method", [n for n, kind in METHODS.items() if not kind.sites])
def test_a_method_whose_prompts_are_never_held_so_refuses_an_update(method: str) -> None:
    with pytest.raises(ValueError, match=METHODS[method].label):
        run(method, low_rank=DIP)


@pytest.mark.parametrize("method", ["vpt", "spt", "cvpt"])
def test_a_site_that_the_method_does_not_have_is_refused(method: str) -> None:
    with pytest.raises(ValueError, match="'rows'"):
        run(method, low_rank=LowRank(site="rows"))


def test_words_and_random_vectors_are_refused_together() -> None:
    with pytest.raises(ValueError, match="vectors=4"):
        run("coop", vectors=4)
    with pytest.raises(ValueError, match="vectors=0"):
        run("coop", context="")


@pytest.mark.parametrize("method", IMAGE_SIDE)
def test_prompts_of_an_image_tower_need_a_transformer(method: str) -> None:
    resnet = few("glyph-resnet")
    with pytest.raises(ValueError, match="ModifiedResNet"):
        train([run(method, backbone="glyph-resnet")], resnet.clip, resnet.dataset, resnet.features)


@pytest.mark.parametrize("method", IMAGE_SIDE)
def test_a_depth_that_the_tower_does_not_have_is_refused(bench: Bench, method: str) -> None:
    with pytest.raises(ValueError, match="depth = 0"):
        run(method, depth=0)
    with pytest.raises(ValueError, match="3 blocks"):
        train([run(method, depth=4)], bench.clip, bench.dataset, bench.features)


@pytest.mark.parametrize(
    ("name", "near"), [("kgcop", "kgcoop"), ("prompt-src", "promptsrc"), ("cocop", "cocoop")]
)
def test_an_unknown_method_is_refused_with_the_nearest(name: str, near: str) -> None:
    with pytest.raises(UnknownNameError, match=near):
        method_of(METHODS, name)
