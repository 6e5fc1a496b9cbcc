"""Zero-shot CLIP: the dataset's hand-written template, nothing is trained."""

from __future__ import annotations

import time
from typing import Any

import torch

from dip_lib.backbone import Backbone
from dip_lib.datasets import Dataset, base_new
from dip_lib.features import encode_split
from dip_lib.spec import RunSpec


def zero_shot(spec: RunSpec, backbone: Backbone, dataset: Dataset) -> dict[str, Any]:
    """The record of the template's test accuracy on base and on new classes."""
    began = time.perf_counter()
    test = encode_split(backbone, dataset, "test")
    labels = dataset.labels("test").to(backbone.device)
    halves, names = base_new(labels.tolist()), dataset.class_names
    score, images = {}, []
    for half, classes in zip(("base", "new"), halves, strict=True):
        text = backbone.encode_text([dataset.template.format(names[c]) for c in classes])
        inside = torch.isin(labels, torch.tensor(classes, device=labels.device))
        best = (test[inside] @ text.T).argmax(1) + min(classes)
        score[half] = 100 * float((best == labels[inside]).double().mean())
        images.append(int(inside.sum()))
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
