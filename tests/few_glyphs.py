"""A handful of Greek glyphs as a dataset, and runs of any method on it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from dip_lib import load_backbone
from dip_lib.clip.backbone import Backbone
from dip_lib.clip.features import Features
from dip_lib.data import load_dataset
from dip_lib.data.protocols import Task, pixels, task
from dip_lib.methods import LEARNT, Learnt, Method, Setting, Start, setting
from dip_lib.training.run import RunSpec
from dip_lib.training.step import State, stack
from dip_lib.training.trainer import train_epochs

NAMES = (
    *("capital alpha", "capital iota with dialytika", "capital xi"),
    *("small eta", "small eta with tonos", "small pi"),
)
COUNTS = {"train": 3, "val": 3, "test": 5}
"""Images of each class."""


class Few:
    """Six classes of Glyph World's "greek", a few images of each."""

    name, class_names, fingerprint = "greek", NAMES, "few"

    def __init__(self) -> None:
        self._whole = load_dataset("greek")
        self.template = self._whole.template
        self._drawn: dict[tuple[str, int | None], Tensor] = {}

    def labels(self, split: str) -> Tensor:
        return torch.arange(len(NAMES)).repeat_interleave(COUNTS[split])

    def groups(self, split: str) -> list[str]:
        return ["all"] * len(self.labels(split))

    def _images(self, split: str, view: int | None) -> Tensor:
        if (split, view) not in self._drawn:
            labels = self._whole.labels(split)
            classes = sorted(self._whole.class_names.index(name) for name in NAMES)
            each = [(labels == c).nonzero().flatten()[: COUNTS[split]] for c in classes]
            rows = torch.cat(each).tolist()
            drawn = list(self._whole.batches(split, (view,), rows))
            self._drawn[split, view] = torch.cat(drawn, 1)[0]
        return self._drawn[split, view]

    def batches(
        self,
        split: str,
        views: Sequence[int | None] = (None,),
        rows: Sequence[int] | None = None,
        size: int | None = None,
        device: str | torch.device = "cpu",
    ) -> Iterator[Tensor]:
        every = torch.stack([self._images(split, view) for view in views])
        yield every if rows is None else every[:, list(rows)]


@dataclass(frozen=True)
class Runs:
    """R runs of one method, before their first step."""

    specs: tuple[RunSpec, ...]
    method: Method
    state: State
    data: Task
    fixed: Setting
    starts: list[Start]
    pixels: Tensor | None

    def train(self) -> list[Tensor]:
        """Train to the end; the mean losses (R,) of the epochs."""
        epochs = train_epochs(self.specs, self.state, self.data, self.fixed, self.pixels)
        return [loss.clone() for _, loss in epochs]

    def learnt(self) -> Learnt:
        found = self.state.learnt()
        prompts, others = ([t.detach() for t in each] for each in (found.prompts, found.others))
        return Learnt(tuple(prompts), tuple(others))


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

    def runs(self, *specs: RunSpec) -> Runs:
        data = task(specs, self.dataset, self.features)
        # three of nine labels are wrong, so that ProGrad's teacher has something to oppose
        data = replace(data, labels=data.labels.roll(1, 1))
        method = LEARNT[specs[0].method]
        fixed = setting(specs, self.clip, self.dataset, data.names)
        starts = [method.start(fixed, spec) for spec in specs]
        views = specs[0].views
        seen = pixels(data, self.dataset, self.clip, views) if method.encode else None
        return Runs(specs, method, stack(starts, specs), data, fixed, starts, seen)


def few(tower: str = "glyph-vit") -> Bench:
    return Bench(load_backbone(tower), Few())


def run(method: str, seed: int = 1, **changes: Any) -> RunSpec:
    """Two epochs of two steps, on 9 images with batch 4: one is left out of each epoch."""
    values: dict[str, Any] = {
        "backbone": "glyph-vit",
        "shots": 3,
        "epochs": 2,
        "batch": 4,
        "views": 2,
    }
    values |= {"warmup": 0.5, "lr": 0.02, "checkpoints": 1, "weight_decay": 0.05}
    values |= {"kgcoop": {"weight": 8.0}, "prograd": {"weight": 1.0}}.get(method, {"weight": 1.0})
    if method in ("maple", "promptsrc"):
        values |= {"depth": 3}
    if method in ("do", "pp", "prograd"):
        # else rounding decides: a prompt in which "a" stands twice has rank 3, and one of the
        # template's words leaves ProGrad's teacher nothing to pull at
        values |= {"context": "an image of a"}
    if method == "maple":
        values |= {"context": "a photo"}
    return RunSpec(dataset="greek", method=method, seed=seed, **values | changes)
