"""DIP on a module that is not ours: ``densify`` makes any prompt parameter a low-rank prompt.

It plugs in by ``torch.nn.utils.parametrize``: the module keeps reading its parameter by name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from dip_lib.errors import one_of
from dip_lib.prompt.low_rank import NEXT_SEED, LowRankUpdate, low_rank_prompt


@dataclass(frozen=True)
class Densified:
    """What :func:`densify` returns; for a deepcopy of the module, ``Densified(copy, names)``."""

    module: nn.Module
    names: tuple[str, ...]

    def _parametrized(self) -> Iterator[tuple[nn.Module, str, nn.Module]]:
        for owner, leaf in (_owner(self.module, name) for name in self.names):
            yield owner, leaf, owner.get_submodule(f"parametrizations.{leaf}")

    def parameters(self) -> Iterator[nn.Parameter]:
        """The factors: A (..., n, r), then B (..., r, d), for each name in turn."""
        for _, _, factors in self._parametrized():
            yield from factors.parameters(recurse=False)

    def step(self) -> None:
        """Go to the next dropout mask. Call it once an optimiser step."""
        for _, _, factors in self._parametrized():
            cast(LowRankUpdate, factors.get_submodule("0")).step += 1

    def merge(self) -> None:
        """Make every prompt an ordinary parameter again, equal to the evaluated prompt."""
        for owner, leaf, factors in self._parametrized():
            factors.eval().requires_grad_(True)
            # deepcopies share torch's generated class; removing the property must not reach them
            cls = type(owner)
            owner.__class__ = type(cls.__name__, cls.__bases__, dict(vars(cls)))
            parametrize.remove_parametrizations(owner, leaf)


def densify(
    module: nn.Module,
    name: str | Sequence[str] = "ctx",
    rank: int = 1,
    dropout: float = 0.5,
    seed: int | None = None,
    *,
    p0: bool = True,
) -> Densified:
    """Make a prompt parameter of any module a DIP: of that parameter only the factors train.

    Call it before building the optimiser. The prompt keeps value and dtype; it becomes P0, a
    buffer, and the factors are float32. All reads share a dropout mask until ``step()``, and a
    warning says when it is not called; there is none in evaluation mode. Assigning to the prompt
    starts again there. All else stays as it is.

    A ``state_dict`` holds the factors and, under the prompt's own name, the evaluated prompt. So a
    module that is not densified reads it with ``strict=False`` and predicts as trained; with
    ``strict=True`` it names the factors as unexpected. The densified module itself goes by the
    factors, and refuses a ``state_dict`` without them.

    ``name``: dotted name(s) of prompts (..., n, d) as in ``module.named_parameters()``; ``rank``,
    ``dropout``, ``seed``: as for :class:`LowRankPrompt`; several prompts get several seeds. ``p0``:
    False: the prompt loses its value, P0 is zero, and both factors start random, as those of a
    :class:`LowRankPrompt` without ``init``.

    Raises ValueError, and leaves the module unchanged, for a parameter that is unknown (with the
    names that end so, or the nearest), frozen or shared with another module, and for a rank or
    dropout out of range.
    """
    names = (name,) if isinstance(name, str) else tuple(dict.fromkeys(name))
    seeds = [None if seed is None else seed + index * NEXT_SEED for index in range(len(names))]
    prompts = [_prompt(module, each) for each in names]
    updates = [LowRankUpdate(p, rank, dropout, own) for p, own in zip(prompts, seeds, strict=True)]
    for each, update in zip(names, updates, strict=True):
        owner, leaf = _owner(module, each)
        parametrize.register_parametrization(owner, leaf, update)
        if _add_prompts not in owner._state_dict_hooks.values():
            owner.register_state_dict_post_hook(_add_prompts)
            owner.register_load_state_dict_pre_hook(_leave_prompts_out)
        if not p0:
            factors = owner.get_submodule(f"parametrizations.{leaf}").parameters(recurse=False)
            with torch.no_grad():
                start = update.right_inverse(torch.zeros_like(update.init), bare=True)
                for factor, value in zip(factors, start, strict=True):
                    factor.copy_(value)
    return Densified(module, names)


def _owner(module: nn.Module, name: str) -> tuple[nn.Module, str]:
    path, _, leaf = name.rpartition(".")
    return module.get_submodule(path), leaf


def _prompt(module: nn.Module, name: str) -> nn.Parameter:
    """The parameter called ``name``; ValueError when it cannot become a DIP."""
    parameters = dict(module.named_parameters(remove_duplicate=False))
    path, dot, leaf = name.rpartition(".")
    if {name, f"{path}{dot}parametrizations.{leaf}.0.init"} & dict(module.named_buffers()).keys():
        raise ValueError(f"{name!r} is not a plain parameter but a buffer, or densified already")
    ends_so = [each for each in parameters if each.endswith(f".{name}")]
    choices = parameters if name in parameters else ends_so or parameters
    prompt = parameters[one_of("parameter", name, choices)]
    if not prompt.requires_grad:
        raise ValueError(f"{name!r} is frozen; call requires_grad_(True) on it if it should train")
    for other, twin in parameters.items():
        if twin is prompt and _owner(module, other) != _owner(module, name):
            raise ValueError(f"{name!r} is shared with {other!r}; untie them first")
    return prompt


# ---- state dicts --------------------------------------------------------------------------------


def _factors_of(owner: nn.Module) -> Iterator[tuple[str, Mapping[str, Tensor]]]:
    """Name of each densified prompt of a module, and its P0, A and B."""
    if not parametrize.is_parametrized(owner):
        return
    for leaf, each in cast(nn.ModuleDict, owner.parametrizations).items():
        update = cast(nn.Sequential, each)[0]
        if isinstance(update, LowRankUpdate):
            a, b = (cast(Tensor, getattr(each, f"original{i}")) for i in (0, 1))
            yield leaf, {"init": update.init, "a": a, "b": b}


def _add_prompts(owner: nn.Module, state: dict[str, Any], prefix: str, _: Any) -> None:
    """Add the evaluated prompts to a module's state dict, under their own names."""
    for leaf, factors in _factors_of(owner):
        state[f"{prefix}{leaf}"] = low_rank_prompt(**factors).detach()


def _leave_prompts_out(
    owner: nn.Module,
    state: dict[str, Any],
    prefix: str,
    local: Any,
    strict: bool,
    missing: list[str],
    unexpected: list[str],
    errors: list[str],
) -> None:
    """Take the evaluated prompts out of a state dict that is loaded: the factors say it all."""
    for leaf, _ in _factors_of(owner):
        name = f"{prefix}{leaf}"
        plain = state.pop(name, None) is not None
        if plain and f"{prefix}parametrizations.{leaf}.original0" not in state:
            errors.append(
                f"{name} is a whole prompt, and {prefix}{leaf} of this module is densified: load "
                "it before densify, or assign it to the prompt, which then starts there"
            )
