"""Reading a file of weights: the formats and wrappings that are met, and what others need.

Nothing is unpickled but tensors, numbers and numpy's own: a checkpoint cannot run code.
"""

from __future__ import annotations

import json
import pickle
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file as load_safetensors
from torch import Tensor, nn
from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

LFS = b"version https://git-lfs.github.com/spec/"
INSIDE = ("state_dict", "model_state_dict", "model", "module")
"""Keys under which a checkpoint keeps the weights beside other things."""
WRAPPERS = ("module.", "model.", "_orig_mod.", "clip_model.")
"""What DistributedDataParallel, Lightning and torch.compile put before every name."""
BESIDE = ("input_resolution", "context_length", "vocab_size")
"""What OpenAI's archives hold beside weights."""
COUNTERS = "num_batches_tracked"
"""Of BatchNorm: not every file has them, nothing reads them."""
_SCALAR, _ARRAY = (cast(Any, each.__reduce__())[0] for each in (np.float64(), np.zeros(1)))
OF_NUMPY: list[Any] = [
    *(_SCALAR, _ARRAY, np.ndarray, np.dtype),
    (_SCALAR, "numpy.core.multiarray.scalar"),  # as numpy 1 wrote them
    (_ARRAY, "numpy.core.multiarray._reconstruct"),
    *(getattr(np.dtypes, name) for name in np.dtypes.__all__),
]
"""Numbers and arrays of numpy, such as a best accuracy, which run no code."""

DAMAGED = (
    *(RuntimeError, OSError, EOFError, LookupError, AttributeError, TypeError, OverflowError),
    *(UnicodeDecodeError, struct.error),
)
"""What torch's readers raise over a damaged file, beside ``pickle.UnpicklingError``."""


def load_file(model: nn.Module, name: str, path: Path) -> None:
    """Load a file's weights into ``model``, all of them or none.

    Args:
        name: of the model, for the message.
        path: a checkpoint of torch, plain or wrapped, safetensors, or OpenAI's archive.

    Raises:
        ValueError: a Git LFS pointer, a damaged file, one that holds other Python objects than
            tensors and numbers, or another model; each with what to do.
    """
    state = _read(path)
    shapes = {k: v.shape for k, v in model.state_dict().items() if COUNTERS not in k}
    state = _unwrapped(state, shapes.keys())
    wrong = [k for k in shapes if k not in state or state[k].shape != shapes[k]]
    unknown = [key for key in state if key not in shapes and COUNTERS not in key]
    if wrong or unknown:
        raise ValueError(
            f"{path} does not hold {name}: {len(wrong)} tensors are missing or of another "
            f"shape ({', '.join(wrong[:3])}), {len(unknown)} are unknown "
            f"({', '.join(unknown[:3])})"
        )
    model.load_state_dict(state, strict=False)


def activation(path: Path) -> bool | None:
    """Whether a file's weights were trained with QuickGELU; None: neither it nor its folder says.

    OpenAI's archives were. Else an ``open_clip_config.json`` beside the file says, as repositories
    of the Hugging Face hub have it.
    """
    if _is_archive(path):
        return True
    try:
        config = json.loads(path.with_name("open_clip_config.json").read_text("utf-8"))
        return bool(config["model_cfg"].get("quick_gelu"))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _is_archive(path: Path) -> bool:
    """Whether a file is TorchScript, as OpenAI's are."""
    try:
        return zipfile.is_zipfile(path) and any(
            "/code/" in name for name in zipfile.ZipFile(path).namelist()
        )
    except (OSError, zipfile.BadZipFile):
        return False


def _read(path: Path) -> Mapping[str, Tensor]:
    """Name -> tensor of a file, as it names them."""
    try:
        with open(path, "rb") as file:
            start = file.read(len(LFS))
        if start == LFS:
            raise ValueError(
                f"{path} is a Git LFS pointer of {path.stat().st_size} bytes, not the weights "
                "themselves: run `git lfs pull` in its folder, or download the file"
            )
        if _is_archive(path):
            state = torch.jit.load(path, map_location="cpu").state_dict()
            return {key: value for key, value in state.items() if key not in BESIDE}
        if path.suffix == ".safetensors":
            return load_safetensors(path)
        with safe_globals(OF_NUMPY):
            return _inside(torch.load(path, map_location="cpu", weights_only=True), path)
    except DAMAGED as error:
        raise ValueError(f"cannot read the weights {path}: {str(error)[:200]}") from error
    except SafetensorError as error:
        raise ValueError(f"{path} is not a file of weights: {str(error)[:200]}") from error
    except pickle.UnpicklingError as error:
        raise ValueError(_why_not_unpickled(path)) from error


def _why_not_unpickled(path: Path) -> str:
    """What a checkpoint holds that is not read, and how to make one that is."""
    try:
        with safe_globals(OF_NUMPY):
            others = sorted(get_unsafe_globals_in_checkpoint(path))
    except (ValueError, pickle.UnpicklingError, *DAMAGED):
        others = []  # of the format before torch 1.6, or damaged
    if not others:
        return f"{path} is not a file of weights, or is damaged: download it again"
    return (
        f"{path} holds Python objects beside its weights ({', '.join(others[:3])}), which are not "
        "read, as they can run code. If you trust the file, keep its weights alone: "
        f"torch.save(torch.load({str(path)!r}, weights_only=False)['state_dict'], 'weights.pt')"
    )


def _inside(checkpoint: Any, path: Path) -> Mapping[str, Tensor]:
    """The weights of a checkpoint, which may keep them beside an epoch, an optimiser and more."""
    while isinstance(checkpoint, Mapping):
        inner = [checkpoint[key] for key in INSIDE if isinstance(checkpoint.get(key), Mapping)]
        if not inner:
            break
        checkpoint = inner[0]
    if not isinstance(checkpoint, Mapping):
        kind = type(checkpoint).__name__
        raise ValueError(f"{path} holds no weights by name but a {kind}: save a state_dict instead")
    tensors = {str(k): v for k, v in checkpoint.items() if isinstance(v, Tensor)}
    if not tensors:
        raise ValueError(f"{path} holds no weights: its keys are {', '.join(map(str, checkpoint))}")
    return tensors


def _unwrapped(state: Mapping[str, Tensor], wanted: Any) -> Mapping[str, Tensor]:
    """The weights without what wrappers put before every name, such as "module._orig_mod."."""
    while state and not state.keys() & wanted:
        first = next((w for w in WRAPPERS if any(key.startswith(w) for key in state)), "")
        if not first:
            break
        state = {key.removeprefix(first): value for key, value in state.items()}
    return state
