"""What methods that learn prompts have in common: the tensors of R runs, and their building blocks.

A method computes R runs at once: whatever is learned has a leading R. It reads prompts as they are
used in a step, whether they are trained as full matrices or as P0 + A B.

Symbols: R runs, B images of a batch, M images, C classes, n vectors of a prompt, d their width,
e embedding size, S side of an image.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from dip_lib.clip.backbone import Backbone
from dip_lib.randomness import normal, uniform

TEMPLATES: dict[str, list[str]] = tomllib.loads(
    Path(__file__).with_name("templates.toml").read_text("utf-8")
)
"""Ensembles of hand-written templates; the file names their sources."""
Classifier = Callable[[Tensor], Tensor]
"""Features of images, (M, e) or (R, M, e) -> logits (R, M, C)."""


@dataclass(frozen=True)
class Start:
    """What one run trains, before the first step.

    Attributes:
        prompts: (n, d) each, or (C, n, d) with vectors for each class; each may be parameterised
            as P0 + A B.
        others: trained beside them, such as a projection or a head.
        rates: learning rate of each of ``others`` as a multiple of the run's.
        directions: (k, n, d), fixed, where a first prompt without classes' own vectors trains k
            coordinates z from 0 and is P0 + sum_i z_i D_i; None: all its entries train.
    """

    prompts: tuple[Tensor, ...]
    others: tuple[Tensor, ...] = ()
    rates: tuple[float, ...] = ()
    directions: Tensor | None = None

    def trainable(self, rank: int) -> int:
        """Trainable parameters; a prompt as P0 + A B has ``rank`` (n + d), 0: all n d.

        Of one with directions its coordinates.
        """
        if self.directions is not None:
            return len(self.directions) + sum(other.numel() for other in self.others)

        def size(prompt: Tensor) -> int:
            *lead, n, d = prompt.shape
            return math.prod(lead) * (rank * (n + d) if rank else n * d)

        return sum(map(size, self.prompts)) + sum(other.numel() for other in self.others)


@dataclass(frozen=True)
class Learned:
    """What R runs have learned, as a step or an evaluation uses it."""

    prompts: tuple[Tensor, ...]  # (R, n, d) each, or (R, C, n, d)
    others: tuple[Tensor, ...] = ()  # (R, ...) each

    def tensors(self, run: int) -> dict[str, Tensor]:
        """What one run has learned, by name, as the store keeps it.

        "prompt" is the first prompt (n, d), merged; then "prompt.1", ..., "other.0", ...
        """
        named = {f"prompt.{i}" if i else "prompt": p for i, p in enumerate(self.prompts)}
        named |= {f"other.{i}": each for i, each in enumerate(self.others)}
        return {name: each[run].detach().cpu().clone() for name, each in named.items()}

    @classmethod
    def of(cls, kept: Sequence[Mapping[str, Tensor]], device: torch.device) -> Learned:
        """The reverse of :meth:`tensors`, for R runs of one method."""
        stacked = {name: torch.stack([k[name] for k in kept]).to(device) for name in kept[0]}
        kinds = {"prompt": list[Tensor](), "other": list[Tensor]()}
        for name in sorted(stacked, key=lambda name: (len(name), name)):  # "prompt.10" behind ".2"
            kinds[name.split(".")[0]].append(stacked[name])
        return cls(tuple(kinds["prompt"]), tuple(kinds["other"]))


@dataclass(frozen=True)
class Batch:
    """The images of one step.

    Attributes:
        images: (R, B, e) features of the frozen encoder.
        labels: (R, B).
        pixels: (R, B, 3, S, S), the encoder's input; only for methods that prompt it.
    """

    images: Tensor
    labels: Tensor
    pixels: Tensor | None = None


@dataclass(frozen=True)
class FrozenClip:
    """What is fixed while R runs train: encoders, trained class names, and their texts.

    Attributes:
        clip: the frozen encoders.
        names: the C classes that are trained.
        template: the dataset's hand-written one, with {} for the class name.
        per_run: setting in which the runs may differ -> its value in each, (R,).
    """

    clip: Backbone
    names: tuple[str, ...]
    template: str
    per_run: Mapping[str, Tensor]
    _texts: dict[str, Tensor] = field(default_factory=dict, init=False, repr=False, compare=False)

    @cached_property
    def template_text(self) -> Tensor:
        """(C, e) class embeddings of the hand-written template: the teacher of KgCoOp, ProGrad."""
        return self.text_of("")

    def text_of(self, template: str) -> Tensor:
        """(C, e) class embeddings of another template, "": the dataset's; computed once."""
        if template not in self._texts:
            chosen = template or self.template
            self._texts[template] = text_of_templates(self.clip, (chosen,), self.names)
        return self._texts[template]

    @cached_property
    def ensemble_text(self) -> Tensor:
        """(C, e) class embeddings of PromptSRC's templates, or of the backbone's own, averaged."""
        return text_of_templates(self.clip, self._ensemble, self.names)

    @cached_property
    def raw_ensemble_text(self) -> Tensor:
        """The same, averaged at the length at which features leave the encoder."""
        return text_of_templates(self.clip, self._ensemble, self.names, unit=False)

    @property
    def _ensemble(self) -> Sequence[str]:
        return self.clip.templates or TEMPLATES["promptsrc"]


