"""Studies: which runs a figure needs, measured or read from the store.

A study is a function from a profile to a list of run specs. ``collect`` returns their records: it
reads what is stored and, when asked for fresh results, measures what is missing.
``python -m dip_lib.study export --profile embedded-full`` writes the committed results.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from itertools import chain
from typing import Any

from dip_lib import glyphs
from dip_lib.errors import one_of
from dip_lib.loading import GLYPH_NAMES
from dip_lib.measure import dataset_of, measure
from dip_lib.paths import home, results_dir
from dip_lib.profiles import Profile, load_profile, names
from dip_lib.spec import RunSpec
from dip_lib.store import Record, Store, export

# ---- which runs -------------------------------------------------------------------------------


def spec(profile: Profile, dataset: str, method: str, seed: int, **changes: Any) -> RunSpec:
    """The run of ``method`` on ``dataset`` under a profile, with its own settings changed.

    With ``data=""`` a run is named without its files, for planning; it cannot be looked up.
    """
    style = changes.pop("style", "default")
    shared = RunSpec.__dataclass_fields__.keys() & Profile.__dataclass_fields__.keys()
    values = {f: getattr(profile, f) for f in shared} | {"backbone": profile.backbone} | changes
    values["data"] = values["data"] if "data" in values else dataset_of(dataset, style).fingerprint
    glyph = values["backbone"] in GLYPH_NAMES
    values["weights"] = glyphs.fingerprint(values["backbone"]) if glyph else profile.weights
    return RunSpec(dataset=dataset, method=method, seed=seed, style=style, **values)


def zero_shots(profile: Profile, **changes: Any) -> list[RunSpec]:
    """The hand-written template on every dataset and tower: nothing is trained."""
    return [
        spec(profile, d, "zero-shot", 0, backbone=tower, lr=0.0, epochs=0, shots=0, **changes)
        for tower in profile.towers
        for d in profile.datasets
    ]


def _seeds(profile: Profile, method: str, **changes: Any) -> list[RunSpec]:
    return [spec(profile, d, method, s, **changes) for d in profile.datasets for s in profile.seeds]


def coop(profile: Profile, **changes: Any) -> list[RunSpec]:
    """CoOp (full rank) on every dataset and seed."""
    return _seeds(profile, "coop", **changes)


def dip(profile: Profile, **changes: Any) -> list[RunSpec]:
    """DIP with the book's constants (rank 1, dropout 0.5) on every dataset and seed."""
    return _seeds(profile, "dip", **{"rank": 1, "dropout": 0.5} | changes)


def probes(profile: Profile, **changes: Any) -> list[RunSpec]:
    """The linear probe on every dataset and seed: the head-room of each task."""
    return _seeds(profile, "probe", lr=0.0, **changes)


def frontier(profile: Profile, **changes: Any) -> list[RunSpec]:
    """CoOp at every learning rate of the profile: the trade-off that training longer walks."""
    return [run for rate in profile.rates for run in coop(profile, lr=rate, **changes)]


def base_to_new(profile: Profile, **changes: Any) -> list[RunSpec]:
    """Everything the base-to-new page shows."""
    parts = [part(profile, **changes) for part in (zero_shots, probes, frontier, coop, dip)]
    return list(dict.fromkeys(chain(*parts)))  # the selected rate is one of the frontier's


def precision(profile: Profile, **changes: Any) -> list[RunSpec]:
    """CoOp with the towers in bf16, and the same runs in the profile's precision."""
    return [*coop(profile, **changes), *coop(profile, precision="bf16", **changes)]


STUDIES = {"base_to_new": base_to_new, "precision": precision}
"""The studies behind the committed book; each has a file of runs under ``results/<profile>``."""


# ---- the store of a profile -------------------------------------------------------------------


def open_store(profile: Profile, results: str) -> Store:
    """Live runs, and beneath them (for "stored") the committed exports of the profile."""
    one_of("results", results, ("stored", "fresh"))
    committed = sorted((results_dir() / profile.name).glob("*.json")) if results == "stored" else []
    return Store(home() / "store", committed)


def collect(
    specs: Sequence[RunSpec], profile: Profile, device: str = "cpu", results: str = "stored"
) -> list[Record]:
    """Records of ``specs``, in their order.

    Raises:
        LookupError: ``results="stored"`` and runs are missing or stale, with the command that
            measures them.
    """
    store = open_store(profile, results)
    missing = store.missing(specs)
    if missing and results == "stored":
        raise LookupError(
            f"{len(missing)} of {len(specs)} runs of profile {profile.name!r} are not stored, or "
            f"were made with other code, weights or data (first: {missing[0]}). Measure them: "
            "run the notebook with results='fresh', or `make publish` for the committed book."
        )
    if missing:
        measure(missing, store, device)
    records = [store.get(run) for run in specs]
    lost = [run for run, record in zip(specs, records, strict=True) if record is None]
    if lost:
        raise LookupError(f"{len(lost)} runs vanished from the store while reading: {lost[0]}")
    return [record for record in records if record is not None]


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the committed results of a profile.")
    parser.add_argument("command", choices=["export"])
    parser.add_argument("--profile", default="embedded-full", help=", ".join(names()))
    profile = load_profile(parser.parse_args().profile)
    written: set[RunSpec] = set()
    for name, study in STUDIES.items():
        runs = [run for run in study(profile) if run not in written]  # each run in one file
        path = results_dir() / profile.name / f"{name}.json"
        export(collect(runs, profile, results="stored"), path)
        written.update(runs)
        print(path)


if __name__ == "__main__":
    main()
