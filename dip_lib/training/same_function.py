"""Another Information Density for the same function: as-read ID moved, class embeddings held.

An experiment on what ID can mean (ours): if prompts that do the same have any density one likes,
density does not say what a prompt does. Symbols: R prompts at once, n vectors, d width, C names.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dip_lib.clip.backbone import Backbone
from dip_lib.prompt.density import centre, information_density
from dip_lib.training.text_drift import centred_drift


@dataclass(frozen=True, kw_only=True)
class Search:
    """How a density is searched for.

    Args:
        steps: of Adam.
        rate: learning rate, in standard deviations of the centred prompt as it is read.
        drift: how far the class embeddings of the held names may move: 1 - cosine, centred over
            the names and averaged.
        weight: of a drift as large as is allowed, against ID_1.
    """

    steps: int = 120
    rate: float = 0.05
    drift: float = 0.001
    weight: float = 0.1


def read_density(clip: Backbone, prompt: Tensor) -> Tensor:
    """As-read ID_1 of prompts (..., n, d): of what the first block reads, centred: (...)."""
    return information_density(clip.as_read(prompt), centred=True)


def same_function(
    clip: Backbone, prompts: Tensor, names: Sequence[str], upwards: Tensor, search: Search
) -> Tensor:
    """Prompts with nearly the same class embeddings and the highest or lowest as-read ID_1 found.

    Adam on ID_1 with a penalty on the drift of the embeddings beyond what is allowed. Of all steps
    that keep to it the one with the best density is the result, so that the embeddings are held
    and how far the density moves is what is found.

    Args:
        prompts: (R, n, d), where each search starts.
        names: C >= 2 class names, whose embeddings are held.
        upwards: (R,) True: the highest density is looked for, False: the lowest.

    Returns:
        (R, n, d), detached. A search that finds nothing better ends where it started.
    """
    start = prompts.detach()
    held = clip.class_embeddings(start, names).detach()  # (R, C, e)
    size = centre(clip.as_read(start)).flatten(1).std(1).view(-1, 1, 1)
    sign = torch.where(upwards, 1.0, -1.0).to(start)
    moved = torch.zeros_like(start, requires_grad=True)  # in standard deviations
    optimiser = torch.optim.Adam([moved], search.rate)
    best, reached = start.clone(), sign * read_density(clip, start)
    for _ in range(search.steps):
        now = start + size * moved
        drift = centred_drift(clip.class_embeddings(now, names), held)  # (R,)
        density = sign * read_density(clip, now)
        with torch.no_grad():
            better = (drift <= search.drift) & (density > reached)
            reached = torch.where(better, density, reached)
            best[better] = now[better]
        beyond = (drift / search.drift - 0.5).relu()  # keeps off the border
        optimiser.zero_grad()
        (search.weight * beyond - density).sum().backward()
        optimiser.step()
    return best
