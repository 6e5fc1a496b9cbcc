"""Page 17, its first part: what each tower sees of each change, and what density does meanwhile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
import torch
from torch import Tensor

from dip_book.pages.invisible_directions import CHANGES, ON_IMAGES, ON_TEXT, Change, Invariance
from dip_lib.clip.backbone import Backbone
from dip_lib.clip.prompted_vision import image_width
from dip_lib.clip.same_model import without_eps
from dip_lib.prompt.density import information_density
from dip_lib.randomness import normal

SIZES = (1.0, 10.0, 100.0)
"""Of the change, as multiples of the prompt's standard deviation."""
EXACT = 1e-5
"""Largest change of an entry of a unit embedding that counts as rounding of float32: a token that
is changed by 100 deviations is rounded at 6e-6 of one."""
BEYOND = "up to eps"
FAILS = "fails"


@dataclass(frozen=True)
class Seen:
    """What a tower sees of a change.

    Attributes:
        changes: the largest change of an entry of its output at each of :data:`SIZES`.
        random: the same of a random change with the norm of the smallest.
        without_eps: the largest of ``changes`` where every LayerNorm's eps is 0; nan where it was
            not asked for, the change being exact.
        densities: of the prompt, of the prompt centred, and as read and centred: ID_1 before the
            change and after the largest.
    """

    changes: tuple[float, ...]
    random: float
    without_eps: float
    densities: Mapping[str, tuple[float, float]]

    @property
    def kind(self) -> str:
        """ "exact", "up to eps" or "fails", by :data:`EXACT`."""
        if max(self.changes) <= EXACT:
            return "exact"
        return BEYOND if self.without_eps <= EXACT else FAILS


@torch.no_grad()
def seen(clip: Backbone, invariance: Invariance, seed: int = 1) -> Seen:
    """What one tower sees of one change, at every size."""
    found = [invariance(clip, size, seed) for size in SIZES]
    smallest, *_, largest = found
    prompt, output = smallest.prompt[0], smallest.output
    random = prompt + _like(smallest.prompt[1] - prompt, seed)
    changes = _largest(found)
    bare = float("nan")
    if max(changes) > EXACT:
        exact = without_eps(clip)
        bare = max(_largest([invariance(exact, size, seed) for size in SIZES]))
    densities = {
        "ID₁": _pair(largest.prompt, centred=False),
        "ID₁ centred": _pair(largest.prompt, centred=True),
        "ID₁ as read": _pair(largest.read, centred=True),
    }
    return Seen(changes, float((output(random) - output(prompt)).abs().max()), bare, densities)


def _largest(found: Sequence[Change]) -> tuple[float, ...]:
    """The largest change of an entry at each size; the prompt before is the same at all."""
    before = found[0].output(found[0].prompt[0])
    return tuple(float((each.after - before).abs().max()) for each in found)


def _like(change: Tensor, seed: int) -> Tensor:
    """A random matrix with the norm of a change."""
    noise = normal(seed, change.shape, 7).to(change)
    return noise * change.norm() / noise.norm()


def _pair(prompts: tuple[Tensor, Tensor], centred: bool) -> tuple[float, float]:
    before, after = (float(information_density(each, centred=centred)) for each in prompts)
    return before, after


def of_tower(clip: Backbone) -> dict[str, Seen]:
    """Every change that concerns a tower; a ResNet has no image tokens, Photo World's neither."""
    found = {name: seen(clip, each) for name, each in ON_TEXT.items()}
    try:
        image_width(clip)
    except ValueError:
        return found
    return found | {name: seen(clip, each) for name, each in ON_IMAGES.items()}


def kinds_table(towers: Mapping[str, Mapping[str, Seen]]) -> pd.DataFrame:
    """Tower x change: "exact", "up to eps" or "fails"; "" where a tower has no such tokens."""
    rows = {
        tower: {name: found[name].kind if name in found else "" for name in CHANGES}
        for tower, found in towers.items()
    }
    return pd.DataFrame(rows).T


def sizes_table(towers: Mapping[str, Mapping[str, Seen]]) -> pd.DataFrame:
    """Tower and change: the largest change at each size, that of a random change as large as the
    smallest, and the largest with eps = 0."""
    columns = [f"{size:g} SD" for size in SIZES]
    rows = {}
    for tower, found in towers.items():
        for name, each in found.items():
            row = dict(zip(columns, each.changes, strict=True))
            rows[tower, name] = row | {"random, 1 SD": each.random, "eps = 0": each.without_eps}
    return pd.DataFrame(rows).T


def densities_table(found: Mapping[str, Seen]) -> pd.DataFrame:
    """Of one tower: ID_1 before and after the largest change, of the prompt and as it is read."""
    rows = {
        name: {f"{which}, {when}": value for which, pair in each.densities.items()
               for when, value in zip(("before", "after"), pair, strict=True)}
        for name, each in found.items()
    }  # fmt: skip
    return pd.DataFrame(rows).T
