"""What a method is: the tensors that a run starts from, and its loss. The trainer does the rest.

A method computes R runs at once: whatever is learnt has a leading R. It reads prompts as they are
used in a step and never knows whether they are trained themselves or are DIPs (:mod:`.dip`).

Symbols: R runs, B images of a batch, M images, C classes, n vectors of a prompt, d their width,
e embedding size, S side of an image.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from dip_lib.accuracy import Classifier
from dip_lib.backbone import Backbone
from dip_lib.datasets import Dataset
from dip_lib.protocols import Split
from dip_lib.randomness import normal, uniform
from dip_lib.spec import RunSpec


@dataclass(frozen=True)
class Start:
    """What one run trains, before the first step.

    Attributes:
        prompts: (n, d) each; DIP can take their place.
        others: trained beside them, such as a projection or a head.
        rates: learning rate of each of ``others`` as a multiple of the run's.
    """

    prompts: tuple[Tensor, ...]
    others: tuple[Tensor, ...] = ()
    rates: tuple[float, ...] = ()

    def trainable(self, rank: int) -> int:
        """How many numbers are trained; prompts as DIPs have ``rank`` (n + d) each."""
        sizes = [rank * sum(prompt.shape) if rank else prompt.numel() for prompt in self.prompts]
        return sum(sizes) + sum(other.numel() for other in self.others)


@dataclass(frozen=True)
class Learnt:
    """What R runs have learnt, as a step or an evaluation uses it."""

    prompts: tuple[Tensor, ...]  # (R, n, d) each
    others: tuple[Tensor, ...] = ()  # (R, ...) each


@dataclass(frozen=True)
class Setting:
    """What does not change while R runs train.

    Attributes:
        clip: the frozen towers.
        names: the C classes that are trained.
        template: the dataset's hand-written one, with {} for the class name.
        weight: (R,) of the method's own term.
    """

    clip: Backbone
    names: tuple[str, ...]
    template: str
    weight: Tensor

    @cached_property
    def teacher(self) -> Tensor:
        """(C, e) what frozen CLIP makes of the hand-written template."""
        return template_text(self.clip, (self.template,), self.names)

    @cached_property
    def ensemble(self) -> Tensor:
        """(C, e) what it makes of many templates, averaged."""
        # the glyph towers know few words
        templates = TEMPLATES["promptsrc" if self.clip.seen is None else "glyphs"]
        return template_text(self.clip, templates, self.names)


def setting(
    specs: Sequence[RunSpec], clip: Backbone, dataset: Dataset, names: tuple[str, ...]
) -> Setting:
    """What stays fixed while the runs train on the classes ``names``."""
    weight = torch.tensor([spec.weight for spec in specs], device=clip.device)
    return Setting(clip, names, dataset.template, weight)


TEMPLATES: dict[str, list[str]] = tomllib.loads(
    Path(__file__).with_name("templates.toml").read_text("utf-8")
)


def template_text(clip: Backbone, templates: Sequence[str], names: Sequence[str]) -> Tensor:
    """Unit text embeddings of class names in templates, averaged over these: (C, e)."""
    plain = [name.replace("_", " ") for name in names]
    each = [clip.encode_text([template.format(name) for name in plain]) for template in templates]
    return F.normalize(torch.stack(each).mean(0), dim=-1)


@dataclass(frozen=True)
class Batch:
    """The images of one step.

    Attributes:
        images: (R, B, e) features of the frozen tower.
        labels: (R, B).
        pixels: (R, B, 3, S, S), the tower's input; only for methods that prompt it.
    """

    images: Tensor
    labels: Tensor
    pixels: Tensor | None = None


def first_context(clip: Backbone, spec: RunSpec) -> Tensor:
    """What a prompt starts from: embeddings of the spec's words, or N(0, 0.02^2): (n, d).

    Source: CoOp's ``PromptLearner``. Raises ValueError: words and a number of random vectors, or
    neither.
    """
    if bool(spec.context) == bool(spec.vectors):
        raise ValueError(
            f"give words or a number of random vectors: context={spec.context!r}, "
            f"vectors={spec.vectors}"
        )
    if spec.context:
        return clip.context(spec.context)
    width = clip.model.positional_embedding.shape[1]
    return random_vectors(spec.seed, (spec.vectors, width), 4).to(clip.device)


def random_vectors(seed: int, shape: Sequence[int], stream: int) -> Tensor:
    """N(0, 0.02^2), as the peers start what has no words. ``stream`` sets draws of a run apart."""
    return 0.02 * normal(seed, shape, stream)


def deep_vectors(spec: RunSpec, shape: Sequence[int]) -> list[Tensor]:
    """The prompts of the text tower's blocks after the first. Raises ValueError: no depth."""
    if spec.depth < 1:
        raise ValueError(f"depth = {spec.depth} must be at least 1, the block that reads the words")
    return [random_vectors(spec.seed, shape, 20 + i) for i in range(1, spec.depth)]


