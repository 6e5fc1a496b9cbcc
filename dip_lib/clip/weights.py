"""Open_clip's models with weights by tag, from a file, or random; errors name a remedy.

A tag's weights come from open_clip's cache, or are downloaded into it once.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor

from dip_lib.clip.weights_file import activation, load_file
from dip_lib.errors import NoWeightsError, one_of

OPENAI_NAMES = ("ViT-B-16", "ViT-B-32", "ViT-L-14", "RN50")
"""These four always mean OpenAI's architecture, with QuickGELU, also with random weights."""
HUB = "hf-hub:"
"""Names that begin so bring configuration and weights from the Hugging Face hub."""
KINDS = {True: "QuickGELU", False: "GELU"}


def open_clip_model(name: str, pretrained: str | None) -> tuple[Any, Callable[..., Tensor]]:
    """An open_clip model, in eval mode on the CPU, and its preprocessing.

    Args:
        name: as open_clip lists it, or "hf-hub:owner/repository".
        pretrained: open_clip tag, file of weights (open_clip's, safetensors, or OpenAI's own
            ``.pt``), or None for random weights.

    Of a file, OpenAI's archives tell their activation, and so does an ``open_clip_config.json``
    beside it: the model gets this one, or, under the four names, other weights are refused. Of any
    other file it cannot be known, and a warning names the activation that is used.

    Raises:
        ValueError: an unknown name or tag; weights trained with the other activation; a file that
            cannot be read or holds another model; weights that cannot be downloaded.
    """
    import open_clip

    from dip_lib.clip.at_hand import out_of_reach

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
    file = Path(pretrained) if pretrained and not tag else None
    quick = name in OPENAI_NAMES or (file is not None and _quick_gelu(name, file))
    asked, config = tag or name, {"hf_hub": f"{name.removeprefix(HUB)}/"} if hub else {}
    if reason := out_of_reach(open_clip.get_pretrained_cfg(name, tag) if tag else config):
        raise NoWeightsError(name, asked, reason)
    try:
        with _told_by_us(bool(pretrained)):
            model, _, preprocess = open_clip.create_model_and_transforms(
                name, pretrained=tag, force_quick_gelu=quick
            )
    except (RuntimeError, OSError) as error:
        if not (tag or hub):
            raise
        raise NoWeightsError(name, asked, str(error)[:200]) from error
    if file:
        load_file(model, name, file)
    return model.eval(), preprocess


@contextmanager
def _told_by_us(loads: bool) -> Iterator[None]:
    """Without open_clip's log lines that are untrue or said again: that the model stays random
    where weights are loaded into it next, and that a download failed, which an error says."""
    dropped = ("Failed to download weights", *(["initialized randomly"] if loads else []))

    def kept(record: logging.LogRecord) -> bool:
        return not any(words in record.getMessage() for words in dropped)

    logger = logging.getLogger()  # which open_clip logs to
    logger.addFilter(kept)
    try:
        yield
    finally:
        logger.removeFilter(kept)


def _means_quick_gelu(name: str) -> bool:
    """Whether a name of open_clip stands for a model with QuickGELU here."""
    import open_clip

    config = open_clip.get_model_config(name) or {}
    return name in OPENAI_NAMES or bool(config.get("quick_gelu"))


def _quick_gelu(name: str, file: Path) -> bool:
    """Whether a model for the weights of a file needs QuickGELU.

    Raises:
        ValueError: the file tells its activation, and the name stands for the other one.
    """
    import open_clip

    ours, theirs = _means_quick_gelu(name), activation(file)
    if theirs is None:
        other = name.removesuffix("-quickgelu") if ours else f"{name}-quickgelu"
        instead = f", the name {other!r}" if other in open_clip.list_models() else ""
        warnings.warn(
            f"{file} does not say whether it was trained with QuickGELU or GELU; {name} means "
            f"{KINDS[ours]}. With the wrong one accuracy falls silently: if zero-shot accuracy is "
            f"low, take a tag instead of a file, or 'hf-hub:owner/repository'{instead}.",
            stacklevel=4,
        )
        return ours
    if ours and not theirs:
        other = f"Use the name 'hf-hub:owner/repository' of {file.name}"
        raise ValueError(
            f"the weights {file} were trained with GELU, but {name} means QuickGELU here: with the "
            f"wrong one accuracy falls silently. {other}, or other weights."
        )
    return theirs


def _check_activation(name: str, tag: str) -> None:
    """Refuse weights trained with another activation than the model's: they load, and are wrong."""
    import open_clip

    ours, weights = _means_quick_gelu(name), open_clip.get_pretrained_cfg(name, tag)
    theirs = bool(weights.get("quick_gelu"))
    if ours != theirs:
        hub = weights.get("hf_hub", "").strip("/")
        raise ValueError(
            f"the weights {tag!r} of {name} were trained with {KINDS[theirs]}, but {name} means "
            f"{KINDS[ours]} here: with the wrong one accuracy falls silently. "
            + (f"Use the name '{HUB}{hub}'." if hub else "Use other weights.")
        )
