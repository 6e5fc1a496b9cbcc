"""Training with the singular values fixed: the prompt turns, and its Information Density stays.

P = U diag(s) V^T with s of the start; U and V are trained. An experiment on what ID can mean
(ours): whatever changes along such a training, as-read ID explains none of it. Symbols: R runs, n
vectors, d width.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from dip_lib.clip.backbone import Backbone
from dip_lib.prompt.density import centre, singular_values
from dip_lib.prompt.spectrum import with_singular_values
from dip_lib.training.loop import EpochEnd, train_epochs
from dip_lib.training.runs import Runs


def with_read_values(clip: Backbone, prompt: Tensor, values: Tensor) -> Tensor:
    """The prompt nearest to this one whose as-read singular values are these.

    Args:
        prompt: (..., n, d).
        values: (..., n) of what the text encoder's first block reads of the result, centred.

    Returns:
        (..., n, d). Its tokens' means over the width, which no output depends on, are such that it
        is read centred.
    """
    places = clip.as_read(torch.zeros_like(prompt))
    return with_singular_values(centre(clip.as_read(prompt)), values) - places


def train_with_spectrum(runs: Runs) -> Iterator[EpochEnd]:
    """Train R runs in place, their as-read singular values put back after every epoch.

    Gradient steps, each followed by the nearest prompt with the start's spectrum: give runs a batch
    of all their images, so that an epoch is one step.

    Raises:
        ValueError: runs with low-rank updates, whose prompt is not what is trained.
    """
    if low_rank := [run for run in runs.runs if run.rank]:
        raise ValueError(f"{low_rank[0]} trains factors: the spectrum of a full prompt can be held")
    clip, prompt = runs.frozen.clip, runs.state.prompts[0].base
    with torch.no_grad():
        values = singular_values(centre(clip.as_read(prompt)))
    for end in train_epochs(runs, graphs=False):
        with torch.no_grad():
            prompt.copy_(with_read_values(clip, prompt, values))
        yield end
