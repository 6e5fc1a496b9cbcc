"""MaPLe (Khattak et al., CVPR 2023): deep text prompts, projected into the image tower.

Block i of either tower reads prompts of its own up to the run's depth; those of the image tower are
linear functions of the text's. Two vectors are trained in place of "a photo"; "of a" stays before
the class name. Source: ``trainers/maple.py`` and ``clip/model.py`` of muzairkhattak's repository.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from dip_lib.accuracy import Classifier
from dip_lib.methods import coop
from dip_lib.methods.method import (
    Batch,
    Learnt,
    Method,
    Setting,
    Start,
    cross_entropy,
    deep_vectors,
    linear,
    scores,
)
from dip_lib.spec import RunSpec
from dip_lib.vision import encode_prompted, width

REST = "of a"
"""What stays between the trained vectors and the class name."""


def start(setting: Setting, spec: RunSpec) -> Start:
    """A prompt for each of ``depth`` text blocks, and a layer from each to the image tower."""
    (context,) = coop.start(setting, spec).prompts
    n, d = context.shape
    deep = deep_vectors(spec, (n, d))
    first, rest = (linear(spec.seed, d, width(setting.clip), stream) for stream in (10, 11))
    layers = (*first, *rest * (spec.depth - 1))  # the deep ones start alike
    device = context.device
    return Start(
        (context, *(each.to(device) for each in deep)), tuple(each.to(device) for each in layers)
    )


def encode(learnt: Learnt, setting: Setting, pixels: Tensor) -> Tensor:
    """Features (R, M, e) under the projected prompts."""
    layers = zip(learnt.prompts, learnt.others[::2], learnt.others[1::2], strict=True)
    visual = [prompt @ w.transpose(1, 2) + b[:, None] for prompt, w, b in layers]  # (R, n, w)
    return encode_prompted(setting.clip, pixels, visual)


def classifier(learnt: Learnt, setting: Setting, names: Sequence[str]) -> Classifier:
    """Logits of any names, for features of the prompted image tower."""
    context, *deep = learnt.prompts
    phrases = [type(name)(f"{REST} {name}") for name in names]  # a Twin stays one
    text = setting.clip.class_embeddings(context, phrases, deep)  # (R, C, e)
    return lambda images: scores(setting, images, text)


def loss(learnt: Learnt, setting: Setting, batch: Batch) -> Tensor:
    """Cross-entropy, (R,)."""
    assert batch.pixels is not None
    images = encode(learnt, setting, batch.pixels)
    return cross_entropy(classifier(learnt, setting, setting.names)(images), batch.labels)


MAPLE = Method(start, loss, classifier=classifier, encode=encode, replays=False)
