"""``densify`` on modules that know nothing of it."""

import copy
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from dip_lib.prompt import Densified, LowRankPrompt, densify


class PromptLearner(nn.Module):
    """As in CoOp: a context that is trained, in front of class names that are not."""

    names: Tensor

    def __init__(self, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.ctx = nn.Parameter(0.02 * torch.randn(4, 32, dtype=dtype))
        self.meta_net = nn.Linear(32, 32, dtype=dtype)  # as in CoCoOp: another trained part
        self.register_buffer("names", torch.randn(5, 3, 32, dtype=dtype))

    def forward(self) -> Tensor:
        context = self.ctx + self.meta_net(self.ctx)
        return torch.cat([context.expand(5, 4, 32), self.names], 1)


class DeepPrompts(nn.Module):
    """As in MaPLe and VPT-deep: one prompt a layer, in a ParameterList, and a stacked one."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.text = nn.ModuleDict({"learner": PromptLearner()})
        self.prompts = nn.ParameterList([torch.randn(4, 32) for _ in range(3)])
        self.stack = nn.Parameter(torch.randn(3, 4, 32))

    def forward(self) -> Tensor:
        deep = torch.stack([prompt * (i + 1) for i, prompt in enumerate(self.prompts)])
        return self.text["learner"]().mean() + (deep * self.stack).mean()


NAMES = ("text.learner.ctx", "prompts.0", "prompts.2", "stack")


def descend(module: nn.Module, handle: Densified | None = None, steps: int = 4) -> None:
    parameters = [p for p in module.parameters() if p.requires_grad]
    optimiser = torch.optim.SGD(parameters, lr=0.05, momentum=0.9)
    for _ in range(steps):
        optimiser.zero_grad()
        (module() - 1).square().mean().backward()
        optimiser.step()
        if handle:
            handle.step()


def test_the_prompt_keeps_its_value_and_only_its_factors_train() -> None:
    learner = PromptLearner()
    before = learner.ctx.detach().clone()
    others = {name for name, _ in learner.named_parameters()} - {"ctx"}
    handle = densify(learner, "ctx", seed=1)
    assert torch.equal(learner.ctx, before)
    factors = list(handle.parameters())
    assert [tuple(f.shape) for f in factors] == [(4, 1), (1, 32)]
    names = {name for name, _ in learner.named_parameters()}
    assert names == others | {f"parametrizations.ctx.original{i}" for i in (0, 1)}
    descend(learner, handle)
    moved = learner.eval().ctx.detach() - before
    assert torch.linalg.matrix_rank(moved.double(), rtol=1e-5) == 1


def test_densify_and_low_rank_prompt_are_the_same_mathematics() -> None:
    learner = PromptLearner()
    prompt = LowRankPrompt(learner.ctx, 2, 0.5, seed=4)
    handle = densify(learner, "ctx", 2, 0.5, seed=4)
    target = torch.ones(4, 32)
    both: list[tuple[Callable[[], Tensor], torch.optim.Optimizer]] = [
        (lambda: learner.ctx, torch.optim.SGD(handle.parameters(), lr=0.1)),
        (prompt, torch.optim.SGD(prompt.parameters(), lr=0.1)),
    ]
    for _ in range(5):
        values = []
        for read, optimiser in both:
            optimiser.zero_grad()
            value = read()
            (value - target).square().mean().backward()
            optimiser.step()
            values.append(value)
        assert torch.equal(*values)
        handle.step()
    assert torch.equal(learner.eval().ctx, prompt.merge())


def test_reads_share_a_mask_until_step_and_evaluation_has_none() -> None:
    learner = PromptLearner()
    handle = densify(learner, "ctx", seed=0)
    descend(learner, handle)
    first = learner.ctx
    assert torch.equal(learner.ctx, first)
    handle.step()
    assert not torch.equal(learner.ctx, first)
    learner.eval()
    evaluated = learner.ctx
    handle.step()
    assert torch.equal(learner.ctx, evaluated)


def test_merge_leaves_an_ordinary_parameter_equal_to_the_evaluated_prompt() -> None:
    learner = PromptLearner()
    keys = set(learner.state_dict())
    handle = densify(learner, "ctx", seed=0)
    descend(learner, handle)
    evaluated = learner.eval().ctx.detach().clone()
    learner.train()
    handle.merge()
    assert type(learner) is PromptLearner
    assert set(learner.state_dict()) == keys
    assert isinstance(learner.ctx, nn.Parameter)
    assert learner.ctx.requires_grad and learner.ctx.is_leaf
    assert torch.equal(learner.ctx, evaluated)


def test_several_prompts_dotted_names_lists_and_stacks() -> None:
    model = DeepPrompts()
    before = model().detach()
    values = {name: p.detach().clone() for name, p in model.named_parameters() if name in NAMES}
    untouched = model.prompts[1]
    handle = densify(model, NAMES, rank=2, seed=3)
    assert torch.equal(model(), before)
    shapes = [tuple(f.shape) for f in handle.parameters()]
    assert shapes == [(4, 2), (2, 32)] * 3 + [(3, 4, 2), (3, 2, 32)]
    factors = list(handle.parameters())
    assert not torch.equal(factors[0], factors[2])  # several prompts, several seeds
    assert model.prompts[1] is untouched
    descend(model, handle)
    handle.merge()
    for name, p in model.named_parameters():
        if name in NAMES:
            ranks = torch.linalg.matrix_rank((p - values[name]).double(), rtol=1e-4)
            assert (ranks <= 2).all() and (ranks > 0).all()


def test_a_part_of_torch_itself() -> None:
    attention = nn.MultiheadAttention(32, 4, batch_first=True)
    tokens = torch.randn(2, 5, 32)
    before = attention(tokens, tokens, tokens)[0]
    handle = densify(attention, "in_proj_weight", rank=2)
    torch.testing.assert_close(attention(tokens, tokens, tokens)[0], before)
    attention(tokens, tokens, tokens)[0].sum().backward()
    assert all(f.grad is not None for f in handle.parameters())


@pytest.mark.parametrize("make", [PromptLearner, DeepPrompts])
def test_state_dict_round_trips_also_through_safetensors(
    make: Callable[[], nn.Module], tmp_path: Path
) -> None:
    names = NAMES if make is DeepPrompts else ("ctx",)
    module = make()
    handle = densify(module, names, seed=0)
    descend(module, handle)
    save_file(module.state_dict(), tmp_path / "module.safetensors")
    other = make()
    with torch.no_grad():
        for p in other.parameters():
            p.add_(1)  # P0 differs until it is loaded
    densify(other, names, seed=1)
    other.load_state_dict(load_file(tmp_path / "module.safetensors"))
    assert torch.equal(other.eval()(), module.eval()())


def test_a_deepcopy_has_factors_of_its_own_and_survives_the_originals_merge() -> None:
    model = DeepPrompts()
    handle = densify(model, NAMES, seed=0)
    descend(model, handle)
    twin = copy.deepcopy(model)
    before = twin.eval()().detach()
    assert torch.equal(before, model.eval()())
    model.train()
    descend(model, handle)
    assert torch.equal(twin(), before)
    handle.merge()
    assert torch.equal(twin(), before)
    Densified(twin, NAMES).merge()
    assert torch.equal(twin(), before)
    assert type(twin.prompts) is nn.ParameterList


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_half_precision_prompt_keeps_dtype_and_value_with_float32_factors(
    dtype: torch.dtype,
) -> None:
    learner = PromptLearner(dtype)
    before = learner.ctx.detach().clone()
    handle = densify(learner, "ctx")
    assert torch.equal(learner.ctx, before) and learner.ctx.dtype == dtype
    assert {f.dtype for f in handle.parameters()} == {torch.float32}
    descend(learner, handle)
    handle.merge()
    assert learner.ctx.dtype == dtype and not torch.equal(learner.ctx, before)


def test_assigning_starts_again_at_the_assigned_value() -> None:
    learner = PromptLearner()
    handle = densify(learner, "ctx", seed=0)
    descend(learner, handle)
    value = torch.randn(4, 32)
    setattr(learner, "ctx", value)  # noqa: B010 (torch's property takes a tensor)
    assert torch.equal(learner.ctx, value)
    descend(learner, handle)
    assert not torch.equal(learner.ctx, value)


def test_torchs_seed_governs_when_none_is_given() -> None:
    merged = []
    for _ in range(2):
        learner = PromptLearner()
        torch.manual_seed(5)
        handle = densify(learner, "ctx")
        descend(learner, handle)
        handle.merge()
        merged.append(learner.ctx)
    assert torch.equal(*merged)


def frozen() -> nn.Module:
    learner = PromptLearner()
    learner.ctx.requires_grad_(False)
    return learner


def tied() -> nn.Module:
    learner = PromptLearner()
    learner.meta_net.weight = learner.ctx
    return learner


def dense_already() -> nn.Module:
    learner = PromptLearner()
    densify(learner, "ctx")
    return learner


@pytest.mark.parametrize(
    ("make", "name", "options", "token"),
    [
        (PromptLearner, "ctxx", {}, "ctxx"),
        (PromptLearner, "no.such.ctx", {}, "no.such.ctx"),
        (PromptLearner, "names", {}, "'names'"),
        (dense_already, "ctx", {}, "'ctx'"),
        (frozen, "ctx", {}, "frozen"),
        (tied, "ctx", {}, "meta_net.weight"),
        (PromptLearner, "meta_net.bias", {}, "got \\(32,\\)"),
        (PromptLearner, "ctx", {"rank": 5}, "rank = 5"),
        (PromptLearner, "ctx", {"rank": 0}, "rank = 0"),
        (PromptLearner, "ctx", {"dropout": 1.0}, "dropout = 1.0"),
        (PromptLearner, ["ctx", "meta_net.nothing"], {}, "meta_net.nothing"),
    ],
)
def test_what_cannot_be_densified_is_refused_and_nothing_changes(
    make: Callable[[], nn.Module],
    name: str | list[str],
    options: dict[str, Any],
    token: str,
) -> None:
    module = make()
    before = set(module.state_dict())
    with pytest.raises(ValueError, match=token):
        densify(module, name, **options)
    assert set(module.state_dict()) == before


def test_a_submodule_under_two_names_is_one_prompt() -> None:
    learner = PromptLearner()
    model = nn.ModuleDict({"a": learner, "b": learner})
    densify(model, "a.ctx")
    assert learner.ctx.grad_fn is not None and model["b"] is model["a"]


# ---- other people's code ------------------------------------------------------------------------


def test_a_name_is_suggested_by_its_ending() -> None:
    model = DeepPrompts()
    with pytest.raises(ValueError, match="'text.learner.ctx'") as caught:
        densify(model)
    assert "prompts.0" not in str(caught.value)  # of a whole CLIP there are hundreds
    with pytest.raises(ValueError, match="'text.learner.ctx'"):
        densify(model, "learner.ctx")
    with pytest.raises(ValueError, match="'text.learner.ctx'"):
        densify(model, "text.learner.ctxx")


def held_apart() -> tuple[nn.Module, nn.Module, Densified]:
    """A densified and trained module, and a plain one of the same class."""
    model, plain = DeepPrompts(), DeepPrompts()
    handle = densify(model, NAMES, seed=0)
    descend(model, handle)
    return model.eval(), plain.eval(), handle


def prompts_of(model: nn.Module) -> list[Tensor]:
    """The prompts as they are evaluated."""
    return [model.state_dict()[name] for name in NAMES]


def test_an_unmerged_checkpoint_is_right_in_a_plain_module_or_refused() -> None:
    model, plain, handle = held_apart()
    state, before = model.state_dict(), plain()
    with pytest.raises(RuntimeError, match="parametrizations.ctx"):
        plain.load_state_dict(state)
    plain.load_state_dict(state, strict=False)  # as CoOp's load_model
    assert not torch.equal(plain(), before)
    assert torch.equal(plain(), model())
    handle.merge()
    assert model.state_dict().keys() == plain.state_dict().keys()
    plain.load_state_dict(model.state_dict())


def test_a_plain_checkpoint_in_a_densified_module_is_refused() -> None:
    model, plain, _ = held_apart()
    before = prompts_of(model)
    for strict in (True, False):
        with pytest.raises(RuntimeError, match="before densify"):
            model.load_state_dict(plain.state_dict(), strict=strict)
    assert all(map(torch.equal, prompts_of(model), before))


def test_an_earlier_checkpoint_without_whole_prompts_is_still_read() -> None:
    model, other, _ = held_apart()
    densify(other, NAMES, seed=1)
    state = {name: value for name, value in model.state_dict().items() if name not in NAMES}
    other.load_state_dict(state)
    assert torch.equal(other.eval()(), model())


def test_training_without_step_is_said_once_and_with_it_never() -> None:
    learner = PromptLearner()
    densify(learner, seed=0)
    with pytest.warns(UserWarning, match=r"step\(\)") as said:
        descend(learner, steps=100)
    assert len(said) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        stepping = PromptLearner()
        descend(stepping, densify(stepping, seed=0), steps=100)
        without = PromptLearner()
        densify(without, dropout=0.0, seed=0)
        descend(without, steps=100)
        LowRankPrompt(torch.randn(4, 32), seed=0)()
