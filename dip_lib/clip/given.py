"""Image features of pictures in memory: encoded when asked for, and not kept on disk."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from dip_lib.clip.backbone import Backbone
from dip_lib.clip.features import batch_size
from dip_lib.data.in_memory import Picture, as_pil
from dip_lib.data.views import plain_view, rgb


def encode_given(backbone: Backbone, pictures: Sequence[Picture]) -> Tensor:
    """Unit features (N, e) of pictures in CLIP's test transform, as of the same pictures in files.

    Raises:
        ValueError: what :func:`dip_lib.data.in_memory.as_pil` refuses.
    """
    most, features = batch_size(backbone), list[Tensor]()
    for start in range(0, len(pictures), most):
        shown = [rgb(as_pil(each)) for each in pictures[start : start + most]]
        views = torch.stack([plain_view(each, backbone.image_size) for each in shown])
        images = views.to(backbone.device).float() / 255
        features.append(backbone.encode_image(backbone.normalise(images)))
    return torch.cat(features)
