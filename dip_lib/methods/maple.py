"""MaPLe (Khattak et al., CVPR 2023): deep text prompts, projected into the image encoder.

Block i of either encoder reads prompts of its own up to a depth; those of the image encoder are
linear functions of the text's. Two vectors are trained in place of "a photo"; "of a" stays before
the class name. Source: ``trainers/maple.py`` and ``clip/model.py`` of muzairkhattak's repository.
Precision otherwise than there: see :mod:`dip_lib.methods.coop`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from dip_lib.clip.prompted_vision import encode_prompted, image_width
from dip_lib.methods.prompt_method import PromptMethod
from dip_lib.methods.prompts import (
    Batch,
    Classifier,
    FrozenClip,
    Learned,
    Start,
    check_depth,
    cross_entropy,
    deep_vectors,
    linear,
    scores,
)

REST = "of a"
"""What stays between the trained vectors and the class name."""


@dataclass(frozen=True, kw_only=True)
class MaPLe(PromptMethod):
    """MaPLe.

    Args:
        context, vectors: as CoOp's.
        depth: blocks of each encoder that read prompts of their own, the first included.

    Raises:
        ValueError: what CoOp's does, or a depth below 1.
    """

    name = "maple"
    label = "MaPLe"
    side = "image"
    cuda_graph = False
    encodes_images = True

    context: str = "a photo"
    depth: int = 9

    def check(self) -> None:
        super().check()
        check_depth(self.depth)

    def start(self, frozen: FrozenClip, seed: int) -> Start:
        """A prompt for each of ``depth`` text blocks, and the layers to image prompts."""
        (context,) = super().start(frozen, seed).prompts
        n, d = context.shape
        deep = deep_vectors(seed, (n, d), self.depth)
        first, rest = (linear(seed, d, image_width(frozen.clip), stream) for stream in (10, 11))
        layers = (*first, *rest * (self.depth - 1))  # the deep ones start alike
        device = context.device
        return Start(
            (context, *(each.to(device) for each in deep)),
            tuple(each.to(device) for each in layers),
        )

    def encode(self, learned: Learned, frozen: FrozenClip, pixels: Tensor) -> Tensor:
        """Features (R, M, e) under the projected prompts."""
        layers = zip(learned.prompts, learned.others[::2], learned.others[1::2], strict=True)
        visual = [prompt @ w.transpose(1, 2) + b[:, None] for prompt, w, b in layers]  # (R, n, w)
        return encode_prompted(frozen.clip, pixels, visual)

    def classifier(self, learned: Learned, frozen: FrozenClip, names: Sequence[str]) -> Classifier:
        """Logits of any names, for features of the prompted image encoder."""
        context, *deep = learned.prompts
        phrases = [type(name)(f"{REST} {name}") for name in names]  # a Twin stays one
        text = frozen.clip.class_embeddings(context, phrases, deep)  # (R, C, e)
        return lambda images: scores(frozen, images, text)

    def loss(self, learned: Learned, frozen: FrozenClip, batch: Batch) -> Tensor:
        """Cross-entropy, (R,)."""
        assert batch.pixels is not None
        images = self.encode(learned, frozen, batch.pixels)
        return cross_entropy(self.classifier(learned, frozen, frozen.names)(images), batch.labels)
