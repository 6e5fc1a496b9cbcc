"""A handful of Greek glyphs as a dataset, and runs of any method on it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from functools import cache, cached_property
from typing import Any

import torch
from torch import Tensor

from dip_lib import load_backbone
from dip_lib.clip.backbone import Backbone
from dip_lib.clip.features import Features
from dip_lib.data import load_dataset
from dip_lib.methods import METHODS, PromptMethod
from dip_lib.methods.prompts import Learned, Start
from dip_lib.training.batch_data import EvaluationData, draws, evaluation_data, training_data
from dip_lib.training.loop import train_epochs
from dip_lib.training.parts import Data, LowRank, Tower
from dip_lib.training.run import Run, schedule_type
from dip_lib.training.runs import Runs

NAMES = (
    *("capital alpha", "capital iota with dialytika", "capital xi"),
    *("small eta", "small eta with tonos", "small pi"),
)
COUNTS = {"train": 3, "val": 3, "test": 5}
"""Images of each class."""
DIP = LowRank(rank=1, dropout=0.5)
HOSTS = tuple(
    name
    for name, kind in METHODS.items()
    if issubclass(kind, PromptMethod) and kind.side != "none" and kind.sites
)
"""Methods that learn prompts for the text tower, and may hold them as DIPs."""
IMAGE_SIDE = tuple(name for name in HOSTS if METHODS[name].encodes_images)


@cache
def drawn(split: str, view: int | None) -> Tensor:
    """The few images of a split (N, 3, S, S), class by class: drawn once in a process."""
    whole = load_dataset("greek")
    labels = whole.labels(split)
    classes = sorted(whole.class_names.index(name) for name in NAMES)
    each = [(labels == c).nonzero().flatten()[: COUNTS[split]] for c in classes]
    return torch.cat(list(whole.batches(split, (view,), torch.cat(each).tolist())), 1)[0]


class Few:
    """Six classes of Glyph World's "greek", a few images of each."""

    name, class_names, fingerprint = "greek", NAMES, "few"
    template = load_dataset("greek").template

    def labels(self, split: str) -> Tensor:
        return torch.arange(len(NAMES)).repeat_interleave(COUNTS[split])

    def groups(self, split: str) -> list[str]:
        return ["all"] * len(self.labels(split))

    def batches(
        self,
        split: str,
        views: Sequence[int | None] = (None,),
        rows: Sequence[int] | None = None,
        size: int | None = None,
        device: str | torch.device = "cpu",
    ) -> Iterator[Tensor]:
        every = torch.stack([drawn(split, view) for view in views])
        yield every if rows is None else every[:, list(rows)]


@dataclass(frozen=True)
class Bench:
    """A tower and the few glyphs."""

    clip: Backbone
    dataset: Few

    @cached_property
    def features(self) -> Features:
        def encode(split: str, view: int | None) -> Tensor:
            (images,) = self.dataset.batches(split, (view,))
            # rounded as the trainer keeps pixels, so that a module that reads these sees the same
            return self.clip.encode_image(self.clip.normalise(images[0]).half().float())

        train = torch.stack([encode("train", view) for view in (0, 1)])
        labels = {split: self.dataset.labels(split) for split in COUNTS}
        return Features(train, encode("val", None), encode("test", None), labels)

    def prepare(self, *runs: Run) -> Runs:
        """The runs before their first step."""
        rows = draws(runs, self.dataset)
        reads_pixels = self.clip if runs[0].method.encodes_images else None
        data = training_data(runs, self.dataset, self.features, rows, reads_pixels)
        # three of nine labels are wrong, so that ProGrad's teacher has something to oppose
        data = replace(data, labels=data.labels.roll(1, 1))
        return Runs.prepare(runs, self.clip, data)

    def evaluation(self, *runs: Run) -> EvaluationData:
        return evaluation_data(runs, self.dataset, self.features, draws(runs, self.dataset))


def few(tower: str = "glyph-vit") -> Bench:
    return Bench(load_backbone(tower), Few())


def start_of(runs: Runs, which: int = 0) -> Start:
    """What one of the runs trains, before the first step."""
    return runs.method.start(runs.frozen, runs.runs[which].seed)


def train_all(runs: Runs) -> list[Tensor]:
    """Train to the end; the mean losses (R,) of the epochs."""
    return [end.loss.clone() for end in train_epochs(runs)]


def learned(runs: Runs) -> Learned:
    """What the runs have learned so far, without its graph."""
    now = runs.learned()
    prompts, others = ([t.detach() for t in each] for each in (now.prompts, now.others))
    return Learned(tuple(prompts), tuple(others))


def run(method: str, seed: int = 1, low_rank: LowRank | None = None, **changes: Any) -> Run:
    """Two epochs of two steps, on 9 images with batch 4: one is left out of each epoch.

    A change is a setting of any part of the run.
    """
    kind, schedule = METHODS[method], schedule_type(METHODS[method])
    values: dict[str, Any] = {"dataset": "greek", "shots": 3, "views": 2, "backbone": "glyph-vit"}
    if not kind.has_seed:
        seed, values = 0, values | {"shots": 0, "views": 0}
    if schedule:
        values |= {"epochs": 2, "batch": 4, "lr": 0.02, "weight_decay": 0.05}
    if kind.side in ("text", "image"):
        values |= {"warmup": 0.5, "checkpoints": 1}
    if "depth" in kind.settings():
        values |= {"depth": 3}
    if method in ("do", "pp", "prograd"):
        # else rounding decides: a prompt in which "a" stands twice has rank 3, and one of the
        # template's words leaves ProGrad's teacher nothing to pull at
        values |= {"context": "an image of a"}
    values |= changes

    def part(of: Any) -> Any:
        return of(**{f.name: values.pop(f.name) for f in fields(of) if f.name in values})

    data, tower = part(Data), part(Tower)
    steps = part(schedule) if schedule else None
    return Run(
        data=data,
        tower=tower,
        method=kind.of(values),
        low_rank=low_rank,
        schedule=steps,
        seed=seed,
    )


def changed(run: Run, **changes: Any) -> Run:
    """The run with settings of any part changed, by name."""
    parts = {"data": run.data, "tower": run.tower, "method": run.method, "schedule": run.schedule}
    for name, part in parts.items():
        own = {key: changes.pop(key) for key in tuple(changes) if part and hasattr(part, key)}
        parts[name] = replace(part, **own) if own else part
    return replace(run, **parts, **changes)
