"""Protocols: which images and class names a run trains on, and which judge it.

Base-to-new, as CoCoOp introduced it: the classes in the order of their labels are halved; a run
trains on ``shots`` images of each base class, and is tested on the base half and on the new half,
each among its own names. The images are drawn over *all* classes before the halving, as the peers
do, so that base-to-new and few-shot runs of a seed share them.

Symbols: R runs, V views, N training images, M test images, C base classes, e embedding size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dip_lib.datasets import Dataset, base_new, few_shot
from dip_lib.features import Features
from dip_lib.spec import RunSpec


@dataclass(frozen=True)
class Split:
    """Half of the classes: their names, their test images, labels from 0."""

    names: tuple[str, ...]
    images: Tensor  # (M, e)
    labels: Tensor  # (M,)


@dataclass(frozen=True)
class Task:
    """Base-to-new data of R runs."""

    names: tuple[str, ...]  # C base class names
    images: Tensor  # (R, V, N, e) training views
    labels: Tensor  # (R, N)
    val: list[Split]  # one a run
    base: Split
    new: Split


def _half(features: Tensor, labels: Tensor, classes: Sequence[int], names: Sequence[str]) -> Split:
    inside = torch.isin(labels, torch.tensor(classes, device=labels.device))
    # labels of either half are consecutive, so they start from 0 after subtracting the first
    return Split(tuple(names[c] for c in classes), features[inside], labels[inside] - min(classes))


def base_to_new(specs: Sequence[RunSpec], dataset: Dataset, features: Features) -> Task:
    """The data of R base-to-new runs that share dataset, shots and views.

    Source: CoOp's ``datasets/oxford_pets.py::subsample_classes`` and Dassl's
    ``generate_fewshot_dataset``.
    """
    names, labels = dataset.class_names, features.labels
    base, new = base_new(labels["train"].tolist())
    inside = torch.tensor(base, device=features.train.device)
    images, targets, val = [], [], []
    for spec in specs:
        train, held = few_shot(
            labels["train"].tolist(), spec.shots, spec.seed, labels["val"].tolist()
        )
        at = torch.tensor(train, device=features.train.device)
        at = at[torch.isin(labels["train"][at], inside)]
        images.append(features.train[:, at])
        targets.append(labels["train"][at])
        at = torch.tensor(held, device=features.val.device)
        val.append(_half(features.val[at], labels["val"][at], base, names))
    return Task(
        tuple(names[c] for c in base),
        torch.stack(images),
        torch.stack(targets),
        val,
        _half(features.test, labels["test"], base, names),
        _half(features.test, labels["test"], new, names),
    )
