"""Made runs of the whole grid of the fair comparisons, whose answers are known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pandas as pd

from dip_book.frame import frame
from dip_study.fronts import Entry, entries
from dip_study.profiles import Profile, load_profile

DATASETS = ("greek", "cyrillic")
PROFILE = replace(
    load_profile("embedded"), datasets=DATASETS, grid_seeds=dict.fromkeys(DATASETS, (1, 2))
)
Numbers = Callable[[Entry], dict[str, Any]]
SHRUNK = ("x 0.25", "x 0.5", "x 0.75")


def record(entry: Entry, numbers: dict[str, Any]) -> dict[str, Any]:
    """A record of the entry's run that ends at these numbers."""
    run = entry.run
    end = {"epoch": 1, "base": 60.0, "new": 50.0, "val": 60.0, "singular": [2.0, 1.0]}
    end |= {"id": [0.6], "id_read": [0.5], "update_norm": 1.0}
    end |= {"drift_words": 0.1, "drift_base": 0.1, "sharpness": 0.1} | numbers
    end["shrunk"] = {way: {half: end[half] for half in ("base", "new", "val")} for way in SHRUNK}
    end["shrunk"] |= numbers.get("shrunk", {})
    return {
        "key": run.key(),
        "label": run.label,
        "run": run.to_dict(),
        "status": end.pop("status", "finished"),
        "checkpoints": [end],
        "trainable": 2048,
        "seconds": end.pop("seconds", 1.0),
        "machine": {"cpu": "Test CPU, 2 cores", "device": "cpu", "threads": 1},
    }


def grid_runs(numbers: Numbers, profile: Profile = PROFILE) -> pd.DataFrame:
    """The frame of all runs of the grid; ``numbers`` of the first entry that needs a run."""
    records: dict[str, dict[str, Any]] = {}
    for entry in entries(profile):
        records.setdefault(entry.run.key(), record(entry, numbers(entry)))
    return frame(records.values())
