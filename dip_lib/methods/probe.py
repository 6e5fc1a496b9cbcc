"""Linear probe: a linear classifier on the same few-shot image features, of the trained classes.

It is no prompt and cannot name new classes; it shows the head-room that a task leaves. Source:
CLIP's linear-probe protocol (Radford et al., 2021), L2-regularised logistic regression by L-BFGS.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from dip_lib.methods.method import Method
from dip_lib.methods.prompts import Classifier

SCALE = 10.0
"""Unit features are multiplied by this, so that the penalty has an ordinary meaning."""
ITERATIONS = 300
"""Of L-BFGS, at most."""


@dataclass(frozen=True, kw_only=True)
class LinearProbe(Method):
    """The linear probe.

    Args:
        penalty: weight of half the squared norm of the weights, beside the mean cross-entropy.
    """

    name = "probe"
    label = "linear probe"

    penalty: float = 0.01

    def fit(self, images: Tensor, labels: Tensor, classes: int) -> Classifier:
        """The classifier (M, e) -> (M, C) trained on unit features (N, e) with labels (N,)."""
        images = SCALE * images
        weight = torch.zeros(classes, images.shape[1], device=images.device, requires_grad=True)
        bias = torch.zeros(classes, device=images.device, requires_grad=True)
        solver = torch.optim.LBFGS(
            [weight, bias], max_iter=ITERATIONS, line_search_fn="strong_wolfe"
        )

        def loss() -> Tensor:
            solver.zero_grad()
            value = F.cross_entropy(images @ weight.T + bias, labels)
            value = value + self.penalty / 2 * weight.square().sum()
            value.backward()
            return value

        solver.step(loss)
        return lambda features: SCALE * features @ weight.T + bias
