"""Linear probe: a linear classifier on the same few-shot image features, of the trained classes.

It is no prompt and cannot name new classes; it shows the head-room that a task leaves. Source:
CLIP's linear-probe protocol (Radford et al., 2021), L2-regularised logistic regression by L-BFGS.
"""

from __future__ import annotations

import time
from typing import Any

import torch
import torch.nn.functional as F

from dip_lib.backbone import Backbone
from dip_lib.datasets import Dataset
from dip_lib.features import Features
from dip_lib.methods.method import record
from dip_lib.protocols import task
from dip_lib.spec import RunSpec

PENALTY = 0.01
"""Weight of half the squared norm of the weights, beside the mean cross-entropy."""
SCALE = 10.0
"""Unit features are multiplied by this, so that the penalty has an ordinary meaning."""


def probe(
    spec: RunSpec, backbone: Backbone, dataset: Dataset, features: Features
) -> dict[str, Any]:
    """The record of a probe trained on every view of the run's few-shot images."""
    began = time.perf_counter()
    found = task([spec], dataset, features)
    images = SCALE * found.images[0].flatten(0, 1)  # (V * N, e)
    labels = found.labels[0].repeat(found.images.shape[1])
    classes = len(found.names)
    weight = torch.zeros(classes, images.shape[1], device=images.device, requires_grad=True)
    bias = torch.zeros(classes, device=images.device, requires_grad=True)
    solver = torch.optim.LBFGS([weight, bias], max_iter=300, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        solver.zero_grad()
        value = F.cross_entropy(images @ weight.T + bias, labels)
        value = value + PENALTY / 2 * weight.square().sum()
        value.backward()
        return value

    solver.step(loss)
    best = (SCALE * found.base.images @ weight.T + bias).argmax(1)
    score = 100 * float((best == found.base.labels).double().mean())
    result = {"epoch": spec.epochs, "loss": None, "base": score, "new": None}
    seconds, numbers = time.perf_counter() - began, weight.numel() + bias.numel()
    return record(spec, (found.base, found.new), [result], seconds, numbers)
