"""Open_clip's models with weights by tag, from a file, or random; errors name a remedy.

A tag's weights come from open_clip's cache, or are downloaded into it once.
"""

from __future__ import annotations

import logging
import pickle
import struct
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import open_clip
import torch
from open_clip.factory import load_state_dict
from safetensors import SafetensorError
from torch import Tensor, nn

from dip_lib.clip.at_hand import out_of_reach
from dip_lib.errors import NoWeightsError, one_of

OPENAI_NAMES = ("ViT-B-16", "ViT-B-32", "ViT-L-14", "RN50")
"""These four always mean OpenAI's architecture, with QuickGELU, also with random weights."""
HUB = "hf-hub:"
"""Names that begin so bring configuration and weights from the Hugging Face hub."""


def open_clip_model(name: str, pretrained: str | None) -> tuple[Any, Callable[..., Tensor]]:
    """An open_clip model, in eval mode on the CPU, and its preprocessing.

    Args:
        name: as open_clip lists it, or "hf-hub:owner/repository".
        pretrained: open_clip tag, file of weights (open_clip's, safetensors, or OpenAI's own
            ``.pt``), or None for random weights.

    Raises:
        ValueError: an unknown name or tag; weights trained with the other activation; a file that
            cannot be read or holds another model; weights that cannot be downloaded.
    """
    hub = name.startswith(HUB)
    if not hub:
        one_of("backbone", name, open_clip.list_models())
    tags = [] if hub else open_clip.list_pretrained_tags_by_model(name)
    tag = pretrained if pretrained in tags else None
    if pretrained and not tag and not Path(pretrained).is_file():
        if "/" in pretrained or "." in pretrained:
            raise ValueError(f"the file of weights {pretrained} does not exist")
        one_of(f"weights of {name} (or a file)", pretrained, tags)
    if tag:
        _check_activation(name, tag)
    asked, config = tag or name, {"hf_hub": f"{name.removeprefix(HUB)}/"} if hub else {}
    if reason := out_of_reach(open_clip.get_pretrained_cfg(name, tag) if tag else config):
        raise NoWeightsError(name, asked, reason)
    try:
        with _told_by_us(bool(pretrained)):
            model, _, preprocess = open_clip.create_model_and_transforms(
                name, pretrained=tag, force_quick_gelu=name in OPENAI_NAMES
            )
    except (RuntimeError, OSError) as error:
        if not (tag or hub):
            raise
        raise NoWeightsError(name, asked, str(error)[:200]) from error
    if pretrained and not tag:
        _load_file(model, name, Path(pretrained))
    return model.eval(), preprocess


@contextmanager
def _told_by_us(loads: bool) -> Iterator[None]:
    """Without open_clip's log lines that are untrue or said again: that the model stays random
    where a file is loaded into it next, and that a download failed, which an error says."""
    dropped = ("Failed to download weights", *(["initialized randomly"] if loads else []))

    def kept(record: logging.LogRecord) -> bool:
        return not any(words in record.getMessage() for words in dropped)

    logger = logging.getLogger()
    logger.addFilter(kept)
    try:
        yield
    finally:
        logger.removeFilter(kept)


def _check_activation(name: str, tag: str) -> None:
    """Refuse weights trained with another activation than the model's: they load, and are wrong."""
    config, weights = open_clip.get_model_config(name), open_clip.get_pretrained_cfg(name, tag)
    ours = name in OPENAI_NAMES or bool(config.get("quick_gelu"))
    theirs = bool(weights.get("quick_gelu"))
    if ours != theirs:
        kinds = {True: "QuickGELU", False: "GELU"}
        hub = weights.get("hf_hub", "").strip("/")
        raise ValueError(
            f"the weights {tag!r} of {name} were trained with {kinds[theirs]}, but {name} means "
            f"{kinds[ours]} here: with the wrong one accuracy falls silently. "
            + (f"Use the name '{HUB}{hub}'." if hub else "Use other weights.")
        )


def _load_file(model: nn.Module, name: str, path: Path) -> None:
    """Load a file's weights into ``model``, all of them or none."""
    try:
        state = _read(path)
        counters = (
            "num_batches_tracked"  # of BatchNorm: not every file has them, nothing reads them
        )
        shapes = {k: v.shape for k, v in model.state_dict().items() if counters not in k}
        wrong = [k for k in shapes if k not in state or state[k].shape != shapes[k]]
        unknown = [key for key in state if key not in shapes and counters not in key]
        if wrong or unknown:
            raise ValueError(
                f"{path} does not hold {name}: {len(wrong)} tensors are missing or of another "
                f"shape ({', '.join(wrong[:3])}), {len(unknown)} are unknown "
                f"({', '.join(unknown[:3])})"
            )
    except (RuntimeError, OSError, EOFError, KeyError, AttributeError, struct.error) as error:
        raise ValueError(f"cannot read the weights {path}: {str(error)[:200]}") from error
    except (pickle.UnpicklingError, SafetensorError) as error:
        raise ValueError(f"{path} is not a file of weights: {str(error)[:200]}") from error
    model.load_state_dict(state, strict=False)


def _read(path: Path) -> Mapping[str, Tensor]:
    """Name -> tensor of a checkpoint; what OpenAI's archives hold beside weights is left out."""
    if zipfile.is_zipfile(path) and any("/code/" in n for n in zipfile.ZipFile(path).namelist()):
        state = torch.jit.load(path, map_location="cpu").state_dict()
    else:
        state = load_state_dict(str(path))
    beside = ("input_resolution", "context_length", "vocab_size")
    return {key: value for key, value in state.items() if key not in beside}
