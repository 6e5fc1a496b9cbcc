"""SPT (Wang et al., ICML 2024): VPT whose prompts start from the image's own tokens.

Block i's prompts are made of the patch tokens that enter it in the plain encoder, over the training
images. The paper's prototypes are their k-means centres; its code also offers tokens drawn at
random, which is its default, and tokens drawn of those that pool neighbours of an image by their
mean or largest values. Source: ``train_MAE.py::prompt_generator`` of WangYZ1608/Self-Prompt-Tuning,
which takes the first block's tokens without their positions, and draws images with replacement;
here tokens are as the block reads them, and none is drawn twice.

Symbols: N images, M patches, w width, n prompts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from dip_lib.clip.vision_encoder import VisionEncoder
from dip_lib.errors import one_of
from dip_lib.methods.vpt import VPT, check_counts
from dip_lib.randomness import uniform

TOKENS = 4096
"""Most tokens of a block that k-means reads."""
ROUNDS = 10
AT_ONCE = 32
"""Images whose tokens are computed at once where few of them are drawn."""
CHOICES = ("random", "mean", "max", "k-means")


@torch.no_grad()
def prototypes(
    tower: VisionEncoder, pixels: Tensor, vectors: int, depth: int, seed: int
) -> list[Tensor]:
    """Prompts (n, w) for ``depth`` blocks: k-means centres, started by k-means++ from ``seed``.

    Args:
        pixels: (N, 3, S, S) the training images.

    Raises:
        ValueError: as :func:`dip_lib.methods.vpt.check_counts`; more prompts than tokens to take
            them from.
    """
    from sklearn.cluster import KMeans  # takes a second, which only this start should cost

    check_counts(tower, vectors, depth)
    patches = tower.patches
    images = pixels[:: max(1, len(pixels) * patches // TOKENS)]  # evenly over the classes
    images = images.to(tower.device).float()
    _check_tokens(vectors, len(images) * patches)
    centres = []
    for entering in tower.states(images)[:depth]:
        bank = entering[:, -patches:].flatten(0, 1).double().cpu().numpy()  # (N M, w)
        means = KMeans(vectors, n_init=1, max_iter=ROUNDS, random_state=seed).fit(bank)
        centres.append(torch.from_numpy(means.cluster_centers_).to(tower.device, torch.float32))
    return centres


def _check_tokens(vectors: int, tokens: int) -> None:
    if not 1 <= vectors <= tokens:
        raise ValueError(
            f"{vectors} prompts of {tokens} tokens: give at least one, and at most as many as "
            "there are tokens, or more images"
        )


def pooled(tokens: Tensor, parts: int, choice: str) -> Tensor:
    """Tokens (B, M, w) pooled over ``parts`` stretches of each image: (B, parts, w).

    The first parts - 1 stretches have q = floor(M / (parts - 1)) tokens each. The last has the last
    M mod q tokens of the image, which may be in other stretches, too, or all M where that is none.

    Args:
        choice: "mean" or "max", of each entry.

    Raises:
        ValueError: fewer than 2 parts, or more than M + 1.
    """
    length = tokens.shape[1]
    if not 2 <= parts <= length + 1:
        raise ValueError(
            f"{parts} prompts from tokens pooled by {choice!r}: an image of {length} tokens has 2 "
            f"to {length + 1} stretches; give as many prompts, or tokens='random'"
        )
    size = length // (parts - 1)
    stretches = tokens[:, : size * (parts - 1)].unflatten(1, (parts - 1, size))
    last = tokens[:, -(length % size or length) :]
    if choice == "mean":
        return torch.cat([stretches.mean(2), last.mean(1, keepdim=True)], 1)
    return torch.cat([stretches.amax(2), last.amax(1, keepdim=True)], 1)


@torch.no_grad()
def drawn(
    tower: VisionEncoder, pixels: Tensor, vectors: int, depth: int, seed: int, choice: str
) -> list[Tensor]:
    """Prompts (n, w) for ``depth`` blocks: n of all images' tokens, or of their pooled ones.

    Args:
        pixels: (N, 3, S, S) the training images.
        choice: "random", or how tokens are pooled into n of each image first: "mean" or "max".

    Raises:
        ValueError: as :func:`dip_lib.methods.vpt.check_counts` and :func:`pooled`; more prompts
            than tokens.
    """
    check_counts(tower, vectors, depth)
    patches = tower.patches
    each = patches if choice == "random" else vectors  # candidates of an image
    _check_tokens(vectors, len(pixels) * each)
    rows = [
        uniform(seed, 0, (len(pixels) * each,), 60 + i).argsort(stable=True)[:vectors]
        for i in range(depth)
    ]
    prompts = [torch.empty(vectors, tower.width, device=tower.device) for _ in rows]
    for images in torch.cat([row // each for row in rows]).unique().split(AT_ONCE):
        states = tower.states(pixels[images].to(tower.device).float())
        for entering, row, prompt in zip(states, rows, prompts, strict=False):
            tokens = entering[:, -patches:].float()
            candidates = tokens if choice == "random" else pooled(tokens, vectors, choice)
            here = torch.isin(row // each, images).nonzero().flatten()  # those of these images
            image = torch.searchsorted(images, row[here] // each)
            prompt[here] = candidates[image, row[here] % each]
    return prompts


@dataclass(frozen=True, kw_only=True)
class SPT(VPT):
    """SPT; settings as VPT's, and this, whose default is that of the authors' code.

    Args:
        tokens: what prompts start from: tokens drawn at random ("random"), the same of tokens
            pooled within an image ("mean", "max"), or prototypes ("k-means").

    Raises:
        ValueError: as VPT's, or another choice of tokens.
    """

    name = "spt"
    label = "SPT"
    settings_of = "vpt"
    earlier: ClassVar[Mapping[str, Any]] = {"tokens": "k-means"}

    tokens: str = "random"

    def check(self) -> None:
        super().check()
        one_of("tokens", self.tokens, CHOICES)

    def prompts(self, tower: VisionEncoder, images: Tensor, seed: int) -> list[Tensor]:
        """Made of the tokens that enter each block."""
        if self.tokens == "k-means":
            return prototypes(tower, images, self.vectors, self.depth, seed)
        return drawn(tower, images, self.vectors, self.depth, seed, self.tokens)
