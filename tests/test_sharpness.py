"""Sharpness: what a step by hand gives, the same in any company, blind to what no block reads."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from few_glyphs import Bench, few, run

from dip_lib.methods.prompts import Learned
from dip_lib.randomness import normal
from dip_lib.training.sharpness import DIRECTIONS, RADIUS, sharpness


@pytest.fixture(scope="module")
def bench() -> Bench:
    return few()


def measured(bench: Bench, prompts: torch.Tensor) -> list[float]:
    runs = bench.prepare(*(run("coop", seed=1 + r) for r in range(len(prompts))))
    start, val = runs.learned().prompts[0].detach(), bench.evaluation(*runs.runs).val
    same = replace(val, images=val.images[:1].expand(len(prompts), -1, -1), labels=val.labels[:1])
    return sharpness(runs.method, Learned((prompts,)), start, runs.frozen, same)


def test_it_is_the_mean_rise_in_loss_around_a_prompt(bench: Bench) -> None:
    start = bench.clip.context("a photo of a")
    prompt = start + 0.1 * normal(5, start.shape)
    (found,) = measured(bench, prompt[None])
    val = bench.evaluation(run("coop")).val

    def loss(at: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            text = bench.clip.class_embeddings(at, val.names)
        return F.cross_entropy(bench.clip.logit_scale * val.images[0] @ text.T, val.labels[0])

    length = RADIUS * start.norm()
    steps = [F.normalize(normal(seed, start.shape, 8), dim=(0, 1)) for seed in range(DIRECTIONS)]
    around = torch.stack([loss(prompt + length * step) for step in steps]).mean()
    assert found == pytest.approx(float(around - loss(prompt)), abs=1e-5)
    assert found > 1e-3


def test_it_does_not_depend_on_the_other_runs(bench: Bench) -> None:
    start = bench.clip.context("a photo of a")
    prompts = torch.stack([start, start + 0.5 * normal(6, start.shape)])
    together = measured(bench, prompts)
    alone = [measured(bench, prompts[i : i + 1])[0] for i in range(2)]
    assert together == pytest.approx(alone, abs=1e-5)


def test_a_constant_that_no_block_reads_does_not_change_it(bench: Bench) -> None:
    prompt = bench.clip.context("a photo of a") + 0.0
    assert measured(bench, prompt[None] + 3.0) == pytest.approx(
        measured(bench, prompt[None]), abs=1e-4
    )
