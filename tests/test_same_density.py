"""Prompts of one function and another density, and of one spectrum and another function."""

from __future__ import annotations

import pytest
import torch
from few_glyphs import DIP, Bench, few, learned, run
from torch import Tensor

from dip_lib.clip.backbone import Backbone
from dip_lib.prompt.density import centre, information_density, singular_values
from dip_lib.prompt.spectrum import with_singular_values
from dip_lib.training.same_function import Search, read_density, same_function
from dip_lib.training.same_spectrum import train_with_spectrum, with_read_values
from dip_lib.training.text_drift import centred_drift

NAMES = ("capital alpha", "capital iota with dialytika", "capital xi", "small eta", "small pi")


@pytest.fixture(scope="module")
def bench() -> Bench:
    return few()


@pytest.fixture(scope="module")
def clip(bench: Bench) -> Backbone:
    return bench.clip


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# ---- the matrix with other singular values -------------------------------------------------------


def test_the_singular_values_become_those_that_are_given() -> None:
    prompt = draw(2, 4, 32)
    values = torch.tensor([3.0, 2.0, 0.5, 0.0])
    found = with_singular_values(prompt, values)
    torch.testing.assert_close(singular_values(found), values.expand(2, 4), rtol=0, atol=1e-5)
    own = singular_values(prompt)
    torch.testing.assert_close(with_singular_values(prompt, own), prompt, rtol=0, atol=1e-5)
    assert information_density(with_singular_values(prompt[0], torch.ones(4))) == pytest.approx(
        0.25
    )


def test_no_matrix_with_these_values_is_nearer() -> None:
    prompt, values = draw(4, 32), torch.tensor([3.0, 2.0, 1.0, 0.5])
    nearest = (with_singular_values(prompt, values) - prompt).norm()
    for seed in range(20):
        u, _ = torch.linalg.qr(draw(4, 4, seed=seed))
        v, _ = torch.linalg.qr(draw(32, 4, seed=seed + 100))
        assert (u @ values.diag() @ v.T - prompt).norm() >= nearest


@pytest.mark.parametrize("values", [[1.0, 2.0, 0.0, 0.0], [3.0, 2.0, 1.0, -1.0], [1.0, 1.0]])
def test_values_that_no_prompt_has_are_refused(values: list[float]) -> None:
    with pytest.raises(ValueError, match=r"1\.0|2"):
        with_singular_values(draw(4, 32), torch.tensor(values))


# ---- same function, other density ----------------------------------------------------------------


def test_a_search_moves_the_density_and_holds_the_embeddings(clip: Backbone) -> None:
    prompts = torch.stack([clip.context("a photo of a"), 0.02 * draw(4, 128)])
    both = torch.cat([prompts, prompts])
    upwards = torch.tensor([True, True, False, False])
    search = Search(steps=60, drift=0.01)
    found = same_function(clip, both, NAMES, upwards, search)
    moved = (read_density(clip, found) - read_density(clip, both)).detach()
    assert (moved[:2] > 0.02).all()
    assert (moved[2:] <= 0).all()
    with torch.no_grad():
        after, before = (clip.class_embeddings(each, NAMES) for each in (found, both))
    assert (centred_drift(after, before) <= 1.001 * search.drift).all()
    assert not found.requires_grad


def test_searches_at_once_are_those_alone(clip: Backbone) -> None:
    prompts, search = 0.02 * draw(2, 4, 128), Search(steps=4)
    upwards = torch.tensor([True, False])
    both = same_function(clip, prompts, NAMES, upwards, search)
    for r in range(2):
        one = slice(r, r + 1)
        alone = same_function(clip, prompts[one], NAMES, upwards[one], search)
        torch.testing.assert_close(both[one], alone, rtol=0, atol=1e-5)


def test_a_search_without_steps_or_leave_to_move_ends_where_it_began(clip: Backbone) -> None:
    prompts, upwards = 0.02 * draw(1, 4, 128), torch.tensor([True])
    for search in (Search(steps=0), Search(steps=3, drift=1e-12)):
        assert torch.equal(same_function(clip, prompts, NAMES, upwards, search), prompts)


# ---- same spectrum, other function ---------------------------------------------------------------


def test_a_prompt_is_read_with_the_values_that_are_given(clip: Backbone) -> None:
    prompt, values = 0.1 * draw(4, 128), torch.tensor([2.0, 1.5, 1.0, 0.25])
    found = with_read_values(clip, prompt, values)
    read = clip.as_read(found)
    torch.testing.assert_close(singular_values(centre(read)), values, rtol=0, atol=1e-5)
    torch.testing.assert_close(read, centre(read), rtol=0, atol=1e-5)
    own = singular_values(centre(clip.as_read(prompt)))
    same = clip.as_read(with_read_values(clip, prompt, own))
    torch.testing.assert_close(same, centre(clip.as_read(prompt)), rtol=0, atol=1e-5)


def test_training_holds_the_spectrum_and_learns(bench: Bench) -> None:
    runs = bench.prepare(run("coop", epochs=12, batch=1000, lr=0.1, warmup=1.0))
    clip = runs.frozen.clip
    start = learned(runs).prompts[0]
    values = singular_values(centre(clip.as_read(start)))
    losses = []
    for end in train_with_spectrum(runs):
        losses.append(float(end.loss))
        now = learned(runs).prompts[0]
        found = singular_values(centre(clip.as_read(now)))
        torch.testing.assert_close(found, values, rtol=1e-4, atol=1e-4)
    assert losses[-1] < losses[0]
    with torch.no_grad():
        after, before = (clip.class_embeddings(each, NAMES) for each in (now, start))
    assert centred_drift(after, before) > 1e-3


def test_factors_are_refused(bench: Bench) -> None:
    with pytest.raises(ValueError, match="DIP"):
        next(train_with_spectrum(bench.prepare(run("coop", low_rank=DIP))))
