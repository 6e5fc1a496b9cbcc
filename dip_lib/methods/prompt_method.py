"""The hooks of a method that learns prompts for the text encoder; what it leaves out is CoOp's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from dip_lib.methods.method import Method
from dip_lib.methods.prompts import (
    Batch,
    Classifier,
    FrozenClip,
    Learned,
    Start,
    cross_entropy,
    first_context,
    scores,
)
from dip_lib.prompt.low_rank import SITES


@dataclass(frozen=True, kw_only=True)
class PromptMethod(Method):
    """A method that learns text prompts, and may learn prompts of the image encoder, too.

    Args:
        context: the words whose embeddings the prompt starts from; "": random vectors.
        vectors: context length from random vectors; 0 with words.

    Attributes:
        cuda_graph: whether a step reads no value back from a GPU, so that it can be recorded.
        encodes_images: whether it prompts the image encoder (:meth:`encode`).
        text_per_image: whether the classes' text is encoded anew for every image.
        evaluates_shrunk: whether full-rank prompts are also evaluated with smaller updates.

    Raises:
        ValueError: words and a number of random vectors, or neither.
    """

    side = "text"
    sites = tuple(SITES)
    transfers = True
    cuda_graph: ClassVar[bool] = True
    encodes_images: ClassVar[bool] = False
    text_per_image: ClassVar[bool] = False
    evaluates_shrunk: ClassVar[bool] = False

    context: str = "a photo of a"
    vectors: int = 0

    def check(self) -> None:
        if bool(self.context) == bool(self.vectors):
            raise ValueError(
                f"give words or a number of random vectors: context={self.context!r}, "
                f"vectors={self.vectors}"
            )

    def start(self, frozen: FrozenClip, seed: int) -> Start:
        """The tensors that one run trains: here one prompt, from words or at random."""
        return Start((first_context(frozen.clip, self.context, self.vectors, seed),))

    def loss(self, learned: Learned, frozen: FrozenClip, batch: Batch) -> Tensor:
        """The loss of each run on a batch, (R,): here cross-entropy of the trained classes."""
        logits = self.classifier(learned, frozen, frozen.names)(batch.images)
        return cross_entropy(logits, batch.labels)

    def gradient(
        self, learned: Learned, frozen: FrozenClip, batch: Batch, trained: Sequence[Tensor]
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """The loss (R,), and the step's direction in each tensor of ``trained``: its gradient."""
        loss = self.loss(learned, frozen, batch)
        return loss, torch.autograd.grad(loss, trained, torch.ones_like(loss))

    def classifier(self, learned: Learned, frozen: FrozenClip, names: Sequence[str]) -> Classifier:
        """The classifier of any class names: here by text behind the first prompt."""
        text = frozen.clip.class_embeddings(learned.prompts[0], names)  # (R, C, e)
        return lambda images: scores(frozen, images, text)

    def trained_classifier(self, learned: Learned, frozen: FrozenClip) -> Classifier | None:
        """Of the trained classes, where these are predicted in another way than any names."""
        return None

    def encode(self, learned: Learned, frozen: FrozenClip, pixels: Tensor) -> Tensor:
        """Features (R, M, e) of preprocessed images (R, M, 3, S, S) under image prompts."""
        raise TypeError(f"{self.label} does not prompt the image encoder")

    def average_weight(self, epoch: int, epochs: int) -> float | None:
        """Weight of an epoch's end in the final tensors; None: the last step is the result."""
        return None