def text_of_templates(
    clip: Backbone, templates: Sequence[str], names: Sequence[str], unit: bool = True
) -> Tensor:
    """Unit text embeddings of class names in templates, averaged over these: (C, e).

    Args:
        unit: whether the embeddings have unit length before they are averaged, too.
    """
    plain = [name.replace("_", " ") for name in names]
    each = [
        clip.encode_text([template.format(name) for name in plain], unit) for template in templates
    ]
    return F.normalize(torch.stack(each).mean(0), dim=-1)


def random_vectors(seed: int, shape: Sequence[int], stream: int) -> Tensor:
    """N(0, 0.02^2), as the peers start what has no words. ``stream`` sets draws of a run apart."""
    return 0.02 * normal(seed, shape, stream)


def first_context(clip: Backbone, context: str, vectors: int, seed: int) -> Tensor:
    """What a prompt starts from: embeddings of words, or N(0, 0.02^2): (n, d).

    Args:
        context: the words; "": ``vectors`` random vectors.

    Source: CoOp's ``PromptLearner``.
    """
    if context:
        return clip.context(context)
    width = clip.model.positional_embedding.shape[1]
    return random_vectors(seed, (vectors, width), 4).to(clip.device)


def first_contexts(clip: Backbone, context: str, vectors: int, seed: int, classes: int) -> Tensor:
    """The same for each of C classes: (C, n, d). Random vectors differ from class to class."""
    if context:
        return clip.context(context).expand(classes, -1, -1).contiguous()
    width = clip.model.positional_embedding.shape[1]
    return random_vectors(seed, (classes, vectors, width), 4).to(clip.device)


def check_depth(depth: int) -> None:
    """Raise ValueError for a number of prompted blocks below 1."""
    if depth < 1:
        raise ValueError(f"depth = {depth} must be at least 1, the block that reads the words")


def deep_vectors(seed: int, shape: Sequence[int], depth: int) -> list[Tensor]:
    """The prompts of the text encoder's blocks after the first, up to ``depth``."""
    return [random_vectors(seed, shape, 20 + i) for i in range(1, depth)]


def linear(seed: int, inputs: int, outputs: int, stream: int) -> tuple[Tensor, Tensor]:
    """Weight (outputs, inputs) and bias of a linear layer as torch starts one: uniform."""
    bound = inputs**-0.5
    numbers = uniform(seed, 0, (outputs, inputs + 1), stream) * 2 * bound - bound
    return numbers[:, :-1].contiguous(), numbers[:, -1].contiguous()


def scores(frozen: FrozenClip, images: Tensor, text: Tensor) -> Tensor:
    """Logits (R, M, C) of images (M, e) or (R, M, e) and class embeddings (R, C, e)."""
    return frozen.clip.logit_scale * images @ text.transpose(1, 2)


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean over a batch, (R, B, C) and (R, B) -> (R,)."""
    return F.cross_entropy(logits.transpose(1, 2), labels, reduction="none").mean(1)
