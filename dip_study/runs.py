"""The runs that studies are made of: one method, on every dataset and seed of a profile."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import glyph_world
from dip_lib.loading import GLYPH_NAMES
from dip_lib.spec import RunSpec
from dip_study.gate import WORDS
from dip_study.measure import dataset_of
from dip_study.profiles import Profile

DIP = {"rank": 1, "dropout": 0.5}
"""The book's constants; the ablations vary them."""


def spec(profile: Profile, dataset: str, method: str, seed: int, **changes: Any) -> RunSpec:
    """The run of ``method`` on ``dataset`` under a profile, with its own settings changed.

    With ``data=""`` a run is named without its files, for planning; it cannot be looked up.
    """
    style, target = changes.pop("style", "default"), changes.get("target", "")
    shared = RunSpec.__dataclass_fields__.keys() & Profile.__dataclass_fields__.keys()
    values = {f: getattr(profile, f) for f in shared} | {"backbone": profile.backbone}
    values |= profile.changed(method, dataset) | changes
    if "data" not in values:
        values["data"] = dataset_of(dataset, style).fingerprint
        values["target_data"] = dataset_of(target, "default").fingerprint if target else ""
    glyph = values["backbone"] in GLYPH_NAMES
    values["weights"] = glyph_world.fingerprint(values["backbone"]) if glyph else profile.weights
    run = RunSpec(dataset=dataset, method=method, seed=seed, style=style, **values)
    return run.untrained(method) if method in WORDS else run


def zero_shots(profile: Profile, method: str = "zero-shot", **changes: Any) -> list[RunSpec]:
    """The hand-written template on every dataset and tower, or the ensemble of many."""
    places = [(tower, d) for tower in profile.towers for d in profile.datasets]
    return [spec(profile, d, method, 0, **{"backbone": tower} | changes) for tower, d in places]


def seeds(profile: Profile, method: str, **changes: Any) -> list[RunSpec]:
    """A method on every dataset and seed."""
    return [spec(profile, d, method, s, **changes) for d in profile.datasets for s in profile.seeds]


def costly(profile: Profile, seeds: int) -> Profile:
    """The profile with the datasets and as many seeds as runs through the image tower get."""
    chosen = tuple(d for d in profile.costly["datasets"] if d in profile.datasets)
    return replace(profile, datasets=chosen, seeds=profile.seeds[:seeds])


def coop(profile: Profile, **changes: Any) -> list[RunSpec]:
    """CoOp (full rank) on every dataset and seed."""
    return seeds(profile, "coop", **changes)


def dip(profile: Profile, **changes: Any) -> list[RunSpec]:
    """DIP with the book's constants (rank 1, dropout 0.5) on every dataset and seed."""
    return seeds(profile, "dip", **DIP | changes)


def probes(profile: Profile, **changes: Any) -> list[RunSpec]:
    """The linear probe on every dataset and seed: the head-room of each task."""
    no_prompt = {"context": profile.context, "vectors": 0, "lr": 0.0}
    return seeds(profile, "probe", **changes | no_prompt)


def frontier(profile: Profile, **changes: Any) -> list[RunSpec]:
    """CoOp at every learning rate of the profile: the trade-off that training longer walks."""
    return [run for rate in profile.rates for run in coop(profile, lr=rate, **changes)]


def once(runs: Iterable[RunSpec]) -> list[RunSpec]:
    """Each run once, in their order."""
    return list(dict.fromkeys(runs))
