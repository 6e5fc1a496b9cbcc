"""The step that the benchmarks time, both ways: CoOp's own through the text encoder, and ours."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from open_clip.model import CLIP
from open_clip.zero_shot_metadata import IMAGENET_CLASSNAMES
from torch import Tensor

from dip_lib import load_backbone
from dip_lib.clip.backbone import Backbone
from dip_lib.clip.layout import layout

LISTS = json.loads(Path(__file__).with_name("class_names.json").read_text())
IMAGENET = list(IMAGENET_CLASSNAMES)
IMAGENET[744], IMAGENET[836] = "projectile", "sunglass"  # open_clip has two names twice
PART = 100
"""Classes that the reference takes at a time on a CPU, where it cannot take more."""
SMALL = "ViT-S-32"
"""What ``--smoke`` has in the place of ViT-B-16: it knows every word too."""
Result = tuple[Tensor, Tensor]  # logits (32, C), gradient of the prompt (n, d)
Embed = Callable[[Tensor], Tensor]


def settings(classes: Sequence[int], datasets: bool = True) -> dict[str, tuple[str, ...]]:
    """Class names by setting: the first of ImageNet's, and the base classes of two datasets."""
    names_of = {f"ImageNet {c}": tuple(IMAGENET[:c]) for c in classes}
    if datasets:
        names_of["EuroSAT base"] = tuple(LISTS["eurosat_base"])
        names_of["StanfordCars base"] = tuple(LISTS["stanford_cars_base"])
    return names_of


def random_weights(name: str, device: str = "cpu", precision: str = "fp32") -> Backbone:
    """A CLIP with random weights, the same every time: time does not depend on values."""
    logging.getLogger().setLevel(logging.ERROR)  # open_clip warns that the weights are random
    torch.manual_seed(0)
    return load_backbone(name, device=device, precision=precision)


def vit_b_16(device: str = "cpu", precision: str = "fp32") -> Backbone:
    """CLIP ViT-B/16 with random weights."""
    return random_weights("ViT-B-16", device, precision)


def tokens(clip: Backbone, names: Sequence[str], n: int) -> Tensor:
    """Token ids of "[n words] name." at all positions, (C, positions), as CoOp prepares them."""
    word = "a" if clip.known_tokens else "x"  # any word: the context takes its rows
    texts = [f"{' '.join([word] * n)} {name.replace('_', ' ')}." for name in names]
    ids: Tensor = clip.tokenizer(texts)
    return ids.to(clip.device)


def full_length(model: CLIP, ids: Tensor, context: Tensor) -> Tensor:
    """CoOp's way: open_clip's unmodified blocks on all positions of every class.

    Args:
        ids: (C, positions), from :func:`tokens`.
        context: (n, d), fills positions 1 to n.

    Returns:
        (C, e), unit length.
    """
    x = model.token_embedding(ids)
    x = torch.cat([x[:, :1], context.expand(len(x), -1, -1), x[:, 1 + len(context) :]], 1)
    x = x + model.positional_embedding
    for block in model.transformer.resblocks:
        x = block(x, attn_mask=model.attn_mask)
    ends = torch.arange(len(x), device=x.device), ids.argmax(-1)
    x = model.ln_final(x)[ends] @ model.text_projection
    return F.normalize(x, dim=-1)


@dataclass(frozen=True)
class Batch:
    """32 cached image features, and the prompt to train."""

    images: Tensor  # (32, e)
    labels: Tensor  # (32,)
    scale: float
    context: Tensor  # (n, d)

    def loss(self, text: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (32, C) and their cross-entropy."""
        logits = self.scale * self.images @ text.T
        return logits, F.cross_entropy(logits, self.labels)

    def step(self, embed: Embed) -> Result:
        """Embeddings, logits, loss, gradient."""
        logits, loss = self.loss(embed(self.context))
        return logits.detach(), torch.autograd.grad(loss, self.context)[0]

    def step_in_parts(self, parts: Sequence[Embed], slopes: Sequence[Tensor]) -> Result:
        """The same, some classes after others, given the loss's gradient by their embeddings."""
        texts, gradient = [], torch.zeros_like(self.context)
        for embed, slope in zip(parts, slopes, strict=True):
            text = embed(self.context)
            gradient += torch.autograd.grad(text, self.context, slope)[0]
            texts.append(text.detach())
        return self.loss(torch.cat(texts))[0].detach(), gradient


def batch(clip: Backbone, classes: int, dtype: torch.dtype = torch.float32) -> Batch:
    """The same images every time, spread over the classes."""
    source, width = torch.Generator().manual_seed(0), clip.model.text_projection.shape[1]
    images = F.normalize(torch.randn(32, width, generator=source)).to(clip.device, dtype)
    labels = (torch.arange(32) * classes // 32).to(clip.device)
    context = clip.context("a photo of a").to(dtype).requires_grad_()
    return Batch(images, labels, clip.logit_scale, context)


def our_step(clip: Backbone, names: Sequence[str]) -> Callable[[], Result]:
    """A step through :meth:`Backbone.class_embeddings`."""
    inputs = batch(clip, len(names))
    return lambda: inputs.step(lambda context: clip.class_embeddings(context, names))


def in_parts(clip: Backbone, names: Sequence[str]) -> bool:
    """Whether the reference has to take the classes in parts."""
    return len(names) > PART and clip.device.type == "cpu"


def their_step(clip: Backbone, names: Sequence[str]) -> Callable[[], Result]:
    """A step through :func:`full_length`."""
    inputs = batch(clip, len(names))
    ids = tokens(clip, names, len(inputs.context))
    if not in_parts(clip, names):
        return lambda: inputs.step(lambda context: full_length(clip.model, ids, context))
    text = clip.class_embeddings(inputs.context.detach(), names).requires_grad_()
    slopes = torch.autograd.grad(inputs.loss(text)[1], text)[0].split(PART)
    parts = [
        lambda context, part=part: full_length(clip.model, part, context)
        for part in ids.split(PART)
    ]
    return lambda: inputs.step_in_parts(parts, slopes)


def distance(result: Result, truth: Result) -> dict[str, float]:
    """Largest difference of the logits; of the gradient, relative to its largest entry."""
    (logits, slope), (true_logits, true_slope) = result, truth
    return {
        "logits": float((logits - true_logits).abs().max()),
        "gradient": float((slope - true_slope).abs().max() / true_slope.abs().max()),
    }


def against_float64(clip: Backbone, names: Sequence[str]) -> dict[str, dict[str, float]]:
    """How far both ways are from the reference computed in float64."""
    # the image encoder, which plays no part, is not copied
    exact = deepcopy(clip.model, {id(clip.model.visual): None}).double()
    inputs = batch(clip, len(names), torch.float64)
    ids = tokens(clip, names, len(inputs.context))
    truth = inputs.step(lambda context: full_length(exact, ids, context))
    return {
        "ours": distance(our_step(clip, names)(), truth),
        "reference": distance(their_step(clip, names)(), truth),
    }


def rows(clip: Backbone, names: Sequence[str]) -> dict[str, int]:
    """Token states that either way computes in one pass over all classes."""
    encoder = clip.encoder(names, len(clip.context("a photo of a")))
    layout_of = layout(encoder.suffixes, encoder.n, encoder.start_token)
    positions = len(clip.model.positional_embedding)
    return {"ours": len(layout_of.tokens), "reference": len(names) * positions}
