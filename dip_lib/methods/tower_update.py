"""A low-rank update of the text encoder with as many trainable parameters as DIP (a comparison).

The prompt stays the words'. The attention output of one block, W (d, d), becomes W + a b: a (d, 1)
is random and frozen, b (1, d) is trained from zero. So d numbers are trained, where DIP of rank 1
trains n + d. The frozen factor is that of LoRA-FA (Zhang et al., arXiv 2308.03303), there on a
language model.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from dip_lib.methods.prompt_method import PromptMethod
from dip_lib.methods.prompts import Classifier, FrozenClip, Learned, Start, scores
from dip_lib.randomness import normal


@dataclass(frozen=True, kw_only=True)
class TowerUpdate(PromptMethod):
    """A rank-1 update of one block's attention output behind a frozen prompt.

    What records, the store and :class:`Learned` hold in the prompt's place is the trained factor
    b (1, d): its spectrum says nothing of a prompt.

    Args:
        context: the words of the frozen prompt.
        vectors: as :class:`PromptMethod`'s; 0, since a prompt that is not trained needs words.
        block: whose attention output is updated, from 0.
        factor: number of the frozen random factor.

    Raises:
        ValueError: no words, or a block below 0.
    """

    name = "tower-update"
    label = "Text-tower update"
    settings_of = "coop"
    side = "none"
    per_run = ("factor",)
    sites = ()
    transfers = False
    cuda_graph = False

    block: int = 0
    factor: int = 0

    def check(self) -> None:
        super().check()
        if not self.context:
            raise ValueError("the prompt is not trained: give the words of its context")
        if self.block < 0:
            raise ValueError(f"block = {self.block} must be at least 0")

    def start(self, frozen: FrozenClip, seed: int) -> Start:
        """The trained factor b (1, d) = 0.

        Raises:
            ValueError: a block that the text encoder does not have.
        """
        blocks = len(frozen.clip.model.transformer.resblocks)
        if self.block >= blocks:
            raise ValueError(
                f"block = {self.block}: {frozen.clip.name} has blocks 0 to {blocks - 1}"
            )
        width = frozen.clip.model.positional_embedding.shape[1]
        return Start((torch.zeros(1, width, device=frozen.clip.device),))

    def classifier(self, learned: Learned, frozen: FrozenClip, names: Sequence[str]) -> Classifier:
        """The classifier of any class names: their text in the words' prompt, updated encoder."""
        up = learned.prompts[0]  # (R, 1, d)
        width = up.shape[-1]
        down = normal(frozen.per_run["factor"], (width, 1), stream=7) / width**0.5  # (R, d, 1)
        words = frozen.clip.context(self.context).expand(len(up), -1, -1)
        block: Any = frozen.clip.model.transformer.resblocks[self.block]
        with updated(block.attn.out_proj, down.to(up.device), up):
            text = frozen.clip.class_embeddings(words, names)  # (R, C, e)
        return lambda images: scores(frozen, images, text)


@contextmanager
def updated(layer: nn.Module, down: Tensor, up: Tensor) -> Iterator[None]:
    """Add x a b to the output of a linear layer for inputs x (R, rows, d).

    Args:
        down: a (R, d, 1).
        up: b (R, 1, d).
    """

    def add(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        return output + (inputs[0].float() @ down @ up).to(output.dtype)

    handle = layer.register_forward_hook(add)
    try:
        yield
    finally:
        handle.remove()
