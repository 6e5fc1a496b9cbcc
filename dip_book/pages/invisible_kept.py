"""Page 17: its searches, trainings and invariances, computed once and kept."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from math import isnan, nan
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm import tqdm

from dip_book import kept
from dip_book.pages import invisible_directions, invisible_runs, invisible_towers
from dip_book.pages.invisible import Found, Towers
from dip_book.pages.invisible_towers import Seen
from dip_lib.clip import same_model
from dip_lib.training import same_function, same_spectrum, text_drift
from dip_study.loaded import backbone_of
from dip_study.profiles import Profile
from dip_study.runs import weights_of

LAYOUTS = ("ViT-B-16", "RN50")
"""CLIP's own layouts, here with random weights: an invariance of a layout needs no others."""
RUN_CODE = (invisible_runs, same_function, same_spectrum, text_drift)
TOWER_CODE = (invisible_towers, invisible_directions, same_model)
"""Modules whose code decides what is kept, beside the settings of a run and a tower's weights."""


def measured(profile: Profile, device: str, results: str) -> Found:
    """What was trained and searched in one world, on the first datasets of the profile.

    Args:
        results: as :func:`dip_book.kept.kept` has it.

    Raises:
        NotMeasuredError: ``results="stored"``, and something is not kept.
    """
    each = [_dataset(profile, name, device, results) for name in invisible_runs.chosen(profile)]
    trainings, searches, slid = zip(*each, strict=True)
    return Found(pd.concat(trainings), pd.concat(searches), slid[0])


Frames = tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]


def _dataset(profile: Profile, name: str, device: str, results: str) -> Frames:
    """Trainings, searches and the slider's rows of one dataset."""
    run = invisible_runs.base_run(profile, name)

    def compute() -> dict[str, Any]:
        place = invisible_runs.bench(run, profile, device)
        trainings, prompt = invisible_runs.trained(place)
        searches = invisible_runs.searched(place, prompt, profile)
        slid = invisible_runs.slid(place, prompt)
        frames = {"trainings": trainings, "searches": searches, "slid": slid}
        return {key: frame.to_dict("list") for key, frame in frames.items()}

    made_by = kept.identity(RUN_CODE, run.key())
    found = kept.kept(_of_dataset(profile, name), made_by, results, compute)
    trainings, searches, slid = (
        pd.DataFrame(found[key]) for key in ("trainings", "searches", "slid")
    )
    return trainings, searches, slid


def towers(profiles: Mapping[str, Profile], device: str, results: str) -> Towers:
    """What each tower of the worlds sees of each change, and :data:`LAYOUTS` of real CLIP.

    Raises:
        NotMeasuredError: as :func:`measured`.
    """
    carried = [
        (tower, tower, weights_of(tower, p)) for p in profiles.values() for tower in p.towers
    ]
    random = [(f"{layout}, random weights", layout, "") for layout in LAYOUTS]
    return {
        title: _tower(name, weights, device, results)
        for title, name, weights in tqdm([*carried, *random], desc="towers", unit="tower", delay=2)
    }


def _tower(name: str, weights: str, device: str, results: str) -> dict[str, Seen]:
    def compute() -> dict[str, Any]:
        found = invisible_towers.of_tower(backbone_of(name, weights, "fp32", device))
        return {change: _plain(each) for change, each in found.items()}

    made_by = kept.identity(TOWER_CODE, name, weights)
    found = kept.kept(_of_tower(name), made_by, results, compute)
    return {change: _seen(each) for change, each in found.items()}


def _plain(seen: Seen) -> dict[str, Any]:
    """For JSON, which has no nan."""
    return asdict(seen) | {"without_eps": None if isnan(seen.without_eps) else seen.without_eps}


def _seen(values: Mapping[str, Any]) -> Seen:
    densities = {name: (before, after) for name, (before, after) in values["densities"].items()}
    bare = nan if values["without_eps"] is None else values["without_eps"]
    return Seen(tuple(values["changes"]), values["random"], bare, densities)


def _of_dataset(profile: Profile, name: str) -> str:
    return f"invisible-{profile.name}-{name}"


def _of_tower(name: str) -> str:
    return f"invisible-{name}"


def write(profiles: Iterable[Profile], device: str, target: Path) -> None:
    """Compute what is not kept, and put it into the folder ``kept`` of ``target``, to be committed.

    Args:
        target: the folder ``results``.
    """
    by_world = {profile.world: profile for profile in profiles}
    for profile in by_world.values():
        measured(profile, device, "missing")
        names = (_of_dataset(profile, name) for name in invisible_runs.chosen(profile))
        kept.export(names, target)
    carried = (tower for profile in by_world.values() for tower in profile.towers)
    towers(by_world, device, "missing")
    kept.export(map(_of_tower, (*carried, *LAYOUTS)), target)
