"""Zero-shot CLIP: the dataset's hand-written template, or an ensemble; nothing is trained."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dip_lib.accuracy import accuracies
from dip_lib.backbone import Backbone
from dip_lib.datasets import Dataset
from dip_lib.features import encode_split
from dip_lib.methods.method import TEMPLATES, record, template_text
from dip_lib.protocols import tested
from dip_lib.spec import RunSpec


def zero_shot(spec: RunSpec, backbone: Backbone, dataset: Dataset) -> dict[str, Any]:
    """The record of the template's test accuracy, on base and new classes also by group.

    Method "zero-shot" takes the hand-written template, "ensemble" the average of many.
    """
    began = time.perf_counter()
    test = encode_split(backbone, dataset, "test")
    base, new = tested(dataset, test, spec.protocol)
    templates = [dataset.template]
    if spec.method == "ensemble":  # the glyph towers know few words
        templates += TEMPLATES["photos" if backbone.seen is None else "glyphs"]
    text = template_text(backbone, templates, (*base.names, *new.names))  # (C, e)

    def classify(images: Tensor) -> Tensor:
        return (backbone.logit_scale * images @ text.T).expand(1, -1, -1)

    (score,) = accuracies(classify, base, new)
    groups = np.array(dataset.groups("test"))
    of_base = dataset.labels("test").numpy() < len(base.names)
    by_group: dict[str, dict[str, float]] = {}
    for half, part, inside in (("base", base, of_base), ("new", new, ~of_base)):
        for group in sorted(set(groups[inside])):
            mine = torch.from_numpy(groups[inside] == group).to(part.labels.device)
            own = text[: len(base.names)] if half == "base" else text[len(base.names) :]
            right = (part.images[mine] @ own.T).argmax(1) == part.labels[mine]
            by_group.setdefault(group, {})[half] = 100 * float(right.double().mean())
    result = {"epoch": 0, "loss": None, **score, "by_group": by_group}
    return record(spec, (base, new), [result], time.perf_counter() - began)
