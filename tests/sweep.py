"""A sweep of small real runs, each a group of its own, as a program: what fault tests disturb.

``python sweep.py ENGINE``: "processes" or "dask", with two workers each.
"""

from __future__ import annotations

import sys
from dataclasses import replace

from dip_lib.paths import home
from dip_lib.store import Store
from dip_lib.training.run import Run
from dip_study.cli import INTERRUPTED
from dip_study.engine.cluster import dask_cluster
from dip_study.measure import measure
from dip_study.profiles import load_profile
from dip_study.runs import coop, make_run, once

PROFILE = replace(
    load_profile("smoke"),
    **{"towers": ("glyph-resnet",), "datasets": ("greek",), "seeds": (1,), "checkpoints": 1},
)


def runs() -> list[Run]:
    """Zero-shot on every split of the classes, and prompts trained for one to eight epochs."""
    at = {"backbone": "glyph-resnet"}
    splits = [make_run(PROFILE, "greek", "zero-shot", 0, class_split=k, **at) for k in range(11)]
    lengths = [run for n in range(1, 9) for run in coop(PROFILE, epochs=n, shots=2)]
    return once([*splits, *lengths])


def sweep(engine: str) -> None:
    store = Store(home() / "store")
    wanted = store.missing(runs(), failed=True)
    if engine == "dask":
        with dask_cluster(workers=2) as cluster:
            measure(wanted, store, engine=cluster)
    else:
        measure(wanted, store)


if __name__ == "__main__":
    try:
        sweep(sys.argv[1])
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
