"""DIP on visual prompts: every rank, with and without P0, with and without dropout."""

from __future__ import annotations

import json
from itertools import product

import pytest
import torch
from few_glyphs import Few, few, run
from visual_towers import pixels, tower

from dip_lib import LowRankPrompt, densify
from dip_lib.methods.vpt import VisualPrompts, first_head, first_prompts
from dip_lib.prompt.low_rank import NEXT_SEED
from dip_lib.training.parts import LowRank
from dip_lib.training.run import Run
from dip_lib.training.runs import factored
from dip_lib.training.visual import train_visual

N, DEPTH = 3, 2
UPDATES = [
    LowRank(rank=rank, dropout=dropout, p0=p0)
    for rank, dropout, p0 in product(range(1, N + 1), (0.0, 0.5), (True, False))
]


def model_of(name: str = "glyph-vit") -> VisualPrompts:
    made = tower(name)
    return VisualPrompts(made, first_prompts(made, N, DEPTH, 1), first_head(made, 5, 1))


def test_each_is_a_run_of_its_own_that_comes_back_from_its_record() -> None:
    runs = [run("vpt", low_rank=each, vectors=N) for each in UPDATES]
    assert len({each.key() for each in runs}) == len(runs) == 4 * N
    for each in runs:
        assert Run.from_dict(json.loads(json.dumps(each.to_dict()))) == each
    # a record of before the setting has P0, and its key
    stored = run("vpt", low_rank=LowRank()).to_dict()
    del stored["low_rank"]["p0"]
    assert Run.from_dict(stored).key() == run("vpt", low_rank=LowRank()).key()


@pytest.mark.parametrize("update", UPDATES, ids=str)
def test_training_starts_at_p0_or_as_a_prompt_without_one(update: LowRank) -> None:
    model, plain, seed = model_of(), model_of(), 4
    names = [f"prompts.{i}" for i in range(DEPTH)]
    handle = densify(model, names, update.rank, update.dropout, seed, p0=update.p0)
    sizes = [p.numel() for p in model.parameters() if p.requires_grad]
    assert sum(sizes) == DEPTH * update.rank * (N + 128) + 5 * (128 + 1)
    for i, (found, start) in enumerate(zip(model.matrices, plain.matrices, strict=True)):
        if update.p0:
            assert torch.equal(found, start)
            continue
        own = seed + i * NEXT_SEED
        alone = LowRankPrompt(None, update.rank, update.dropout, own, shape=(N, 128))
        torch.testing.assert_close(found, alone(), rtol=0, atol=1e-7)
        assert int(torch.linalg.matrix_rank(alone.merge())) == update.rank
    images = pixels(2)
    loss = model(images).square().sum()
    loss.backward()
    assert all(p.grad is not None for p in handle.parameters())
    with torch.no_grad():
        for p in handle.parameters():
            p.add_(0.1)
    trained = model(images)
    handle.step()
    same = torch.equal(model(images), trained)
    assert same == (update.dropout == 0)
    assert torch.equal(model.eval()(images), model(images))


@pytest.mark.parametrize("update", [LowRank(rank=N, p0=False), LowRank(rank=2, dropout=0.0)])
def test_a_run_learns_a_prompt_of_its_rank(update: LowRank) -> None:
    (result,) = train_visual([run("vpt", low_rank=update, vectors=N)], few().clip, Few())
    assert result.record["trainable"] == 3 * update.rank * (N + 128) + 3 * 129
    learned = result.tensors["prompts.0"]
    start = first_prompts(tower("glyph-vit"), N, 3, 1)[0] * update.p0
    moved = torch.linalg.svdvals((learned - start).double())
    assert int((moved > 1e-5 * moved[0]).sum()) <= update.rank
    assert moved[0] > 0


def test_text_prompts_leave_p0_out_as_well() -> None:
    words = torch.randn(4, 16, generator=torch.Generator().manual_seed(0))
    bare = run("coop", low_rank=LowRank(rank=2, p0=False))
    found, random = factored(words, 0, bare, True), factored(words, 0, bare, False)
    assert not found.base.any()
    assert found.b.any()
    for a, b in zip(found, random, strict=True):
        assert torch.equal(a, b)
    deep = factored(words, 1, bare, True)
    assert not deep.base.any() and not torch.equal(deep.a, found.a)


def test_what_no_update_can_be_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=f"rank = {N + 1}"):
        train_visual([run("vpt", low_rank=LowRank(rank=N + 1), vectors=N)], few().clip, Few())
    with pytest.raises(ValueError, match="p0 = False"):
        LowRank(rank=None, site="prompt", p0=False)
    with pytest.raises(ValueError, match="p0 = 'no'"):
        LowRank(p0="no")
