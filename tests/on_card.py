"""The few glyphs on the rehearsed GPU, and how often training waits for it there."""

from __future__ import annotations

from functools import cache

import pytest
from few_glyphs import DIP, Bench, few, run
from rehearsal import Card, card
from torch import Tensor

from dip_lib import load_backbone
from dip_lib.clip.features import Features
from dip_lib.methods import METHODS
from dip_lib.training import visual_fit
from dip_lib.training.loop import train_epochs
from dip_lib.training.visual import train_visual

WAITS = {
    "coop": 0,
    "do": 3,  # two values that the density checks, and its singular values
    "pp": 2,  # one value, and the singular values
    "kgcoop": 0,
    "prograd": 0,
    "dept": 0,
    "cocoop": 0,
    "maple": 2,  # the batch's images lie in main memory: their places, and they
    "promptsrc": 2,
    "control": 0,  # while no density is held
    "subspace": 0,
    "tower-update": 1,  # the words' tokens
    "vpt": 0,
    "spt": 0,
    "cvpt": 0,
}
"""How often the processor waits for a GPU in a step of a method's training."""
NOT_IN_STEPS = {"zero-shot", "ensemble", "probe", "condensation", "surgery"}
"""Methods without steps of their own."""


@cache
def few_on_card() -> Bench:
    """As :func:`few_glyphs.few`, all of it on the card."""
    there = few()
    features = there.features
    with card():
        moved = (getattr(features, name).to("cuda") for name in ("train", "val", "test"))
        labels = {split: each.to("cuda") for split, each in features.labels.items()}
        bench = Bench(load_backbone("glyph-vit", device="cuda"), there.dataset)
        vars(bench)["features"] = Features(*moved, labels)  # as the cached property has them
    return bench


def of_an_epoch(there: Card, bench: Bench, method: str) -> list[str]:
    """The waits of the second of two epochs of two steps; the first makes what stays constant."""
    low_rank = DIP if METHODS[method].sites else None
    runs, waits = bench.prepare(run(method), run(method, 2, low_rank)), list[list[str]]()
    for _ in train_epochs(runs, graphs=False):
        waits.append(there.waits[:])
        there.waits.clear()
    return waits[1]


class Enough(Exception):
    """Two epochs have been trained."""


def of_a_visual_epoch(there: Card, bench: Bench, method: str) -> list[str]:
    """The same for a method with prompts in an image encoder; the end of the first epoch counts."""
    ends, waits = visual_fit._ends, list[list[str]]()

    def noted(losses: list[Tensor]) -> object:
        waits.append(there.waits[:])
        there.waits.clear()
        if len(waits) == 2:
            raise Enough
        return ends(losses)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Enough):
        patch.setattr(visual_fit, "_ends", noted)
        train_visual([run(method)], bench.clip, bench.dataset)
    return waits[1]
