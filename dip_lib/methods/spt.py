"""SPT (Wang et al., ICML 2024): VPT whose prompts start at prototypes of the image's own tokens.

Block i's prompts are the k-means centres of the patch tokens that enter it in the plain encoder,
over the training images. Source: ``train_MAE.py::prompt_generator`` of
WangYZ1608/Self-Prompt-Tuning, which takes the first block's tokens without their positions; here
they are as the block reads them.

Symbols: N images, M patches, w width, n prompts.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dip_lib.clip.vision_encoder import VisionEncoder
from dip_lib.methods.vpt import VPT, check_counts

TOKENS = 4096
"""Most tokens of a block that k-means reads."""
ROUNDS = 10


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
    if not 1 <= vectors <= len(images) * patches:
        raise ValueError(
            f"{vectors} prototypes of {len(images) * patches} tokens: give at least one, and at "
            "most as many as there are tokens, or more images"
        )
    centres = []
    for entering in tower.states(images)[:depth]:
        bank = entering[:, -patches:].flatten(0, 1).double().cpu().numpy()  # (N M, w)
        means = KMeans(vectors, n_init=1, max_iter=ROUNDS, random_state=seed).fit(bank)
        centres.append(torch.from_numpy(means.cluster_centers_).to(tower.device, torch.float32))
    return centres


@dataclass(frozen=True, kw_only=True)
class SPT(VPT):
    """SPT; settings as VPT's."""

    name = "spt"
    label = "SPT"
    settings_of = "vpt"

    def prompts(self, tower: VisionEncoder, images: Tensor, seed: int) -> list[Tensor]:
        """Prototypes of the tokens that enter each block."""
        return prototypes(tower, images, self.vectors, self.depth, seed)
