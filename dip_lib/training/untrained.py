"""Measuring what is not trained by steps: zero-shot classification, and the linear probe."""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dip_lib.clip.backbone import Backbone
from dip_lib.clip.features import Features, encode_split
from dip_lib.data import Dataset
from dip_lib.data.protocols import Split, among
from dip_lib.machine import work_seconds
from dip_lib.methods.probe import LinearProbe
from dip_lib.methods.zero_shot import ZeroShot
from dip_lib.training.batch_data import draws, halves, trained_classes, training_data
from dip_lib.training.evaluate import accuracies
from dip_lib.training.record import Result, record
from dip_lib.training.run import Run


def zero_shot(run: Run, backbone: Backbone, dataset: Dataset) -> Result:
    """Test accuracy of hand-written templates; on base and new classes also by group of images."""
    began = work_seconds(backbone.device)
    test = encode_split(backbone, dataset, "test")
    base, new = halves(run, dataset, test)
    names = (*base.names, *new.names)
    text = cast(ZeroShot, run.method).text(backbone, dataset.template, names)  # (C, e)

    def classify(images: Tensor) -> Tensor:
        return (backbone.logit_scale * images @ text.T).expand(1, -1, -1)

    (accuracy,) = accuracies(classify, base, new)
    checkpoint = {"epoch": 0, "loss": None, **accuracy}
    of_base, _ = among(dataset.labels("test"), trained_classes(run, dataset))
    checkpoint["by_group"] = _by_group(dataset, of_base.numpy(), base, new, text)
    seconds = work_seconds(backbone.device) - began
    return Result(record(run, (base, new), [checkpoint], seconds), {})


def _by_group(
    dataset: Dataset, of_base: NDArray[np.bool_], base: Split, new: Split, text: Tensor
) -> dict[str, dict[str, float]]:
    """Group of test images -> "base" and "new" accuracy in percent, each half among its names."""
    groups = np.array(dataset.groups("test"))
    accuracy: dict[str, dict[str, float]] = {}
    parts = {
        "base": (base, of_base, text[: len(base.names)]),
        "new": (new, ~of_base, text[len(base.names) :]),
    }
    for half, (split, inside, own) in parts.items():
        for group in sorted(set(groups[inside])):
            chosen = torch.from_numpy(groups[inside] == group).to(split.labels.device)
            right = (split.images[chosen] @ own.T).argmax(1) == split.labels[chosen]
            accuracy.setdefault(group, {})[half] = 100 * float(right.double().mean())
    return accuracy


def probe(run: Run, dataset: Dataset, features: Features) -> Result:
    """Test accuracy on the trained classes of a probe of every view of the few-shot images."""
    began = work_seconds(features.test.device)
    data = training_data([run], dataset, features, draws([run], dataset))
    base, new = halves(run, dataset, features.test)
    images = data.images[0].flatten(0, 1)  # (V * N, e)
    labels = data.labels[0].repeat(data.images.shape[1])
    classes, size = len(data.names), images.shape[1]
    classify = cast(LinearProbe, run.method).fit(images, labels, classes)
    best = classify(base.images).argmax(1)
    accuracy = 100 * float((best == base.labels).double().mean())
    checkpoint = {"epoch": 0, "loss": None, "base": accuracy, "new": None}
    seconds = work_seconds(features.test.device) - began
    return Result(record(run, (base, new), [checkpoint], seconds, classes * (size + 1)), {})
