"""What a prompt takes held-out pictures for, beside what its bare words take them for.

Symbols: C classes, N pictures.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class HeldOut:
    """Held-out pictures as a prompt names them, and as zero-shot CLIP does.

    Attributes:
        class_names: C names.
        confusion: (C, C) pictures, a row for each class and a column for each name given.
        zero_shot: the same by the words that the prompt started from.
    """

    class_names: tuple[str, ...]
    confusion: Tensor
    zero_shot: Tensor

    @property
    def pictures(self) -> int:
        """N, the held-out pictures."""
        return int(self.confusion.sum())

    @property
    def right(self) -> int:
        """Pictures that the prompt names right."""
        return int(self.confusion.trace())

    @property
    def zero_shot_right(self) -> int:
        """Pictures that the words alone name right."""
        return int(self.zero_shot.trace())


def confusion(named: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Counts (C, C) of the classes ``labels`` (N,), by row, and of the names given, by column."""
    pairs = labels.cpu() * classes + named.cpu()
    return torch.bincount(pairs, minlength=classes**2).view(classes, classes)
