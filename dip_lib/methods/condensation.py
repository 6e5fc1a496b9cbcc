"""Prompt Condensation (Kim et al., 2023) with its controls: which of a trained VPT's prompts stay.

The paper keeps the prompts with the largest importance, |dL/dm| of a mask m = 1 on a prompt, and
trains them on. Its description (arXiv 2305.17223) can be read in two ways, and no code of it was
found: the size of the mean derivative ("sum"), which vanishes where training has converged, or the
mean size of each image's ("each"). The controls keep as many in each block, but others.

Source of the controls: ours, but for the random subset, which pruning is commonly compared with.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dip_lib.errors import one_of
from dip_lib.methods.vpt import VPT

READINGS = {
    "sum": "|E g|, importance",
    "each": "E|g|, importance",
}
"""Importance by the two readings; g is the derivative of an image's loss in a prompt's mask."""
CONTROLS = {
    "random": "at random",
    "least": "the least important",
    "norm": "the longest",
    "attention": "the most attended",
    "mean": "importance; the others become their mean",
}
"""What stays instead, as many in each block as by |E g|. "mean": those that would go stay as copies
of their mean, so that the sequence is as long as before."""
CHOICES = READINGS | CONTROLS


@dataclass(frozen=True, kw_only=True)
class Condensation(VPT):
    """A trained VPT of which a part of the prompts stays, chosen in one of several ways.

    Args:
        vectors, depth: of the VPT that is condensed (:meth:`source`).
        keep: percentage of its prompts that stays, in (0, 100].
        ranking: over which prompts importance is ranked: of all blocks ("global"), or each "layer".
        tuned: epochs in which prompts and head are trained on.
        choice: which prompts stay: a key of :data:`CHOICES`.
        draw: which random subset, from 1, where ``choice`` is "random"; else 0.

    Raises:
        ValueError: no percentage, an unknown choice or ranking, or a draw that does not go with it.
    """

    name = "condensation"
    label = "VPT condensed"
    settings_of = "vpt"

    keep: float = 30.0
    choice: str = "sum"
    draw: int = 0

    def check(self) -> None:
        super().check()
        one_of("choice", self.choice, CHOICES)
        if not self.keep:
            raise ValueError("keep 0 % of the prompts: k must be in (0, 100]")
        if (self.choice == "random") != (self.draw > 0):
            raise ValueError(
                f"draw = {self.draw} with choice={self.choice!r}: random subsets are numbered from "
                "1, and nothing else is drawn"
            )

    def source(self) -> Any:
        """VPT with these settings."""
        return VPT(vectors=self.vectors, depth=self.depth)
