"""What a page was made from, and whether the present code would make it from the same.

A page is *stale* when its code cells are not those that were run, or when the runs that it shows
have another recipe, other weights, other pictures or other settings than the present code gives.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

import glyph_world
from dip_lib.loading import GLYPH_NAMES
from dip_lib.spec import RECIPE
from dip_study.measure import dataset_of
from dip_study.profiles import load_profile, names
from glyph_world import families

Cell = Mapping[str, Any]


def rows(records: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """A row for each checkpoint of each run: its settings, and the numbers measured there.

    What all runs share is left out; of a trained prompt there are also its ``id1`` and ``id2``.
    """
    found = []
    for record in records:
        for point in record["checkpoints"]:
            row = {
                k: v for k, v in (record["spec"] | point).items() if not isinstance(v, list | dict)
            }
            density = {f"id{k + 1}": share for k, share in enumerate(point.get("id", ())[:2])}
            found.append(row | density)
    frame = pd.DataFrame(found)
    differing = [name for name in frame if frame[name].nunique(dropna=False) > 1]
    return frame[differing].set_index(differing[0]) if differing else frame


def settings_fingerprint(profile: str) -> str:
    """12 digits that change when any setting of the profile changes."""
    return hashlib.sha256(repr(load_profile(profile)).encode()).hexdigest()[:12]


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
        profile: its name.

    Returns:
        profile, settings (their fingerprint), runs (how many), seconds (of one core), dates,
        machines, recipes, weights (tower -> fingerprint) and data ("dataset style" -> fingerprint).
    """
    specs = [run["spec"] for run in runs]
    machines = [run["machine"] for run in runs]
    data = {f"{spec['dataset']} {spec['style']}": spec["data"] for spec in specs}
    targets = {f"{s['target']} default": s["target_data"] for s in specs if s["target"]}
    return {
        "profile": profile,
        "settings": settings_fingerprint(profile),
        "runs": len(runs),
        "seconds": round(sum(run["seconds"] for run in runs), 1),
        "dates": sorted({run["finished_at"][:10] for run in runs}),
        "machines": sorted({f"{machine['cpu']}, {machine['device']}" for machine in machines}),
        "recipes": sorted({run["recipe"] for run in runs}),
        "weights": dict(sorted({(spec["backbone"], spec["weights"]) for spec in specs})),
        "data": dict(sorted((data | targets).items())),
    }


def stale(made: Mapping[str, Any], cells: Sequence[Cell]) -> list[str]:
    """Why a notebook's outputs are not what the present code gives; [] when nothing tells so.

    Args:
        made: its :func:`provenance`, and "code", the fingerprint of the cells that were run.
        cells: its cells. Photos are not compared: their files need not be here.
    """
    found = []
    if made["code"] != code_fingerprint(cells):
        found.append("its code was changed after it was run")
    profile = made.get("profile")
    if profile and (profile not in names() or made["settings"] != settings_fingerprint(profile)):
        found.append(f"profile {profile} has other settings now")
    found += [f"recipe {old}, now {RECIPE}" for old in made.get("recipes", ()) if old != RECIPE]
    for tower, was in made.get("weights", {}).items():
        if tower in GLYPH_NAMES and was.split("-")[0] != glyph_world.fingerprint(tower):
            found.append(f"{tower} has other weights now")
    for name, was in made.get("data", {}).items():
        family, style = name.split(" ", 1)
        if family in families.NAMES and was != dataset_of(family, style).fingerprint:
            found.append(f"{name} has other pictures now")
    return found
