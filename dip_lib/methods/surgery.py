"""Surgery on trained updates: other spectra and other directions at the same size (ours).

A trained prompt is P0 + U. Here U is replaced by a matrix of the same Frobenius norm with another
spectrum (sharper, flat, of rank 1) or with random singular vectors, or is scaled; nothing is
trained. If a dense spectrum made a prompt general, the sharper ones would be better on new classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dip_lib.methods.coop import CoOp
from dip_lib.methods.text_prompt import TextPromptMethod
from dip_lib.randomness import normal

DRAWS = 3
"""Random sets of directions."""
FACTORS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0)
"""By which an update is scaled, so that runs can be compared at one norm, or at one accuracy on
validation images, by interpolation."""
ROUNDING = 1e-5
"""Singular values below this share of the first are rounding: they have no direction."""


@dataclass(frozen=True, kw_only=True)
class Surgery(TextPromptMethod):
    """Evaluations of the trained updates of a CoOp run, or of its DIP, after surgery.

    Its runs train nothing: they read the prompt of the run with the same settings
    (:meth:`dip_lib.training.run.Run.source`).

    Args:
        context, vectors, class_position: as :class:`TextPromptMethod`'s.
        class_specific: no; surgery is on one prompt.

    Raises:
        ValueError: what :class:`TextPromptMethod` refuses, or class-specific prompts.
    """

    name = "surgery"
    label = "Surgery"
    settings_of = "coop"
    low_rank_label = "Surgery on DIP"
    side = "none"
    transfers = False

    def check(self) -> None:
        super().check()
        if self.class_specific:
            raise ValueError("surgery is on one prompt: class_specific must be False")

    def source(self) -> Any:
        """CoOp with these settings."""
        return CoOp(**{name: getattr(self, name) for name in CoOp.settings()})


def operations(update: Tensor, seed: int) -> dict[str, Tensor]:
    """What an update (n, d) becomes, by name.

    All but the scaled ones ("x 0.5", ...) have its Frobenius norm. "sharper" has its singular
    values squared and "flat" all alike, but for those that are rounding, which stay zero; "rank 1"
    has the first alone. "random 1", ... have its singular values and random singular vectors;
    "random width 1", ... keep the left ones, which say how tokens share a direction.

    Args:
        seed: of the random vectors.

    Raises:
        ValueError: an update that is zero or not finite.
    """
    exact = update.double()
    norm = exact.norm()
    if not (torch.isfinite(norm) and norm > 0):
        raise ValueError(f"an update of norm {float(norm)} has no spectrum to operate on")
    u, s, vt = torch.linalg.svd(exact, full_matrices=False)
    s = torch.where(s > ROUNDING * s[0], s, 0)

    def of(values: Tensor, left: Tensor = u, right: Tensor = vt) -> Tensor:
        changed = (left * values) @ right
        return (changed * (norm / changed.norm())).to(update.dtype)

    made = {
        "sharper": of(s**2),
        "flat": of((s > 0).double()),
        "rank 1": of(s * (torch.arange(len(s), device=s.device) == 0)),
    }
    for draw in range(1, DRAWS + 1):
        left, right = (
            _orthonormal(seed, len(each), len(s), 2 * draw + place).to(s.device)
            for place, each in enumerate((u, vt.T))
        )
        made[f"random {draw}"] = of(s, left, right.T)
        made[f"random width {draw}"] = of(s, u, right.T)
    return made | {f"x {factor:g}": factor * update for factor in FACTORS}


def _orthonormal(seed: int, size: int, count: int, stream: int) -> Tensor:
    """Random orthonormal columns (size, count), uniform over all such, float64."""
    q, r = torch.linalg.qr(normal(seed, (size, count), 40 + stream).double())
    return q * r.diagonal().sign()