def linear(seed: int, inputs: int, outputs: int, stream: int) -> tuple[Tensor, Tensor]:
    """Weight (outputs, inputs) and bias of a linear layer as torch starts one: uniform."""
    bound = inputs**-0.5
    numbers = uniform(seed, 0, (outputs, inputs + 1), stream) * 2 * bound - bound
    return numbers[:, :-1].contiguous(), numbers[:, -1].contiguous()


def scores(setting: Setting, images: Tensor, text: Tensor) -> Tensor:
    """Logits (R, M, C) of images (M, e) or (R, M, e) and class embeddings (R, C, e)."""
    return setting.clip.logit_scale * images @ text.transpose(1, 2)


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean over a batch, (R, B, C) and (R, B) -> (R,)."""
    return F.cross_entropy(logits.transpose(1, 2), labels, reduction="none").mean(1)


def prompted_classifier(learnt: Learnt, setting: Setting, names: Sequence[str]) -> Classifier:
    """The classifier of any ``names`` behind the first prompt: CoOp's."""
    text = setting.clip.class_embeddings(learnt.prompts[0], names)  # (R, C, e)
    return lambda images: scores(setting, images, text)


Loss = Callable[[Learnt, Setting, Batch], Tensor]


def plain_gradient(
    loss: Loss, learnt: Learnt, setting: Setting, batch: Batch, trained: Sequence[Tensor]
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """The loss (R,) and its gradient in each tensor of ``trained``."""
    value = loss(learnt, setting, batch)
    return value, torch.autograd.grad(value, trained, torch.ones_like(value))


@dataclass(frozen=True)
class Method:
    """A method; whatever is left out is CoOp's.

    Attributes:
        start: the tensors of one run.
        loss: of each run on a batch, (R,).
        gradient: of the loss, where a method changes it.
        classifier: of any class names.
        trained_classifier: of the trained classes, where they are predicted in another way.
        encode: the tower's input (R, M, 3, S, S) -> features (R, M, e), for methods that prompt the
            image tower.
        average: (epoch, epochs) -> weight of an epoch's end in the final prompts, where they are
            not the last step's.
        replays: whether a step never asks a GPU for a value, so that it can be recorded.
    """

    start: Callable[[Setting, RunSpec], Start]
    loss: Loss
    gradient: Callable[..., tuple[Tensor, tuple[Tensor, ...]]] = plain_gradient
    classifier: Callable[[Learnt, Setting, Sequence[str]], Classifier] = prompted_classifier
    trained_classifier: Callable[[Learnt, Setting], Classifier] | None = None
    encode: Callable[[Learnt, Setting, Tensor], Tensor] | None = None
    average: Callable[[int, int], float] | None = None
    replays: bool = True


def record(
    spec: RunSpec,
    tested: tuple[Split, Split],
    checkpoints: list[dict[str, Any]],
    seconds: float,
    trainable: int = 0,
    status: str = "finished",
    batch_runs: int = 1,
) -> dict[str, Any]:
    """What is kept of a run, but for where and with what it was measured.

    Args:
        tested: test images of the trained classes, and of the others.
        checkpoints: a row each, from the start to the end.
        batch_runs: how many runs trained at once; ``seconds`` are this one's share.
    """
    return {
        "spec": vars(spec).copy(),
        "classes": [len(half.names) for half in tested],
        "test_images": [half.labels.shape[-1] for half in tested],
        "trainable": trainable,
        "status": status,
        "checkpoints": checkpoints,
        "seconds": seconds,
        "batch_runs": batch_runs,
    }
