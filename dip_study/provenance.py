"""What a page was made from, and whether the present code would make it from the same.

A page is *stale* when its code cells are not those that were run, or when the runs that it shows
have another recipe, other weights, other pictures or other settings than the present code gives.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from dip_lib.clip.loading import backbone_source
from dip_lib.data.dataset import dataset_source
from dip_lib.data.packed import pictures_fingerprint
from dip_lib.methods import METHODS
from dip_lib.training.run import RECIPE
from dip_study.loaded import dataset_of
from dip_study.profiles import load_profile, names

Cell = Mapping[str, Any]


def settings_fingerprint(profiles: str) -> str:
    """12 digits that change when any setting of the profiles ("embedded,photos") changes."""
    loaded = [repr(load_profile(each)) for each in profiles.split(",")]
    return hashlib.sha256(";".join(loaded).encode()).hexdigest()[:12]


def code_fingerprint(cells: Sequence[Cell]) -> str:
    """12 digits that change when a code cell changes, whatever parameters were injected."""
    code = [
        "".join(cell["source"])
        for cell in cells
        if cell["cell_type"] == "code"
        and "injected-parameters" not in cell["metadata"].get("tags", ())
    ]
    return hashlib.sha256(json.dumps(code).encode()).hexdigest()[:12]


def provenance(runs: Sequence[Mapping[str, Any]], profile: str) -> dict[str, Any]:
    """What a page was made from, as JSON holds it.

    Args:
        runs: records of the runs it used, each once; their checkpoints are not needed.
        profile: its name, or several, separated by commas.

    Returns:
        profile, settings (their fingerprint), runs (how many), seconds (of one core), dates,
        machines, recipes, methods (name -> identity of its code), weights (backbone -> fingerprint)
        and data ("dataset style" -> fingerprint).
    """
    machines = [run["machine"] for run in runs]
    towers = [run["run"]["tower"] for run in runs]
    parts = [run["run"]["data"] for run in runs]
    data = {f"{d['dataset']} {d['style']}": d["fingerprint"] for d in parts}
    targets = {f"{d['target']} default": d["target_fingerprint"] for d in parts if d["target"]}
    codes = {run["run"]["method"]["name"]: run["code"] for run in runs}
    return {
        "profile": profile,
        "settings": settings_fingerprint(profile),
        "runs": len(runs),
        "seconds": round(sum(run["seconds"] for run in runs), 1),
        "dates": sorted({run["finished_at"][:10] for run in runs}),
        "machines": sorted({f"{machine['cpu']}, {machine['device']}" for machine in machines}),
        "recipes": sorted({run["recipe"] for run in runs}),
        "methods": dict(sorted(codes.items())),
        "weights": dict(sorted({(tower["backbone"], tower["weights"]) for tower in towers})),
        "data": dict(sorted((data | targets).items())),
    }


def stale(made: Mapping[str, Any], cells: Sequence[Cell]) -> list[str]:
    """Why a notebook's outputs are not what the present code gives; [] when nothing tells so.

    Args:
        made: its :func:`provenance`, and "code", the fingerprint of the cells that were run.
        cells: its cells. Photos are not compared: their files need not be here.
    """
    reasons = []
    if made["code"] != code_fingerprint(cells):
        reasons.append("its code was changed after it was run")
    profile = made.get("profile")
    known = set((profile or "").split(",")) <= {*names()}
    if profile and (not known or made["settings"] != settings_fingerprint(profile)):
        reasons.append(f"profile {profile} has other settings now")
    reasons += [f"recipe {old}, now {RECIPE}" for old in made.get("recipes", ()) if old != RECIPE]
    for method, was in made.get("methods", {}).items():
        if method not in METHODS or was != METHODS[method].identity():
            reasons.append(f"{method} has other code now")
    for tower, was in made.get("weights", {}).items():
        source = backbone_source(tower)
        if source and was.split("-")[0] != source.fingerprint(tower):
            reasons.append(f"{tower} has other weights now")
    for name, was in made.get("data", {}).items():
        dataset, style = name.split(" ", 1)
        # from packs or from the pictures that these were made of
        if dataset_source(dataset) and pictures_fingerprint(was) != pictures_fingerprint(
            dataset_of(dataset, style).fingerprint
        ):
            reasons.append(f"{name} has other pictures now")
    return reasons
