"""CoOp in a random subspace: as many numbers as DIP, not spent on a rank (ours).

DIP spends n + d numbers on a product of two vectors, so that all n vectors of the prompt move along
one direction. Here they are coordinates: P = P0 + sum_i z_i D_i, with n + d random orthonormal
directions D_i that do not train. The update can have any rank, its numbers are worth the same, and
a step of SGD in z is the projection of CoOp's own step. After training P is one matrix. Class
embeddings are kept close to those of the hand-written template, as in KgCoOp (Yao et al., CVPR
2023). Source of training in random subspaces: Li et al., *Measuring the Intrinsic Dimension of
Objective Landscapes* (ICLR 2018).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dip_lib.methods.prompts import Batch, FrozenClip, Learned, Start, cross_entropy, scores
from dip_lib.methods.text_prompt import TextPromptMethod
from dip_lib.randomness import normal


def random_directions(seed: int, n: int, d: int, count: int) -> Tensor:
    """Orthonormal directions (count, n, d), uniform over all such; float32, by the seed alone."""
    columns = normal(seed, (n * d, count), stream=9).double()
    basis, _ = torch.linalg.qr(columns)  # its signs do not matter to the subspace
    return basis.T.float().reshape(count, n, d)


@dataclass(frozen=True, kw_only=True)
class Subspace(TextPromptMethod):
    """CoOp in a random subspace.

    Args:
        context, vectors, class_position, class_specific: as :class:`TextPromptMethod`'s; there must
            be words, and one prompt for all classes.
        weight: of the distance to the template's text; KgCoOp's 8 is for CLIP's logit scale.
        directions: how many, which is how many parameters train; 0: n + d, as DIP of rank 1 has.

    Raises:
        ValueError: what :class:`TextPromptMethod` refuses, no words, class-specific prompts, or a
            negative weight or number of directions.
    """

    name = "subspace"
    label = "Subspace"
    sites = ()
    per_run = ("weight",)

    weight: float = 8.0
    directions: int = 0

    def check(self) -> None:
        super().check()
        if not self.context or self.class_specific:
            raise ValueError(
                f"a subspace is around one prompt from words: context = {self.context!r}, "
                f"class_specific = {self.class_specific}"
            )
        for name in ("weight", "directions"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} = {getattr(self, name)} must be at least 0")

    def start(self, frozen: FrozenClip, seed: int) -> Start:
        """The words' prompt (n, d), and the directions along which it moves.

        Raises:
            ValueError: more directions than the prompt has entries.
        """
        (prompt,) = super().start(frozen, seed).prompts
        n, d = prompt.shape
        count = self.directions or n + d
        if count > n * d:
            raise ValueError(f"directions = {count} must be at most n d = {n * d}")
        return Start((prompt,), directions=random_directions(seed, n, d, count).to(prompt.device))

    def loss(self, learned: Learned, frozen: FrozenClip, batch: Batch) -> Tensor:
        """Cross-entropy plus weight * mean(1 - cos(text, template's text)), (R,)."""
        text = self.text(learned, frozen, frozen.names)  # (R, C, e)
        distance = 1 - (text * frozen.template_text).sum(-1).mean(-1)
        prediction = cross_entropy(scores(frozen, batch.images, text), batch.labels)
        return prediction + frozen.per_run["weight"] * distance
