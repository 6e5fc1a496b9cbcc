"""Image features of what callers give: files, whose features are kept, and pictures in memory."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from dip_lib.clip.backbone import Backbone
from dip_lib.clip.features import batch_size
from dip_lib.clip.picture_features import encode_files
from dip_lib.data.decode import faults
from dip_lib.data.in_memory import Picture, as_pil, only_paths
from dip_lib.data.views import plain_view, rgb


def encode_given(
    backbone: Backbone, pictures: Sequence[Picture], skip_unreadable: bool = False
) -> tuple[Tensor, dict[int, str]]:
    """Unit features of pictures in CLIP's test transform, the same in whatever form they come.

    Args:
        pictures: as :func:`dip_lib.data.in_memory.in_order` has them. Where all are files their
            features are kept on disk.
        skip_unreadable: whether a file that is no readable picture is left out. Otherwise it is an
            error.

    Returns:
        Features (M, e) of the readable pictures, in order, and for the other files their place in
        ``pictures`` with what is wrong.

    Raises:
        ValueError: what :func:`dip_lib.data.in_memory.as_pil` refuses.
    """
    if (paths := only_paths(pictures)) is not None:
        return encode_files(backbone, paths, skip_unreadable)
    wrong = _faults(pictures) if skip_unreadable else {}
    sound = [each for i, each in enumerate(pictures) if i not in wrong]
    most, features = batch_size(backbone), list[Tensor]()
    for start in range(0, len(sound), most):
        shown = [rgb(as_pil(each)) for each in sound[start : start + most]]
        views = torch.stack([plain_view(each, backbone.image_size) for each in shown])
        images = views.to(backbone.device).float() / 255
        features.append(backbone.encode_image(backbone.normalise(images)))
    return torch.cat(features), wrong


def _faults(pictures: Sequence[Picture]) -> dict[int, str]:
    """Places of the files that are no readable pictures, with what is wrong."""
    files = {i: Path(p) for i, p in enumerate(pictures) if isinstance(p, str | os.PathLike)}
    wrong = faults(files.values())
    return {i: wrong[path] for i, path in files.items() if path in wrong}
