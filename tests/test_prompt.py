"""Laws of the low-rank prompt."""

import copy
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from dip_lib import randomness
from dip_lib.prompt import LowRankPrompt, load_prompt, low_rank_prompt, save_prompt
from dip_lib.prompt.low_rank import initial_factors


def words(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * 0.02


def trained(prompt: LowRankPrompt, steps: int = 5) -> LowRankPrompt:
    """A few real optimiser steps towards a random target."""
    target = words(*prompt.init.shape, seed=9)
    optimiser = torch.optim.SGD(prompt.parameters(), lr=0.02, momentum=0.9)
    for _ in range(steps):
        optimiser.zero_grad()
        (prompt() - target).square().sum().backward()
        optimiser.step()
    return prompt


@pytest.mark.parametrize("rank", [1, 2, 4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_training_starts_exactly_at_p0(rank: int, dtype: torch.dtype) -> None:
    p0 = words(4, 64).to(dtype)
    prompt = LowRankPrompt(p0, rank, seed=1)
    for mode in (True, False):
        assert torch.equal(prompt.train(mode)(), p0)
        assert prompt().dtype == dtype
    assert prompt.A.dtype == prompt.B.dtype == torch.float32


@pytest.mark.parametrize(
    ("n", "d", "rank", "count"), [(4, 512, 1, 516), (4, 512, 4, 2064), (16, 128, 3, 432)]
)
def test_trainable_count_is_r_times_n_plus_d(n: int, d: int, rank: int, count: int) -> None:
    prompt = LowRankPrompt(words(n, d), rank)
    assert sum(p.numel() for p in prompt.parameters() if p.requires_grad) == count
    assert count == rank * (n + d)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_the_update_has_at_most_rank_r_and_p0_never_moves(rank: int) -> None:
    p0 = words(5, 32)
    prompt = trained(LowRankPrompt(p0, rank, seed=3))
    update = (prompt.merge() - p0).double()
    assert 0 < torch.linalg.matrix_rank(update, rtol=1e-5) <= rank
    assert torch.equal(prompt.init, p0)


def test_merge_is_the_evaluated_prompt_and_detached() -> None:
    prompt = trained(LowRankPrompt(words(4, 32), 2, seed=0))
    assert torch.equal(prompt.merge(), prompt.eval()())
    assert not prompt.merge().requires_grad


def test_each_training_call_draws_the_mask_of_its_step() -> None:
    p0 = words(4, 32)
    prompt = trained(LowRankPrompt(p0, seed=7), steps=3)
    for step in (3, 4, 5):
        mask = randomness.dropout_mask(7, step, (4, 32), 0.5)
        assert torch.equal(prompt(), low_rank_prompt(p0, prompt.A, prompt.B, mask))
    assert torch.equal(prompt.eval()(), prompt())


def test_dropout_is_unbiased_and_drops_the_update_only() -> None:
    p0 = words(2, 8)
    prompt = trained(LowRankPrompt(p0, seed=1, dropout=0.3))
    draws = torch.stack([prompt().detach() for _ in range(4000)])
    spread = (prompt.merge() - p0).abs().max()
    torch.testing.assert_close(draws.mean(0), prompt.merge(), rtol=0, atol=float(spread) * 0.06)
    dropped = (draws == p0).double().mean()
    assert dropped == pytest.approx(0.3, abs=0.02)


def test_factors_have_the_stated_distribution() -> None:
    a, b = initial_factors(0, (64, 512), 4)
    assert a.std() == pytest.approx(0.5, rel=0.1)  # variance 1 / r
    assert not b.any()
    a, b = initial_factors(0, (64, 512), 4, bare=True)
    assert (a @ b).std() == pytest.approx(0.02, rel=0.1)


def test_without_p0_the_prompt_is_a_random_product() -> None:
    prompt = LowRankPrompt(None, 2, seed=5, shape=(4, 64))
    assert torch.equal(prompt.merge(), prompt.A.detach() @ prompt.B.detach())
    assert torch.linalg.matrix_rank(prompt.merge()) == 2


def test_the_seed_decides_and_torchs_seed_decides_when_none_is_given() -> None:
    p0 = words(4, 32)
    assert torch.equal(LowRankPrompt(p0, seed=3).A, LowRankPrompt(p0, seed=3).A)
    assert not torch.equal(LowRankPrompt(p0, seed=3).A, LowRankPrompt(p0, seed=4).A)
    torch.manual_seed(0)
    first = trained(LowRankPrompt(p0))
    torch.manual_seed(0)
    again = trained(LowRankPrompt(p0))
    assert torch.equal(first.merge(), again.merge())
    assert not torch.equal(first.A, LowRankPrompt(p0).A)


def test_a_stack_of_prompts_is_the_prompts_one_by_one() -> None:
    prompt = trained(LowRankPrompt(words(3, 4, 16), 2, seed=0))
    for i, matrix in enumerate(prompt.merge()):
        alone = low_rank_prompt(prompt.init[i], prompt.A[i], prompt.B[i])
        torch.testing.assert_close(matrix, alone.detach())


def test_autocast_does_not_round_the_update() -> None:
    prompt = trained(LowRankPrompt(words(4, 32), seed=0)).eval()
    exact = prompt.merge()
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(prompt(), exact)


def test_state_dict_deepcopy_and_safetensors_round_trip(tmp_path: Path) -> None:
    prompt = trained(LowRankPrompt(words(4, 32), seed=0))
    save_file(prompt.state_dict(), tmp_path / "state.safetensors")
    other = LowRankPrompt(words(4, 32, seed=8), seed=1)
    other.load_state_dict(load_file(tmp_path / "state.safetensors"))
    assert torch.equal(other.merge(), prompt.merge())
    before, twin = prompt.merge(), copy.deepcopy(prompt)
    assert torch.equal(twin(), prompt())  # same seed, same step
    trained(twin)
    assert torch.equal(prompt.merge(), before)


@pytest.mark.parametrize("rank", [0, -1, 5])
def test_a_rank_outside_1_to_min_n_d_is_refused(rank: int) -> None:
    with pytest.raises(ValueError, match=f"{rank}"):
        LowRankPrompt(words(4, 32), rank)


@pytest.mark.parametrize("dropout", [-0.1, 1.0, 1.5, float("nan")])
def test_a_dropout_outside_0_1_is_refused(dropout: float) -> None:
    with pytest.raises(ValueError, match=f"{dropout}"):
        LowRankPrompt(words(4, 32), dropout=dropout)


def test_init_or_shape_but_not_both() -> None:
    for init, shape in ((None, None), (words(4, 32), (4, 32))):
        with pytest.raises(ValueError, match="init"):
            LowRankPrompt(init, shape=shape)
    with pytest.raises(ValueError, match=r"got \(32,\)"):
        LowRankPrompt(words(32))


# ---- the prompt file ---------------------------------------------------------------------------


def test_a_saved_prompt_is_small_and_comes_back(tmp_path: Path) -> None:
    path, p0 = tmp_path / "prompt.safetensors", words(4, 512)
    prompt = trained(LowRankPrompt(p0, seed=0))
    save_prompt(path, prompt.A, prompt.B, "a photo of a", p0)
    assert path.stat().st_size <= 4096
    assert torch.equal(load_prompt(path, p0), prompt.merge())
    assert list(tmp_path.iterdir()) == [path]


def test_a_bare_product_is_saved_without_p0(tmp_path: Path) -> None:
    path = tmp_path / "prompt.safetensors"
    prompt = LowRankPrompt(None, seed=0, shape=(4, 512))
    save_prompt(path, prompt.A, prompt.B, "", None)
    assert torch.equal(load_prompt(path, None), prompt.merge())


def test_a_prompt_file_refuses_other_words_and_damage(tmp_path: Path) -> None:
    path, p0 = tmp_path / "prompt.safetensors", words(4, 512)
    prompt = LowRankPrompt(p0, seed=0)
    save_prompt(path, prompt.A, prompt.B, "a photo of a", p0)
    with pytest.raises(ValueError, match="a photo of a"):
        load_prompt(path, p0 + 1e-4)
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(ValueError, match="prompt.safetensors"):
        load_prompt(path, p0)


@pytest.mark.parametrize("shape", [(0, 4, 1), (3, 1), (2, 3, 1)])
def test_a_prompt_file_of_another_shape_than_its_words_is_refused(
    shape: tuple[int, ...], tmp_path: Path
) -> None:
    path, p0 = tmp_path / "prompt.safetensors", words(4, 8)
    save_prompt(path, torch.ones(shape), torch.ones(1, 8), "a photo of a", p0)
    with pytest.raises(ValueError, match="damaged"):
        load_prompt(path, p0)


def test_each_class_may_have_an_update_of_its_own(tmp_path: Path) -> None:
    path, p0 = tmp_path / "prompt.safetensors", words(4, 8)
    save_prompt(path, torch.ones(3, 4, 1), torch.ones(1, 8), "a photo of a", p0)
    assert torch.equal(load_prompt(path, p0), (p0 + 1).expand(3, -1, -1))


def test_one_update_serves_the_words_of_every_layer(tmp_path: Path) -> None:
    path, p0 = tmp_path / "prompt.safetensors", words(4, 8).repeat(3, 1, 1)
    save_prompt(path, torch.ones(4, 1), torch.ones(1, 8), "a photo of a", p0)
    assert torch.equal(load_prompt(path, p0), p0 + 1)


@pytest.mark.parametrize(("precision", "dtype"), [("bf16", torch.bfloat16), ("fp16", torch.half)])
def test_a_prompt_of_a_half_precision_tower_names_its_precision(
    precision: str, dtype: torch.dtype, tmp_path: Path
) -> None:
    path, p0 = tmp_path / "prompt.safetensors", words(4, 512)
    rounded = p0.to(dtype).float()  # what such a tower gives as embeddings
    prompt = LowRankPrompt(rounded, seed=0)
    save_prompt(path, prompt.A, prompt.B, "a photo of a", rounded)
    assert torch.equal(load_prompt(path, rounded), prompt.merge())
    with pytest.raises(ValueError, match=f"precision='{precision}'"):
        load_prompt(path, p0)
