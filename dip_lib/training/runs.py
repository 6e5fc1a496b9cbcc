"""R runs of one method, ready to train: what the trainer, the classifier and benchmarks share.

The training loop stands here: epochs over augmented views, an epoch-wise cosine after one warm-up
epoch (CoOp's protocol). Runs may differ in seed, rank, dropout, learning rate and in the settings
that their method lists in ``per_run``.

Symbols: R runs, N training images.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, cast

import torch
from torch import Tensor

from dip_lib.clip.backbone import Backbone
from dip_lib.methods.prompt_method import PromptMethod
from dip_lib.methods.prompts import FrozenClip, Learned
from dip_lib.randomness import permutation
from dip_lib.training.batch_data import TrainingData
from dip_lib.training.cuda_graph import Replay
from dip_lib.training.run import Run, Schedule
from dip_lib.training.state import State, stack
from dip_lib.training.step import EpochTensors, learning_rate, take_step


class EpochEnd(NamedTuple):
    """What training hands over after an epoch."""

    alive: Tensor  # (R,) which runs still have a finite loss
    loss: Tensor  # (R,) the epoch's mean loss of each


@dataclass(frozen=True, eq=False)
class Runs:
    """R runs of one method before, while and after they train.

    Attributes:
        runs: what each is; they share a batch.
        method: of the runs; settings in which they differ are in ``frozen.per_run``.
        frozen: the towers, class names and texts that do not change.
        data: what is trained on.
        state: what trains; updated in place by :meth:`epochs`.
        trainable: trainable parameters of each run.
    """

    runs: tuple[Run, ...]
    method: PromptMethod
    frozen: FrozenClip
    data: TrainingData
    state: State
    trainable: tuple[int, ...]

    @classmethod
    def prepare(cls, runs: Sequence[Run], clip: Backbone, data: TrainingData) -> Runs:
        """The runs before their first step.

        Raises:
            ValueError: runs that cannot share a batch, a method that learns no prompts for the text
                tower, or a rank above min(n, d).
        """
        check_batch(runs)
        if not isinstance(method := runs[0].method, PromptMethod):
            raise ValueError(f"{method.label} learns no prompts for the text tower")
        frozen = frozen_clip(runs, clip, data.names, data.template)
        starts = [method.start(frozen, run.seed) for run in runs]
        numbers = tuple(start.trainable(r.rank) for start, r in zip(starts, runs, strict=True))
        state = stack(starts, runs, bool(method.context))
        return cls(tuple(runs), method, frozen, data, state, numbers)

    def learned(self) -> Learned:
        """What the runs have learned so far, as it is evaluated: without dropout."""
        return self.state.learned()

    def epochs(self, graphs: bool = True) -> Iterator[EpochEnd]:
        """Train in place, and hand over after every epoch. The last step is the result.

        Args:
            graphs: on a GPU, replay the step as a recorded graph; False to check against.
        """
        schedule, device = cast(Schedule, self.runs[0].schedule), self.frozen.clip.device
        trained = self.state.trained
        velocity, averaged = ([torch.zeros_like(each) for each in trained] for _ in range(2))
        lr = [cast(Schedule, run.schedule).lr for run in self.runs]
        rates = torch.tensor(lr, device=device).view(-1, 1, 1)
        epoch_tensors = self._epoch_tensors(rates)
        step = Replay(
            lambda: take_step(
                self.state, velocity, epoch_tensors, self.method, self.frozen, schedule
            ),
            device,
            record=graphs and self.method.cuda_graph,
        )
        count, views = self.data.labels.shape[1], self.runs[0].data.views
        # as the peers: an incomplete last batch is dropped
        steps = count // min(schedule.batch, count)
        for epoch in range(schedule.epochs):
            self._begin(epoch_tensors, epoch, epoch % views)
            factor = learning_rate(epoch, schedule.epochs, 1.0, schedule.warmup)
            epoch_tensors.rate.copy_(rates * factor)
            for _ in range(steps):
                step()
            weight = self.method.average_weight(epoch, schedule.epochs)
            if weight is not None:
                _average(trained, averaged, weight, epoch + 1 == schedule.epochs)
            yield EpochEnd(epoch_tensors.alive.flatten(), epoch_tensors.loss / steps)

    def _epoch_tensors(self, rates: Tensor) -> EpochTensors:
        device, data = rates.device, self.data
        return EpochTensors(
            torch.empty_like(data.images[:, 0]),
            data.labels,
            torch.empty_like(data.labels),
            torch.empty_like(rates),
            torch.zeros((), dtype=torch.int64, device=device),
            torch.zeros(len(self.runs), device=device),
            torch.ones(len(self.runs), 1, 1, dtype=torch.bool, device=device),
            None if data.pixels is None else torch.empty_like(data.pixels[:, 0]),
        )

    def _begin(self, tensors: EpochTensors, epoch: int, view: int) -> None:
        """Set what the steps of an epoch read."""
        tensors.images.copy_(self.data.images[:, view])
        if tensors.pixels is not None and self.data.pixels is not None:
            tensors.pixels.copy_(self.data.pixels[:, view])
        order = permutation(self.state.seeds, epoch, self.data.labels.shape[1])
        tensors.order.copy_(order)
        tensors.loss.zero_()


def check_batch(runs: Sequence[Run]) -> None:
    """Raise ValueError for runs that cannot share a batch; names the first two."""
    shared = runs[0].shared()
    if other := [run for run in runs if run.shared() != shared]:
        raise ValueError(
            "runs of one batch may differ only in seed, rank, dropout, learning rate and "
            f"{runs[0].method.per_run}: {runs[0]} and {other[0]}"
        )


def frozen_clip(
    runs: Sequence[Run], clip: Backbone, names: tuple[str, ...], template: str
) -> FrozenClip:
    """What stays fixed while the runs train on, or are evaluated on, the classes ``names``."""
    settings = runs[0].method.per_run
    values = {name: [getattr(run.method, name) for run in runs] for name in settings}
    tensors = {name: torch.tensor(each, device=clip.device) for name, each in values.items()}
    return FrozenClip(clip, names, template, tensors)


@torch.no_grad()
def _average(
    trained: Sequence[Tensor], totals: Sequence[Tensor], weight: float, last: bool
) -> None:
    """Add an epoch's end to the weighted average; the last epoch's step ends at the average."""
    for total, tensor in zip(totals, trained, strict=True):
        total += weight * tensor
        if last:
            tensor.copy_(total)
