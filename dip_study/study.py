"""Studies: which runs a figure needs, measured or read from the store.

A study is a function from a profile to a list of run specs. ``collect`` returns their records: it
reads what is stored and, when asked to, measures what is missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

from dip_lib.errors import NotMeasuredError, one_of
from dip_lib.methods.dip import SITES
from dip_lib.paths import home, results_dir
from dip_lib.spec import RunSpec
from dip_lib.store import Record, Store
from dip_study.measure import measure
from dip_study.profiles import Profile
from dip_study.runs import DIP, coop, costly, dip, frontier, once, probes, seeds, zero_shots
from dip_study.visual import visual
from glyph_world.styles import PAIRING

SHOTS = {1: 1 / 4, 2: 1 / 2, 4: 1 / 2, 8: 1.0, 16: 1.0}
"""Images a class of few-shot learning -> part of the epochs (CoOp's scripts: 50, 100, 200)."""
EPOCHS = (1 / 8, 1 / 4, 1 / 2, 1, 2)
SHORT = 1 / 4
"""Part of the epochs of a CoOp that is stopped early: the schedule alone moves new classes."""
DROPOUT = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9)
VECTORS = (2, 4, 8, 16)
RANKS = (1, 2, 4)
WEIGHTS = (0.01, 0.1, 1.0, 10.0)
TEXT_HOSTS = ("kgcoop", "prograd", "dept")
IMAGE_HOSTS = ("cocoop", "maple", "promptsrc")

# ---- which runs -------------------------------------------------------------------------------


def base_to_new(profile: Profile, **changes: Any) -> list[RunSpec]:
    """Everything the base-to-new page shows."""
    parts = [part(profile, **changes) for part in (zero_shots, probes, frontier, coop, dip)]
    return once(chain(*parts))  # the selected rate is one of the frontier's


def few_shot(profile: Profile, **changes: Any) -> list[RunSpec]:
    """Zero-shot, probe, CoOp and DIP on all classes with 1, 2, 4, 8 and 16 images of each.

    Few images train for fewer epochs, as CoOp's scripts have it, but where the profile fixes the
    epochs of a dataset. ``context="", vectors=16`` are CoOp's random vectors for RN50.
    """
    every = {"protocol": "all-classes", **changes}
    found = zero_shots(replace(profile, towers=profile.towers[:1]), **every)
    for shots, share in SHOTS.items():
        for make, method in ((probes, "probe"), (coop, "coop"), (dip, "dip")):
            for run in make(profile, shots=shots, **every):
                fixed = "epochs" in profile.settings.get("coop", {}).get(run.dataset, {})
                epochs = run.epochs if fixed else max(1, round(share * run.epochs))
                found.append(replace(run, epochs=epochs) if method != "probe" else run)
    return once(found)


def _transfer(profile: Profile, targets: Iterable[str], **changes: Any) -> list[RunSpec]:
    """Zero-shot on the source and the targets; prompts of the source, judged on each."""
    at, source = (
        {"protocol": "all-classes", **changes},
        replace(profile, datasets=(profile.source,)),
    )
    judged = replace(profile, towers=profile.towers[:1], datasets=(profile.source, *targets))
    found = zero_shots(judged, **at)
    for target in ("", *targets):
        found += [*coop(source, target=target, **at), *dip(source, target=target, **at)]
    return found


def cross_dataset(profile: Profile, **changes: Any) -> list[RunSpec]:
    """Prompts learnt on all classes of the source dataset, judged on every other dataset."""
    targets = [d for d in profile.datasets if d != profile.source]
    return _transfer(profile, targets, **changes)


def domain_shift(profile: Profile, **changes: Any) -> list[RunSpec]:
    """The same prompts, judged on the shifts of the source dataset."""
    return _transfer(profile, profile.shifts, **changes)


def epochs(profile: Profile, **changes: Any) -> list[RunSpec]:
    """CoOp and DIP trained for an eighth of the epochs up to twice as many."""
    lengths = [max(1, round(share * profile.epochs)) for share in EPOCHS]
    return once(
        run for n in lengths for make in (coop, dip) for run in make(profile, epochs=n, **changes)
    )


def dropout(profile: Profile, **changes: Any) -> list[RunSpec]:
    """CoOp, and DIP at every rate of dropout."""
    rates = [run for p in DROPOUT for run in dip(profile, dropout=p, **changes)]
    return [*coop(profile, **changes), *rates]


def towers(profile: Profile, **changes: Any) -> list[RunSpec]:
    """Zero-shot, CoOp and DIP on every tower, from words and from 16 random vectors."""
    found = zero_shots(profile, **changes)
    for tower in profile.towers:
        for start in ({}, {"context": "", "vectors": 16}):
            at = {"backbone": tower, **start, **changes}
            found += [*coop(profile, **at), *dip(profile, **at)]
    return once(found)


