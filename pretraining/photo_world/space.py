"""The projection of image features, 1280 -> 256, and where ImageNet's classes lie in its space.

Features are whitened by the covariance of diverse photographs, so that the best weight of a class
is about the mean of its photographs; of the whitened space those directions are kept in which the
rows of ImageNet's classifier vary most. No label of a web photograph is used.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

SHRINK = 0.3
"""Share of the covariance that is replaced by a multiple of the identity."""


@dataclass(frozen=True)
class Space:
    """A linear projection with bias, and ImageNet's classes in it.

    Attributes:
        weight, bias: (e, 1280) and (e,), rounded to half precision as they are stored.
        classes: (1000, e) unit directions of ImageNet's classifier rows.
    """

    weight: Tensor
    bias: Tensor
    classes: Tensor

    def __call__(self, features: Tensor) -> Tensor:
        """Unit image embeddings of trunk features: (..., 1280) -> (..., e)."""
        return F.normalize(features @ self.weight.T + self.bias, dim=-1)


def make_space(features: Tensor, classifier: Tensor, size: int) -> Space:
    """The space of ``size`` dimensions.

    Args:
        features: (N, 1280) of diverse photographs.
        classifier: (1000, 1280) weight rows of ImageNet's classifier on the same features.
    """
    mean = features.mean(0)
    centred = (features - mean).double()
    covariance = centred.T @ centred / len(centred)
    sphere = covariance.diag().mean() * torch.eye(len(covariance), dtype=torch.double)
    values, vectors = torch.linalg.eigh((1 - SHRINK) * covariance + SHRINK * sphere)
    root, inverse = ((vectors * values**power) @ vectors.T for power in (0.5, -0.5))
    rows = F.normalize((classifier - classifier.mean(0)).double() @ root, dim=1)
    directions = torch.linalg.svd(rows, full_matrices=False).Vh[:size]  # (e, 1280)
    weight = (directions @ inverse).half().float()
    bias = -(weight @ mean).half().float()
    return Space(weight, bias, F.normalize((rows @ directions.T).float(), dim=1))
