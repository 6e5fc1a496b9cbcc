"""The peers' way to train and test a prompt, as a plain loop over pictures: one run at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from steps import full_length, tokens
from torch import Tensor

from dip_lib import few_shot
from dip_lib.clip.backbone import Backbone
from dip_lib.data import Dataset, base_new
from dip_lib.methods import CoOp
from dip_lib.prompt import low_rank_prompt
from dip_lib.randomness import dropout_mask, permutation
from dip_lib.training.loop import learning_rate
from dip_lib.training.parts import Schedule
from dip_lib.training.run import Run
from dip_lib.training.runs import factored

TEST_BATCH = 100
"""Images that the peers' test loader hands over at a time."""


@dataclass(frozen=True)
class Half:
    """Half of the classes with their test pictures."""

    names: tuple[str, ...]
    images: Tensor  # (M, 3, S, S) in 0..1
    labels: Tensor  # (M,) from 0


@dataclass(frozen=True)
class Drawn:
    """The pictures that one base-to-new run needs."""

    train: Tensor  # (V, N, 3, S, S) in 0..1
    labels: Tensor  # (N,)
    halves: dict[str, Half]


def draw(run: Run, clip: Backbone, dataset: Dataset) -> Drawn:
    """Draw a run's training pictures in all views, and all test pictures."""
    labels = {split: dataset.labels(split).tolist() for split in ("train", "val", "test")}
    base, new = base_new(labels["train"])
    chosen, _ = few_shot(labels["train"], run.data.shots, run.seed, labels["val"])
    rows = [row for row in chosen if labels["train"][row] in set(base)]

    def pictures(split: str, views: Sequence[int | None], rows: list[int] | None) -> Tensor:
        batches = dataset.batches(split, views, rows, clip.image_size, clip.device)
        return torch.cat([images.to(clip.device) for images in batches], 1)

    test, truth = pictures("test", (None,), None)[0], dataset.labels("test").to(clip.device)
    halves = {}
    for name, classes in (("base", base), ("new", new)):
        inside = torch.isin(truth, torch.tensor(classes, device=clip.device))
        names = tuple(dataset.class_names[c] for c in classes)
        halves[name] = Half(names, test[inside], truth[inside] - min(classes))
    place = {row: i for i, row in enumerate(sorted(rows))}
    train = pictures("train", tuple(range(run.data.views)), sorted(rows))
    order = [place[row] for row in rows]
    return Drawn(train[:, order], dataset.labels("train")[rows].to(clip.device), halves)


def learn(run: Run, clip: Backbone, drawn: Drawn) -> Iterator[Tensor]:
    """Train one prompt: yields it (n, d) at the start and after every epoch."""
    schedule, views = cast(Schedule, run.schedule), run.data.views
    p0, count = clip.context(cast(CoOp, run.method).context), len(drawn.labels)
    begun = factored(p0, 0, run, has_words=True)
    trained = [begun.a, begun.b] if run.rank else [begun.base]
    dropout = run.low_rank.dropout if run.low_rank else 0.0
    sgd = torch.optim.SGD(
        [t.requires_grad_() for t in trained],
        momentum=schedule.momentum,
        weight_decay=schedule.weight_decay,
    )
    ids = tokens(clip, drawn.halves["base"].names, len(p0))
    batch, step = min(schedule.batch, count), 0
    seed = torch.tensor(run.seed, device=clip.device)
    yield p0.detach().clone()  # full rank trains it in place
    for epoch in range(schedule.epochs):
        rate = learning_rate(epoch, schedule.epochs, schedule.lr, schedule.warmup)
        sgd.param_groups[0]["lr"] = rate
        order = permutation(seed, epoch, count)
        for first in range(0, count - batch + 1, batch):
            chosen = order[first : first + batch]
            pictures = clip.normalise(drawn.train[epoch % views, chosen])
            mask = dropout_mask(seed, step, p0.shape, dropout)
            prompt = low_rank_prompt(*begun, mask)
            text = full_length(clip.model, ids, prompt)
            logits = clip.logit_scale * clip.encode_image(pictures) @ text.T
            sgd.zero_grad()
            F.cross_entropy(logits, drawn.labels[chosen]).backward()
            sgd.step()
            step += 1
        yield low_rank_prompt(*begun).detach()


@torch.no_grad()
def correct(clip: Backbone, prompt: Tensor, half: Half) -> int:
    """Test images put right; class embeddings are computed again for every batch of them."""
    ids, right = tokens(clip, half.names, len(prompt)), 0
    for first in range(0, len(half.labels), TEST_BATCH):
        batch = slice(first, first + TEST_BATCH)
        features = clip.encode_image(clip.normalise(half.images[batch]))
        best = (features @ full_length(clip.model, ids, prompt).T).argmax(-1)
        right += int((best == half.labels[batch]).sum())
    return right


@torch.no_grad()
def accuracies(
    clip: Backbone, prompt: Tensor, drawn: Drawn, tested: dict[str, Tensor]
) -> dict[str, float]:
    """Base and new accuracy, percent, from encoded test images."""
    percent = {}
    for name, half in drawn.halves.items():
        text = full_length(clip.model, tokens(clip, half.names, len(prompt)), prompt)
        best = (tested[name] @ text.T).argmax(-1)
        percent[name] = 100 * float((best == half.labels).double().mean())
    return percent
