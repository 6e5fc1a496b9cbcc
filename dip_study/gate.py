"""The zero-shot gate: before any prompt is trained on photos, CLIP must be as good as published.

A wrong activation, template, split file or preprocessing makes no error and only lowers accuracy;
zero-shot accuracy shows it in seconds.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from dip_lib.data.dataset import is_photos
from dip_lib.methods.zero_shot import ZeroShot
from dip_lib.paths import home
from dip_lib.training.record import FINISHED
from dip_lib.training.run import Data, Run

LIMIT = 1.5
"""Points by which base or new accuracy may be off the published one."""
PUBLISHED = tomllib.loads(Path(__file__).with_name("published.toml").read_text("utf-8"))
"""Backbone -> weights -> dataset -> [base, new], in percent; the file names the source."""


def zero_shots(runs: Iterable[Run]) -> list[Run]:
    """The zero-shot runs that must pass before ``runs`` are measured.

    One for each backbone and photo dataset on which something is learned; none for random
    weights.
    """
    trained = (run for run in runs if run.method.has_seed)
    on_photos = (run for run in trained if run.tower.weights and is_photos(run.data.dataset))
    needed = (
        Run(
            data=Data(dataset=run.data.dataset, shots=0, views=0, fingerprint=run.data.fingerprint),
            tower=run.tower,
            method=ZeroShot(),
        )
        for run in on_photos
    )
    return list(dict.fromkeys(needed))


def check(records: Iterable[Mapping[str, Any]]) -> list[str]:
    """Compare zero-shot records with the published numbers.

    Returns:
        A line for each record that has no published number to compare with.

    Raises:
        RuntimeError: accuracies more than ``LIMIT`` points off, with the likely causes; a
            zero-shot run that failed.
    """
    off, keys, unknown = list[str](), dict[str, None](), list[str]()
    for record in records:
        run, accuracy = Run.from_dict(record["run"]), record["checkpoints"][-1]
        tower, dataset = run.tower, run.data.dataset
        where = f"{tower.backbone} ({tower.weights}) on {dataset}"
        if record["status"] != FINISHED:
            raise RuntimeError(f"nothing was trained: {where}: zero-shot {record['status']}")
        published = PUBLISHED.get(tower.backbone, {}).get(tower.weights, {})
        if dataset not in published:
            unknown.append(f"{where}: no published zero-shot accuracy, so it was not checked")
            continue
        for half, expected in zip(("base", "new"), published[dataset], strict=True):
            # rounded, so that exactly 1.5 points off passes
            if round(abs(accuracy[half] - expected), 6) > LIMIT:
                keys[record["key"]] = None
                off.append(f"{where}, {half}: {accuracy[half]:.2f}, published {expected:.2f}")
    if off:
        raise RuntimeError(
            f"nothing was trained: zero-shot accuracy is more than {LIMIT} points off "
            f"({'; '.join(off)}). Likely causes: another activation (OpenAI's weights need "
            "QuickGELU), changed class names or template, another split file or missing pictures "
            "(`dip data status`), other preprocessing. Correcting code keeps a run's key: "
            f"also delete {', '.join(f'{key}.json' for key in keys)} in {home() / 'store'}."
        )
    return unknown
