"""The encoder of one set of class names: chooses how many classes fit in memory at a time.

All classes in one pass is fastest. When their activations would not fit, the classes go through
the encoder in parts: forward without keeping anything, and once more, part by part, in the backward
pass. Gradients stay exact, since a class embedding depends on no other class.

Symbols: R contexts at once, C classes, n context vectors, d width, e embedding size.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from dip_lib.clip.layout import CAPACITY, layout
from dip_lib.clip.text import Classes, encode, prepare
from dip_lib.errors import out_of_memory

if TYPE_CHECKING:
    from open_clip.model import CLIP

STATES = 13
"""Vectors of width d that the backward pass keeps of a row in a block: input, 3 + 2 of queries,
keys and values, 2 of attention, input of the MLP, 4 of its hidden layer."""


class Part(NamedTuple):
    """Some of the classes."""

    members: Tensor  # (c,) their places among the names as given
    classes: Classes


@dataclass(eq=False)
class Encoder:
    """Exact embeddings of C classes behind a learnable context.

    Attributes:
        model: CLIP with a causal text encoder, frozen.
        suffixes: for each class the tokens of its name and what follows, EOT included.
        n: context vectors.
        start_token: id of the start-of-text token.
        per_class: whether every class has a context of its own.
        memory: bytes that the activations of one pass may take; more classes are split in parts.
        before: context vectors before the name, the others follow it; None: all n.
        names: how many tokens of each suffix are its name; needed where vectors follow it.
        parts_at_least: parts that were needed when memory ran out.
    """

    model: CLIP
    suffixes: Sequence[Sequence[int]]
    n: int
    start_token: int
    per_class: bool
    memory: int
    before: int | None = None
    names: Sequence[int] = ()
    parts_at_least: int = 1
    _splits: dict[int, list[Part]] = field(default_factory=dict, repr=False)

    def __call__(self, context: Tensor, deep: Sequence[Tensor] = ()) -> Tensor:
        """Unit class embeddings, differentiable in ``context`` and ``deep``.

        Args:
            context: (R, n, d), or (R, C, n, d) when every class has its own.
            deep: as ``context`` each; ``deep[i]`` replaces the context before block i + 1.

        Returns:
            (R, C, e), fp32.
        """
        prompts = (context, *deep)
        keep = torch.is_grad_enabled() and any(p.requires_grad for p in prompts)

        def run(count: int) -> Tensor:
            if count > 1 and keep:
                embeddings: Tensor = _InParts.apply(self, count, *prompts)
                return embeddings
            return self._forward(count, prompts)

        return self._within_memory(run, self._parts_needed(len(context), keep))

    def _parts_needed(self, runs: int, keep: bool) -> int:
        """Parts so that the activations of each fit; ``keep`` for a later backward pass."""
        (whole,) = self._split(1)
        weight = self.model.transformer.resblocks[0].attn.in_proj_weight
        rows = runs * whole.classes.embedding.numel() * weight.element_size()
        states = rows * STATES * (len(self.model.transformer.resblocks) if keep else 1)
        return min(-(-states // self.memory), len(self.suffixes))

    def _within_memory(self, run: Callable[[int], Any], count: int) -> Any:
        """``run(parts)``, with twice the parts whenever memory runs out."""
        while True:
            count = max(count, self.parts_at_least)
            try:
                return run(count)
            except RuntimeError as error:
                if not out_of_memory(error) or count >= len(self.suffixes):
                    raise
            if self.parts_at_least == 1:
                warnings.warn(
                    f"out of memory with {-(-len(self.suffixes) // count)} classes at a time: "
                    "continuing with half as many, repeatedly if needed (exact, but slower)",
                    stacklevel=3,
                )
            self.parts_at_least = min(2 * count, len(self.suffixes))
            self._splits = {1: self._splits[1]}  # constants of other splits would only take memory

    def _split(self, count: int) -> list[Part]:
        """The classes in ``count`` parts, neighbours in the trie together."""
        if count not in self._splits:
            device = self.model.positional_embedding.device
            dtype = self.model.transformer.resblocks[0].attn.in_proj_weight.dtype
            order = sorted(range(len(self.suffixes)), key=lambda c: tuple(self.suffixes[c]))
            sizes = torch.tensor(order).tensor_split(count)
            self._splits[count] = [
                Part(
                    members.to(device),
                    prepare(
                        self.model,
                        layout(
                            [self.suffixes[c] for c in members.tolist()],
                            self.n,
                            self.start_token,
                            self.per_class,
                            CAPACITY[device.type],
                            self.before,
                            [self.names[c] for c in members.tolist()] if self.names else (),
                        ).to(device, dtype),
                    ),
                )
                for members in sizes
            ]
        return self._splits[count]

    def _encode(self, part: Part, prompts: Sequence[Tensor]) -> Tensor:
        """Embeddings of one part: (R, c, e)."""
        if self.per_class:
            prompts = [p[:, part.members].flatten(1, 2) for p in prompts]  # (R, c * n, d)
        if self.before not in (None, self.n):  # a vector behind the names fills a slot in each
            prompts = [p[:, part.classes.layout.vectors] for p in prompts]
        return encode(self.model, part.classes, prompts[0], prompts[1:])

    def _forward(self, count: int, prompts: Sequence[Tensor]) -> Tensor:
        parts = self._split(count)
        embeddings = torch.cat([self._encode(part, prompts) for part in parts], 1)
        return embeddings[:, torch.cat([part.members for part in parts]).argsort()]

    def _backward(self, count: int, prompts: Sequence[Tensor], gradient: Tensor) -> list[Tensor]:
        """Gradients of the prompts, one part's activations at a time."""
        leaves = [p.detach().requires_grad_() for p in prompts]
        totals = [torch.zeros_like(p) for p in prompts]
        for part in self._split(count):
            with torch.enable_grad():
                embeddings = self._encode(part, leaves)
            parts = torch.autograd.grad(embeddings, leaves, gradient[:, part.members])
            for total, share in zip(totals, parts, strict=True):
                total += share
        return totals


class _InParts(torch.autograd.Function):
    """Encodes in parts, and encodes again when gradients are asked for."""

    @staticmethod
    def forward(ctx: Any, encoder: Encoder, count: int, *prompts: Tensor) -> Tensor:
        ctx.encoder, ctx.count = encoder, count
        ctx.save_for_backward(*prompts)
        return encoder._forward(count, prompts)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
        encoder, prompts = ctx.encoder, ctx.saved_tensors
        slopes = encoder._within_memory(
            lambda count: encoder._backward(count, prompts, gradient), ctx.count
        )
        return (None, None, *slopes)
