"""One run trained for its prompt alone, without evaluations along the way."""

from __future__ import annotations

import torch
from torch import Tensor
from tqdm import tqdm

from dip_lib.clip.backbone import Backbone
from dip_lib.training.batch_data import TrainingData
from dip_lib.training.loop import train_epochs
from dip_lib.training.run import Run
from dip_lib.training.runs import Runs


def train_prompt(
    run: Run, backbone: Backbone, data: TrainingData, p0: Tensor
) -> tuple[Tensor, Tensor]:
    """The factors A (n, r) and B (r, d) of a trained prompt, with a bar where it takes long.

    A full-rank prompt is its update times the identity.

    Args:
        data: of one run: images (1, V, M, e) and labels (1, M).
        p0: the start of the prompt (n, d).

    Raises:
        ValueError: a loss that is not finite.
    """
    runs = Runs.prepare([run], backbone, data)
    epochs, lr = runs.schedule.epochs, runs.schedule.lr
    bar = tqdm(train_epochs(runs), "training", epochs, unit="epoch", delay=2, leave=False)
    for alive, _ in bar:
        if not alive.all():
            raise ValueError(f"the loss is not finite with lr = {lr}: choose a smaller one")
    base, a, b = (tensor[0].detach() for tensor in runs.state.prompts[0])
    return (a, b) if run.rank else (torch.eye(len(p0), device=p0.device), base - p0)