def ablation(profile: Profile, **changes: Any) -> list[RunSpec]:
    """One setting at a time: start, rank, dropout and its place, length, weight of DO and PP."""
    found: list[RunSpec] = []
    bare = {n: {"context": "", "vectors": n} for n in VECTORS}
    for start in ({}, *bare.values()):
        found += [*dip(profile, **start, **changes), *coop(profile, **start, **changes)]
    for start in ({}, bare[4]):
        found += dip(profile, dropout=0.0, **start, **changes)
        found += coop(profile, dropout=0.5, site="prompt", **start, **changes)
    for rank in RANKS:
        for p in (0.0, 0.5):
            found += dip(profile, rank=rank, dropout=p, **changes)
    for site in SITES:
        found += dip(profile, site=site, **changes)
    for method in ("do", "pp"):
        for weight in WEIGHTS:
            found += seeds(profile, method, weight=weight, **changes)
    return once([*coop(profile, **changes), *found])


def hosts(profile: Profile, **changes: Any) -> list[RunSpec]:
    """Every method that trains on stored features, plain and with DIP; CoOp on a short schedule."""
    found = [*zero_shots(profile, **changes), *zero_shots(profile, "ensemble", **changes)]
    short = max(1, round(SHORT * profile.epochs))
    found += [*coop(profile, **changes), *coop(profile, epochs=short, **changes)]
    for method in ("dip", "do", "pp"):
        found += seeds(profile, method, **(DIP if method == "dip" else {}), **changes)
    for method in TEXT_HOSTS:
        found += [*seeds(profile, method, **changes), *seeds(profile, method, **DIP, **changes)]
    return once(found)


def image_hosts(profile: Profile, **changes: Any) -> list[RunSpec]:
    """Methods that cost a tower's pass for every image, plain and with DIP; CoOp and DIP beside."""
    few = costly(profile, profile.costly["seeds"])
    found: list[RunSpec] = []
    for method in IMAGE_HOSTS:
        plain = seeds(few, method, **changes)
        beside = {"backbone": plain[0].backbone} if plain else {}
        found += [*plain, *seeds(few, method, **DIP, **changes)]
        found += [*coop(few, **beside | changes), *dip(few, **beside | changes)]
        found += zero_shots(replace(few, towers=tuple(beside.values())), **changes)
    return once(found)


def rotation(profile: Profile, **changes: Any) -> list[RunSpec]:
    """CoOp and DIP on every family in every family's style; photos have no styles."""
    found: list[RunSpec] = []
    if profile.world != "Glyph World":
        return found
    for dataset in profile.datasets:
        for family in profile.datasets:
            style = "default" if family == dataset else PAIRING[family]
            few = profile.seeds[: profile.costly["seeds"]]
            one = replace(profile, datasets=(dataset,), seeds=few)
            found += [*coop(one, style=style, **changes), *dip(one, style=style, **changes)]
    return found


def precision(profile: Profile, **changes: Any) -> list[RunSpec]:
    """CoOp with the towers in bf16, and the same runs in the profile's precision."""
    return [*coop(profile, **changes), *coop(profile, precision="bf16", **changes)]


STUDIES = {
    "base_to_new": base_to_new,
    "precision": precision,
    "few_shot": few_shot,
    "cross_dataset": cross_dataset,
    "domain_shift": domain_shift,
    "epochs": epochs,
    "dropout": dropout,
    "towers": towers,
    "hosts": hosts,
    "image_hosts": image_hosts,
    "ablation": ablation,
    "rotation": rotation,
    "visual": visual,
}
"""The studies behind the committed book; each has a file of runs under ``results/<profile>``."""
ALONG = ("base_to_new", "hosts")
"""Those whose pages look along training: of all others the last checkpoint is committed."""


def each_run_once(profile: Profile, studies: Iterable[str]) -> Iterator[tuple[str, list[RunSpec]]]:
    """Each study's name and runs, without those of the studies before it."""
    earlier = set[RunSpec]()
    for name in studies:
        runs = [run for run in STUDIES[name](profile) if run not in earlier]
        earlier.update(runs)
        yield name, runs


# ---- the store of a profile -------------------------------------------------------------------

RESULTS = ("stored", "missing", "fresh")
"""Where records come from: runs that this machine or ``results/`` has ("stored"); those, and what
is missing is measured ("missing"); this machine's alone, and what is missing is measured ("fresh").
"""


def open_store(profile: Profile, results: str) -> Store:
    """Live runs, and beneath them, unless they must be "fresh", the profile's committed exports."""
    one_of("results", results, RESULTS)
    committed = [] if results == "fresh" else sorted((results_dir() / profile.name).glob("*.json"))
    return Store(home() / "store", committed)


def collect(
    specs: Sequence[RunSpec], profile: Profile, device: str = "cpu", results: str = "stored"
) -> list[Record]:
    """Records of ``specs``, in their order.

    Raises:
        NotMeasuredError: ``results="stored"`` and runs are missing or stale, with the command that
            measures them.
    """
    store = open_store(profile, results)
    missing = store.missing(specs)
    if missing and results == "stored":
        how = (
            f"They are of profile {profile.name!r}, or were made with other code, weights or data "
            f"(first: {missing[0]}). Measure them: run the notebook with results='missing', or "
            f"`dip measure --profile {profile.name}`."
        )
        raise NotMeasuredError(len(missing), len(specs), how)
    if missing:
        measure(missing, store, device)
    records = [store.get(run) for run in specs]
    lost = [run for run, record in zip(specs, records, strict=True) if record is None]
    if lost:
        raise LookupError(f"{len(lost)} runs vanished from the store while reading: {lost[0]}")
    return [record for record in records if record is not None]
