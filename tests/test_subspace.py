"""CoOp in a random subspace: which directions these are, and what moves along them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from few_glyphs import Bench, few, learned, run, start_of, train_all
from torch import Tensor

from dip_lib.methods.prompts import Learned
from dip_lib.methods.subspace import Subspace, random_directions
from dip_lib.training.evaluate import evaluate
from dip_lib.training.parts import LowRank
from dip_lib.training.run import Run

WORDS = "a photo of a"


@pytest.fixture(scope="module")
def bench() -> Bench:
    return few()


def trained(bench: Bench, *runs: Run) -> Tensor:
    ready = bench.prepare(*runs)
    train_all(ready)
    return learned(ready).prompts[0]


def test_directions_are_orthonormal_and_the_seeds() -> None:
    found = random_directions(3, 4, 32, 36)
    flat = found.flatten(1).double()
    assert found.shape == (36, 4, 32)
    torch.testing.assert_close(flat @ flat.T, torch.eye(36).double(), rtol=0, atol=1e-6)
    assert torch.equal(random_directions(3, 4, 32, 36), found)
    # another seed's subspace holds of a direction what a random one would: k / (n d)
    other = random_directions(4, 4, 32, 36).flatten(1).double()
    shared = (flat @ other.T).square().sum(1)
    assert float(shared.mean()) == pytest.approx(36 / 128, abs=0.1)


def test_it_starts_at_the_words_and_trains_as_many_numbers_as_dip(bench: Bench) -> None:
    own = bench.prepare(run("subspace"))
    dip = bench.prepare(run("coop", low_rank=LowRank(rank=1, dropout=0.0)))
    assert own.trainable == dip.trainable == (sum(bench.clip.context(WORDS).shape),)
    assert torch.equal(learned(own).prompts[0][0], bench.clip.context(WORDS))
    assert start_of(bench.prepare(run("subspace", directions=7))).trainable(0) == 7


def test_the_update_lies_in_the_subspace_and_can_have_every_rank(bench: Bench) -> None:
    (prompt,) = trained(bench, run("subspace", directions=9))  # weights decay here
    update = prompt - bench.clip.context(WORDS)
    basis = random_directions(1, *update.shape, 9).flatten(1)
    inside = (basis.T @ (basis @ update.flatten())).view_as(update)
    torch.testing.assert_close(inside, update, rtol=0, atol=1e-5)
    values = torch.linalg.svdvals(update)
    assert values[-1] > 0.01 * values[0] > 0


def test_with_every_direction_it_is_kgcoop_and_without_its_weight_coop(bench: Bench) -> None:
    every: dict[str, Any] = {"directions": bench.clip.context(WORDS).numel(), "weight_decay": 0.0}
    own = trained(bench, run("subspace", **every))
    theirs = trained(bench, run("kgcoop", weight_decay=0.0))
    torch.testing.assert_close(own, theirs, rtol=0, atol=1e-4)
    bare = trained(bench, run("subspace", weight=0.0, **every))
    coop = trained(bench, run("coop", weight_decay=0.0))
    torch.testing.assert_close(bare, coop, rtol=0, atol=1e-4)
    assert (bare - own).abs().max() > 1e-3


def test_runs_of_one_batch_are_those_of_one_alone(bench: Bench) -> None:
    runs = [run("subspace", seed=1), run("subspace", seed=2, weight=1.0, lr=0.01)]
    alone = torch.cat([trained(bench, each) for each in runs])
    torch.testing.assert_close(trained(bench, *runs), alone, rtol=0, atol=1e-5)


def test_the_merged_prompt_is_what_is_kept_and_classifies_as_any_prompt(bench: Bench) -> None:
    ready, coop = bench.prepare(run("subspace")), bench.prepare(run("coop"))
    start = learned(ready).prompts[0].clone()
    train_all(ready)
    kept = learned(ready).tensors(0)["prompt"]
    assert kept.shape == bench.clip.context(WORDS).shape
    data = bench.evaluation(*ready.runs)
    (row,) = evaluate(ready.method, learned(ready), start, ready.frozen, data)
    assert row["update_norm"] == pytest.approx(float((kept - start[0]).norm()), rel=1e-5)
    merged, names = Learned((kept[None],)), (*data.base.names, *data.new.names)
    ours, theirs = (
        each.method.classifier(merged, each.frozen, names)(data.base.images)
        for each in (ready, coop)
    )
    assert torch.equal(ours, theirs)


@pytest.mark.parametrize(
    ("settings", "token"),
    [
        ({"context": "", "vectors": 4}, "context = ''"),
        ({"class_specific": True}, "class_specific = True"),
        ({"weight": -1.0}, "weight = -1"),
        ({"directions": -1}, "directions = -1"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(
    settings: dict[str, object], token: str
) -> None:
    with pytest.raises(ValueError, match=token):
        Subspace.of(settings)


def test_more_directions_than_entries_and_a_low_rank_update_are_refused(bench: Bench) -> None:
    with pytest.raises(ValueError, match="4096"):
        bench.prepare(run("subspace", directions=4096))
    with pytest.raises(ValueError, match="low-rank"):
        run("subspace", low_rank=LowRank(rank=1, dropout=0.0))
