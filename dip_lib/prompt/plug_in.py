"""DIP on a module that is not ours: ``densify`` makes any prompt parameter a low-rank prompt.

It plugs in by ``torch.nn.utils.parametrize``: the module keeps reading its parameter by name.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

from torch import nn
from torch.nn.utils import parametrize

from dip_lib.errors import one_of
from dip_lib.prompt.low_rank import NEXT_SEED, LowRankUpdate


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
) -> Densified:
    """Make a prompt parameter of any module a DIP: of that parameter only the factors train.

    Call it before building the optimiser. The prompt keeps value and dtype; it becomes P0, a
    buffer, and the factors are float32. All reads share a dropout mask until ``step()``; there is
    none in evaluation mode. Assigning to the prompt starts again there. All else stays as it is.

    ``name``: dotted name(s) of prompts (..., n, d) as in ``module.named_parameters()``; ``rank``,
    ``dropout``, ``seed``: as for :class:`LowRankPrompt`; several prompts get several seeds.

    Raises ValueError, and leaves the module unchanged, for a parameter that is unknown (with the
    nearest names), frozen or shared with another module, and for a rank or dropout out of range.
    """
    names = (name,) if isinstance(name, str) else tuple(dict.fromkeys(name))
    seeds = [None if seed is None else seed + index * NEXT_SEED for index in range(len(names))]
    prompts = [_prompt(module, each) for each in names]
    updates = [LowRankUpdate(p, rank, dropout, own) for p, own in zip(prompts, seeds, strict=True)]
    for each, update in zip(names, updates, strict=True):
        parametrize.register_parametrization(*_owner(module, each), update)
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
    prompt = parameters[one_of("parameter", name, parameters)]
    if not prompt.requires_grad:
        raise ValueError(f"{name!r} is frozen; call requires_grad_(True) on it if it should train")
    for other, twin in parameters.items():
        if twin is prompt and _owner(module, other) != _owner(module, name):
            raise ValueError(f"{name!r} is shared with {other!r}; untie them first")
    return prompt
