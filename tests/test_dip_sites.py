"""How prompts are held: where dropout sits, where a random context starts, what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from few_glyphs import Bench, few, run
from torch import Tensor

from dip_lib import LowRankPrompt
from dip_lib.errors import UnknownNameError
from dip_lib.methods.dip import NEXT_SEED, LowRank, held
from dip_lib.training.run import RunSpec
from dip_lib.training.step import State, stack
from dip_lib.training.trainer import train

P = 0.3
SITES = ("update", "prompt", "rows", "columns")


@pytest.fixture(scope="module")
def bench() -> Bench:
    return few()


def state_of(site: str, full: bool = False, seeds: tuple[int, ...] = (1, 2)) -> State:
    """Two prompts (R, 4, 16) with updates that are not zero; ``full``: without factors."""
    torch.manual_seed(0)
    r = 0 if full else 2
    shapes = (4, 16), (4, r), (r, 16)
    prompts = [LowRank(*(torch.randn(len(seeds), *s) for s in shapes)) for _ in range(2)]
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


def kept(state: State, step: int) -> list[Tensor]:
    """What is left of each entry of the dropped part, as a share: (R, n, d) each."""
    shares = []
    for prompt, read in zip(state.prompts, state.learnt(torch.tensor(step)).prompts, strict=True):
        update = prompt.a @ prompt.b
        whole = state.site == "prompt"
        part, base = (prompt.base + update, 0) if whole else (update, prompt.base)
        shares.append((read - base) / part)
    return shares


@pytest.mark.parametrize("site", SITES)
def test_dropout_drops_its_site_and_scales_the_rest(site: str) -> None:
    state = state_of(site)
    for step in range(5):
        for share in kept(state, step):
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
    whole, total = state.learnt().prompts, [torch.zeros(2, 4, 16) for _ in range(2)]
    for step in range(steps):
        for sum_, read in zip(total, state.learnt(torch.tensor(step)).prompts, strict=True):
            sum_ += read
    for sum_, plain, prompt in zip(total, whole, state.prompts, strict=True):
        part = plain if site == "prompt" else prompt.a @ prompt.b
        deviation = part.abs() * (P / (1 - P) / steps) ** 0.5
        assert ((sum_ / steps - plain).abs() < 5 * deviation + 1e-4).all()


@pytest.mark.parametrize("site", SITES)
def test_masks_follow_seed_step_and_prompt_and_nothing_else(site: str) -> None:
    state = state_of(site, seeds=(1, 1 + NEXT_SEED, 1))
    shares = [torch.stack(kept(state, step)) for step in range(8)]
    patterns = torch.stack(shares, 1) > 0.5  # (prompt, step, run, n, d)
    assert torch.equal(patterns[:, :, 0], patterns[:, :, 2])
    # the second prompt draws from a seed of its own
    assert torch.equal(patterns[1, :, 0], patterns[0, :, 1])
    assert not torch.equal(patterns[0], patterns[1])
    assert len({str(each.tolist()) for each in patterns[0, :, 0]}) > 4


def test_a_prompt_without_factors_can_be_dropped_itself() -> None:
    for share in kept(state_of("prompt", full=True), 3):
        assert 0.4 < (share > 1).float().mean() < 0.95
        assert share[share > 0].tolist() == pytest.approx([1 / (1 - P)] * int((share > 0).sum()))


def test_without_dropout_a_step_reads_what_is_evaluated() -> None:
    for site in SITES:
        state = replace(state_of(site), dropout=torch.zeros(2, 1, 1))
        for step, plain in zip(
            state.learnt(torch.tensor(2)).prompts, state.learnt().prompts, strict=True
        ):
            assert torch.equal(step, plain)


# ---- where a prompt starts -------------------------------------------------------------------


def test_random_vectors_have_their_deviation_and_follow_the_seed(bench: Bench) -> None:
    wide: dict[str, Any] = {"context": "", "vectors": 4}
    runs = bench.runs(run("coop", **wide), run("coop", seed=2, **wide), run("coop", **wide))
    (prompts,) = runs.learnt().prompts
    assert prompts.shape == (3, 4, 128)
    assert torch.equal(prompts[0], prompts[2])
    assert (prompts[0] - prompts[1]).std() > 0.02
    assert prompts[:2].std((1, 2)).tolist() == pytest.approx([0.02] * 2, rel=0.1)
    assert prompts.mean().abs() < 0.003


def test_dip_without_words_has_no_p0(bench: Bench) -> None:
    spec = run("dip", rank=2, dropout=0.5, context="", vectors=4)
    state = bench.runs(spec).state
    ((base, a, b),) = state.prompts
    assert not base.any()
    assert a.any()
    assert b.any()
    alone = LowRankPrompt(None, 2, 0.5, seed=spec.seed, shape=(4, 128))
    assert torch.equal(a[0], alone.A)
    assert torch.equal(b[0], alone.B)
    alone.update.step = 3
    (dropped,) = state.learnt(torch.tensor(3)).prompts
    torch.testing.assert_close(dropped[0], alone(), rtol=0, atol=1e-7)
    seeds = [bench.runs(replace(spec, seed=s)).learnt().prompts[0] for s in range(30)]
    assert float(torch.stack(seeds).std()) == pytest.approx(0.02, rel=0.1)


def test_deep_prompts_keep_their_p0_in_a_random_context(bench: Bench) -> None:
    spec = run("promptsrc", rank=1, dropout=0.5, context="", vectors=4)
    runs = bench.runs(spec)
    first, *deep = runs.state.prompts
    assert not first.base.any()
    for prompt, begun in zip(deep, runs.starts[0].prompts[1:], strict=True):
        assert torch.equal(prompt.base[0], begun)
        assert not prompt.b.any()
    assert len({float(prompt.a.sum()) for prompt in runs.state.prompts}) == 6


def test_runs_of_several_ranks_share_a_state(bench: Bench) -> None:
    specs = run("coop"), run("dip", rank=1), run("dip", seed=2, rank=3)
    runs = bench.runs(*specs)
    ((_, a, b),) = runs.state.prompts
    assert (a.shape, b.shape) == ((3, 4, 3), (3, 3, 128))
    assert [int(each.any(0).sum()) for each in a] == [0, 1, 3]
    assert runs.state.full.flatten().tolist() == [True, False, False]
    assert [start.trainable(s.rank) for start, s in zip(runs.starts, specs, strict=True)] == [
        4 * 128,
        4 + 128,
        3 * (4 + 128),
    ]
    own = stack(runs.starts[2:], specs[2:]).prompts[0]
    assert torch.equal(own.a[0], a[2])


# ---- faults ----------------------------------------------------------------------------------

DIP = run("dip", rank=1, dropout=0.5)


@pytest.mark.parametrize(
    ("bad", "token"),
    [
        (replace(DIP, rank=0), "rank = 0"),
        (replace(DIP, rank=5), "rank = 5"),
        (replace(DIP, dropout=1.0), "dropout = 1.0"),
        (replace(DIP, dropout=-0.1), "dropout = -0.1"),
        (replace(DIP, site="row"), "'row'"),
        (run("coop", rank=2), "coop"),
        (run("kgcoop", rank=9), "rank = 9"),
        (run("kgcoop", dropout=0.5), "dropout 0.5"),
        (run("kgcoop", dropout=0.5, site="rows"), "'rows'"),
        (run("coop", dropout=1.5, site="prompt"), "dropout = 1.5"),
    ],
)
def test_what_no_prompt_can_be_is_refused(bad: RunSpec, token: str) -> None:
    with pytest.raises(ValueError, match=token):
        held(torch.randn(4, 16), 0, bad)


def test_words_and_random_vectors_are_refused_together(bench: Bench) -> None:
    with pytest.raises(ValueError, match="vectors=4"):
        bench.runs(run("coop", vectors=4))
    with pytest.raises(ValueError, match="vectors=0"):
        bench.runs(run("coop", context=""))


@pytest.mark.parametrize("method", ["maple", "promptsrc"])
def test_prompts_of_an_image_tower_need_a_transformer(method: str) -> None:
    resnet = few("glyph-resnet")
    spec = run(method, backbone="glyph-resnet")
    with pytest.raises(ValueError, match="ModifiedResNet"):
        train([spec], resnet.clip, resnet.dataset, resnet.features)


@pytest.mark.parametrize("method", ["maple", "promptsrc"])
@pytest.mark.parametrize("depth", [0, 4])
def test_a_depth_that_the_tower_does_not_have_is_refused(
    bench: Bench, method: str, depth: int
) -> None:
    with pytest.raises(ValueError, match="depth" if depth == 0 else "blocks"):
        train([run(method, depth=depth)], bench.clip, bench.dataset, bench.features)


@pytest.mark.parametrize(
    ("name", "near"), [("kgcop", "kgcoop"), ("prompt-src", "promptsrc"), ("cocop", "cocoop")]
)
def test_an_unknown_method_is_refused_with_the_nearest(bench: Bench, name: str, near: str) -> None:
    with pytest.raises(UnknownNameError, match=near):
        train([run(name)], bench.clip, bench.dataset, bench.features)
