"""What a method hands to the trainer: the state a run starts from."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Start:
    """A prompt P = base + mask * (A B) before the first step.

    Attributes:
        base: (n, d), trained when ``trains_base``, else frozen.
        a, b: (n, r) and (r, d), the factors; r = 0 for a full-rank prompt.
        trains_base: whether ``base`` itself is the trained prompt.
        dropout: probability of dropping an entry of A B.
    """

    base: Tensor
    a: Tensor
    b: Tensor
    trains_base: bool
    dropout: float

    @property
    def trainable(self) -> int:
        """How many numbers this run trains."""
        return self.a.numel() + self.b.numel() + (self.base.numel() if self.trains_base else 0)
