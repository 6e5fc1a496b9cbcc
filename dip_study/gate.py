"""The zero-shot gate: before any prompt is trained on photos, CLIP must be as good as published.

A wrong activation, template, split file or preprocessing makes no error and only lowers accuracy;
zero-shot accuracy shows it in seconds.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from dip_lib.datasets.photos import PHOTOS
from dip_lib.paths import home
from dip_lib.spec import RunSpec

LIMIT = 1.5
"""Points by which base or new accuracy may be off the published one."""
WORDS = ("zero-shot", "ensemble")
"""Methods that learn nothing."""
PUBLISHED = tomllib.loads(Path(__file__).with_name("published.toml").read_text("utf-8"))
"""Tower -> weights -> dataset -> [base, new], in percent; the file names the source."""


def zero_shots(specs: Iterable[RunSpec]) -> list[RunSpec]:
    """The zero-shot runs that must pass before ``specs`` are measured.

    One for each tower and dataset of photos on which something is learnt; none for random weights.
    """
    learnt = (s for s in specs if s.method not in WORDS and s.weights and s.dataset in PHOTOS)
    runs = (replace(run, protocol="base-to-new").untrained("zero-shot") for run in learnt)
    return list(dict.fromkeys(runs))


def check(records: Iterable[Mapping[str, Any]]) -> list[str]:
    """Compare zero-shot records with the published numbers.

    Returns:
        A line for each record that has no published number to compare with.

    Raises:
        RuntimeError: accuracies more than ``LIMIT`` points off, with the likely causes.
    """
    off, keys, unknown = list[str](), dict[str, None](), list[str]()
    for record in records:
        spec, found = record["spec"], record["checkpoints"][-1]
        where = f"{spec['backbone']} ({spec['weights']}) on {spec['dataset']}"
        published = PUBLISHED.get(spec["backbone"], {}).get(spec["weights"], {})
        if spec["dataset"] not in published:
            unknown.append(f"{where}: no published zero-shot accuracy, so it was not checked")
            continue
        for half, expected in zip(("base", "new"), published[spec["dataset"]], strict=True):
            # rounded, so that exactly 1.5 points off passes
            if round(abs(found[half] - expected), 6) > LIMIT:
                keys[record["key"]] = None
                off.append(f"{where}, {half}: {found[half]:.2f}, published {expected:.2f}")
    if off:
        raise RuntimeError(
            f"nothing was trained: zero-shot accuracy is more than {LIMIT} points off "
            f"({'; '.join(off)}). Likely causes: another activation (OpenAI's weights need "
            "QuickGELU), changed class names or template, another split file or missing pictures "
            "(`dip data status`), other preprocessing. Repaired code does not rename a run: then "
            f"also delete {', '.join(f'{key}.json' for key in keys)} in {home() / 'store'}."
        )
    return unknown
