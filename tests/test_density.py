"""Laws of Information Density."""

import pytest
import torch
from torch import Tensor

from dip_lib.prompt.density import centre, information_density, singular_values

SHAPES = [(4, 512), (16, 128), (3, 3), (7, 2), (1, 5)]


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("power", [1, 2])
def test_lies_in_0_1_and_grows_with_k_to_1(shape: tuple[int, int], power: int) -> None:
    for seed in range(5):
        prompt = draw(*shape, seed=seed)
        ids = torch.stack([information_density(prompt, k, power) for k in range(1, min(shape) + 1)])
        assert (ids > 0).all() and (ids <= 1).all()
        assert (ids.diff() >= 0).all()
        assert ids[-1] == 1


@pytest.mark.parametrize("scale", [1e-42, 1e-30, 1e-3, 2.0, 1e5, 1e30, 1e38])
def test_does_not_depend_on_scale_even_at_the_ends_of_float32(scale: float) -> None:
    prompt = torch.tensor([[3.0, 1.0, 0.0], [0.0, 2.0, 1.0]])
    tolerance = 0.02 if scale < 1e-38 else 1e-5  # subnormal numbers have few digits
    expected = information_density(prompt)
    assert information_density(prompt * scale) == pytest.approx(float(expected), rel=tolerance)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_is_exactly_1_from_the_rank_on(rank: int) -> None:
    prompt = draw(6, rank) @ draw(rank, 100, seed=1)
    for k in range(rank, 7):
        assert information_density(prompt, k) == 1
    if rank > 1:
        assert information_density(prompt, rank - 1) < 1


def test_is_the_share_of_the_singular_values() -> None:
    prompt = torch.diag(torch.tensor([4.0, 3.0, 2.0, 1.0]))
    assert information_density(prompt, 1) == pytest.approx(0.4)
    assert information_density(prompt, 2) == pytest.approx(0.7)
    assert information_density(prompt, 1, power=2) == pytest.approx(16 / 30)


def test_rotations_change_nothing_and_a_flat_spectrum_is_the_least_dense() -> None:
    prompt = draw(4, 64)
    turn, _ = torch.linalg.qr(draw(64, 64, seed=1))
    torch.testing.assert_close(information_density(prompt @ turn), information_density(prompt))
    assert information_density(torch.eye(4)) == pytest.approx(0.25)


def test_a_stack_is_the_matrices_one_by_one() -> None:
    stack = draw(2, 3, 4, 32)
    each = torch.stack([information_density(m, 2) for m in stack.flatten(0, 1)]).view(2, 3)
    torch.testing.assert_close(information_density(stack, 2), each)
    values = singular_values(stack)
    assert values.shape == (2, 3, 4)
    assert (values.diff(dim=-1) <= 0).all()


def test_gradient_equals_finite_differences_and_has_no_radial_part() -> None:
    prompt = draw(3, 8).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda p: information_density(p, 2), prompt)
    (gradient,) = torch.autograd.grad(information_density(prompt), prompt)
    assert (gradient * prompt).sum().abs() < 1e-12  # ID does not change along the scale


def test_the_gradient_is_finite_for_a_repeated_token() -> None:
    rows = draw(3, 16)
    prompt = rows[[0, 1, 2, 0]].requires_grad_()  # "a photo of a": rank 3
    information_density(prompt).backward()
    assert prompt.grad is not None and torch.isfinite(prompt.grad).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype: torch.dtype) -> None:
    prompt = draw(4, 32).to(dtype)
    assert singular_values(prompt).dtype == torch.float32
    assert torch.equal(information_density(prompt), information_density(prompt.float()))


def test_zero_and_non_finite_prompts_are_named() -> None:
    stack = draw(4, 3, 8)
    stack[2] = 0
    with pytest.raises(ValueError, match=r"\[2\]"):
        information_density(stack)
    stack[1, 0, 0] = float("nan")
    with pytest.raises(ValueError, match=r"\[1\]"):
        information_density(stack)
    with pytest.raises(ValueError, match="zero"):
        information_density(torch.zeros(2, 3))
    with pytest.raises(ValueError, match="non-finite"):
        singular_values(torch.full((2, 3), float("inf")))


@pytest.mark.parametrize("k", [0, -1, 5])
def test_k_outside_1_to_n_is_refused(k: int) -> None:
    with pytest.raises(ValueError, match=f"{k}"):
        information_density(draw(4, 32), k)


def test_other_bad_input_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\(8,\)"):
        information_density(draw(8))
    with pytest.raises(ValueError, match="0.5"):
        information_density(draw(2, 8), power=0.5)


def test_the_centred_density_does_not_see_a_constant_in_a_token() -> None:
    torch.manual_seed(0)
    prompt, constant = torch.randn(3, 4, 32), 10 * torch.randn(3, 4, 1)
    plain, moved = information_density(prompt), information_density(prompt + constant)
    assert (moved - plain).abs().min() > 0.1
    centred = [information_density(each, centred=True) for each in (prompt, prompt + constant)]
    torch.testing.assert_close(*centred, rtol=0, atol=1e-5)
    torch.testing.assert_close(centred[0], information_density(centre(prompt)), rtol=0, atol=0)
    with pytest.raises(ValueError, match="zero"):  # tokens that are constant have no spectrum left
        information_density(torch.ones(4, 32), centred=True)
