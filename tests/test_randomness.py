"""Laws of the counter-based random numbers."""

from __future__ import annotations

import pytest
import torch

from dip_lib.randomness import dropout_mask, normal, permutation, uniform


def test_a_run_draws_the_same_alone_and_in_a_batch() -> None:
    seeds = torch.tensor([7, 0, 123456789])
    together = uniform(seeds, 5, (4, 128))
    for r, seed in enumerate(seeds.tolist()):
        assert torch.equal(together[r], uniform(seed, 5, (4, 128)))
        assert torch.equal(permutation(seeds, 3, 50)[r], permutation(seed, 3, 50))


def test_uniform_numbers_are_uniform_and_unrelated() -> None:
    drawn = uniform(torch.arange(20), 1, (5000,))
    assert drawn.min() >= 0
    assert drawn.max() < 1
    assert drawn.mean(1) == pytest.approx(0.5, abs=0.02)
    assert drawn.var(1) == pytest.approx(1 / 12, abs=0.01)
    # neighbouring seeds, steps and streams do not correlate
    other = (uniform(torch.arange(20), 2, (5000,)), uniform(torch.arange(20), 1, (5000,), stream=9))
    for more in other:
        assert torch.corrcoef(torch.stack([drawn.flatten(), more.flatten()]))[0, 1].abs() < 0.02
    assert torch.corrcoef(drawn).fill_diagonal_(0).abs().max() < 0.08


def test_normal_numbers_have_the_moments_of_a_normal() -> None:
    drawn = normal(3, (200, 100)).double()
    assert drawn.mean().abs() < 0.02
    assert drawn.std() == pytest.approx(1, abs=0.02)
    assert (drawn**4).mean() == pytest.approx(3, abs=0.15)
    assert torch.isfinite(normal(torch.arange(3), (1000,))).all()


def test_permutation_is_one_and_changes_with_the_epoch() -> None:
    order = permutation(1, 0, 400)
    assert torch.equal(order.sort().values, torch.arange(400))
    assert not torch.equal(order, permutation(1, 1, 400))


@pytest.mark.parametrize("p", [0.0, 0.25, 0.5, 0.9])
def test_dropout_mask_keeps_the_mean(p: float) -> None:
    mask = dropout_mask(torch.arange(50), 3, (4, 128), p)
    assert (mask == 0).double().mean() == pytest.approx(p, abs=0.02)
    assert mask.double().mean() == pytest.approx(1, abs=0.03)
    assert mask[mask > 0].numpy() == pytest.approx(1 / (1 - p))


@pytest.mark.parametrize("step", [0, 1, 7, 10**9])
def test_a_counter_in_a_tensor_gives_the_same_bits(step: int) -> None:
    seeds, p = torch.tensor([1, 2, 99]), torch.tensor([0.0, 0.5, 0.9]).view(-1, 1, 1)
    counter = torch.tensor(step)
    assert torch.equal(uniform(seeds, counter, (3, 5)), uniform(seeds, step, (3, 5)))
    assert torch.equal(
        dropout_mask(seeds, counter, (3, 5), p), dropout_mask(seeds, step, (3, 5), p)
    )
