"""Zero-shot CLIP: the dataset's hand-written template, nothing is trained."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch

from dip_lib.backbone import Backbone
from dip_lib.datasets import Dataset, base_new
from dip_lib.features import encode_split
from dip_lib.spec import RunSpec


def zero_shot(spec: RunSpec, backbone: Backbone, dataset: Dataset) -> dict[str, Any]:
    """The record of the template's test accuracy on base and new classes, also by group."""
    began = time.perf_counter()
    test = encode_split(backbone, dataset, "test")
    labels = dataset.labels("test").to(backbone.device)
    halves, names = base_new(labels.tolist()), dataset.class_names
    score: dict[str, Any] = {"by_group": {}}
    images, groups = [], np.array(dataset.groups("test"))
    for half, classes in zip(("base", "new"), halves, strict=True):
        text = backbone.encode_text([dataset.template.format(names[c]) for c in classes])
        inside = torch.isin(labels, torch.tensor(classes, device=labels.device))
        right = (test[inside] @ text.T).argmax(1) + min(classes) == labels[inside]
        correct = right.cpu().numpy().astype(float)
        score[half] = 100 * correct.mean()
        of_half = groups[inside.cpu().numpy()]
        for group in sorted(set(of_half)):
            row = score["by_group"].setdefault(group, {})
            row[half] = 100 * correct[of_half == group].mean()
        images.append(len(correct))
    return {
        "spec": vars(spec).copy(),
        "classes": [len(half) for half in halves],
        "test_images": images,
        "trainable": 0,
        "status": "finished",
        "checkpoints": [{"epoch": 0, "loss": None, **score}],
        "seconds": time.perf_counter() - began,
        "batch_runs": 1,
    }
