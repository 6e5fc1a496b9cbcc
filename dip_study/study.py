"""Studies: which runs a figure needs, measured or read from the store.

A study is a function from a profile to a list of runs. ``collect`` returns their records: it
reads what is stored and, when asked to, measures what is missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any, cast

from dip_lib.data.dataset import dataset_source
from dip_lib.errors import NotMeasuredError, one_of
from dip_lib.paths import home, results_dir
from dip_lib.prompt.low_rank import SITES
from dip_lib.store import Store
from dip_lib.training.record import Record
from dip_lib.training.run import LowRank, Run, Schedule
from dip_study.beyond import beyond
from dip_study.causes import causes
from dip_study.class_splits import class_splits
from dip_study.fronts import fronts
from dip_study.hosts import dense_variants, hosts, image_hosts
from dip_study.measure import measure
from dip_study.profiles import Profile
from dip_study.runs import DIP, coop, dip, frontier, once, probes, seeds, zero_shots
from dip_study.taken import SharedStore
from dip_study.visual import visual
from dip_study.visual_condensed import visual_condensed
from dip_study.visual_low_rank import visual_low_rank
from dip_study.visual_tasks import visual_tasks

SHOTS = {1: 1 / 4, 2: 1 / 2, 4: 1 / 2, 8: 1.0, 16: 1.0}
"""Images a class of few-shot learning -> part of the epochs (CoOp's scripts: 50, 100, 200)."""
EPOCHS = (1 / 8, 1 / 4, 1 / 2, 1, 2)
DROPOUT = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9)
VECTORS = (2, 4, 8, 16)
RANKS = (1, 2, 4)
WEIGHTS = (0.01, 0.1, 1.0, 10.0)

# ---- which runs -------------------------------------------------------------------------------


def base_to_new(profile: Profile, **changes: Any) -> list[Run]:
    """Everything the base-to-new page shows."""
    parts = [part(profile, **changes) for part in (zero_shots, probes, frontier, coop, dip)]
    return once(chain(*parts))  # the selected rate is one of the frontier's


def trajectories(profile: Profile, **changes: Any) -> list[Run]:
    """CoOp and DIP followed along training: with the profile's seeds, and further ones."""
    return [*coop(_with_further_seeds(profile), **changes), *dip_trajectories(profile, **changes)]


def dip_trajectories(profile: Profile, **changes: Any) -> list[Run]:
    """DIP's of these."""
    return dip(_with_further_seeds(profile), **changes)


def _with_further_seeds(profile: Profile) -> Profile:
    return replace(profile, seeds=(*profile.seeds, *profile.trajectory_seeds))


def few_shot(profile: Profile, **changes: Any) -> list[Run]:
    """Zero-shot, probe, CoOp and DIP on all classes with 1, 2, 4, 8 and 16 images of each.

    Few images train for fewer epochs, as CoOp's scripts have it, but where the profile fixes the
    epochs of a dataset. ``context="", vectors=16`` are CoOp's random vectors for RN50.
    """
    settings = {"protocol": "all-classes", **changes}
    runs = zero_shots(replace(profile, towers=profile.towers[:1]), **settings)
    for shots, share in SHOTS.items():
        runs += probes(profile, shots=shots, **settings)
        for make in (coop, dip):
            runs += [
                _shorter(run, share, profile) for run in make(profile, shots=shots, **settings)
            ]
    return once(runs)


def _shorter(run: Run, share: float, profile: Profile) -> Run:
    """The run with a share of its epochs, but where the profile fixes those of its dataset."""
    if "epochs" in profile.settings.get(run.method.name, {}).get(run.data.dataset, {}):
        return run
    schedule = cast(Schedule, run.schedule)
    return replace(run, schedule=replace(schedule, epochs=max(1, round(share * schedule.epochs))))


def _transfer(profile: Profile, targets: Iterable[str], **changes: Any) -> list[Run]:
    """Zero-shot on the source and the targets; prompts of the source, evaluated on each."""
    settings, source = (
        {"protocol": "all-classes", **changes},
        replace(profile, datasets=(profile.source,)),
    )
    evaluated = replace(profile, towers=profile.towers[:1], datasets=(profile.source, *targets))
    runs = zero_shots(evaluated, **settings)
    for target in ("", *targets):
        runs += [*coop(source, target=target, **settings), *dip(source, target=target, **settings)]
    return runs


def cross_dataset(profile: Profile, **changes: Any) -> list[Run]:
    """Prompts learned on all classes of the source dataset, evaluated on every other dataset."""
    targets = [d for d in profile.datasets if d != profile.source]
    return _transfer(profile, targets, **changes)


def domain_shift(profile: Profile, **changes: Any) -> list[Run]:
    """The same prompts, evaluated on the shifts of the source dataset."""
    return _transfer(profile, profile.shifts, **changes)


def epochs(profile: Profile, **changes: Any) -> list[Run]:
    """CoOp and DIP trained for an eighth of the epochs up to twice as many."""
    lengths = [max(1, round(share * profile.epochs)) for share in EPOCHS]
    return once(
        run for n in lengths for make in (coop, dip) for run in make(profile, epochs=n, **changes)
    )


def dropout(profile: Profile, **changes: Any) -> list[Run]:
    """CoOp, and DIP at every rate of dropout."""
    rates = [run for p in DROPOUT for run in dip(profile, LowRank(rank=1, dropout=p), **changes)]
    return [*coop(profile, **changes), *rates]


def towers(profile: Profile, **changes: Any) -> list[Run]:
    """Zero-shot, CoOp and DIP on every backbone, from words and from 16 random vectors."""
    runs = zero_shots(profile, **changes)
    for tower in profile.towers:
        for start in ({}, {"context": "", "vectors": 16}):
            settings = {"backbone": tower, **start, **changes}
            runs += [*coop(profile, **settings), *dip(profile, **settings)]
    return once(runs)


def ablation(profile: Profile, **changes: Any) -> list[Run]:
    """One setting at a time: start, rank, dropout and its place, length, weight of DO and PP."""
    bare = {n: {"context": "", "vectors": n} for n in VECTORS}
    starts: list[dict[str, Any]] = [{}, *bare.values()]
    runs: list[Run] = []
    for start in starts:
        runs += [*dip(profile, **start, **changes), *coop(profile, **start, **changes)]
    for start in ({}, bare[4]):
        runs += dip(profile, LowRank(rank=1, dropout=0.0), **start, **changes)
        full = LowRank(rank=None, dropout=0.5, site="prompt")
        runs += coop(profile, low_rank=full, **start, **changes)
    for rank in RANKS:
        for p in (0.0, 0.5):
            runs += dip(profile, LowRank(rank=rank, dropout=p), **changes)
    for site in SITES:
        runs += dip(profile, replace(DIP, site=site), **changes)
    for method in dense_variants(profile):
        for weight in WEIGHTS:
            runs += seeds(profile, method, weight=weight, **changes)
    return once([*coop(profile, **changes), *runs])


def rotation(profile: Profile, **changes: Any) -> list[Run]:
    """CoOp and DIP on every dataset in every dataset's style, where datasets have styles."""
    source = dataset_source(profile.datasets[0]) if profile.datasets else None
    if source is None or not source.styles:
        return []
    runs: list[Run] = []
    for dataset in profile.datasets:
        for other in profile.datasets:
            style = "default" if other == dataset else source.styles[other]
            few = profile.seeds[: profile.costly["seeds"]]
            one = replace(profile, datasets=(dataset,), seeds=few)
            runs += [*coop(one, style=style, **changes), *dip(one, style=style, **changes)]
    return once(runs)


def precision(profile: Profile, **changes: Any) -> list[Run]:
    """CoOp with the backbone in bf16, and the same runs in the profile's precision."""
    return [*coop(profile, **changes), *coop(profile, precision="bf16", **changes)]


STUDIES = {
    "base_to_new": base_to_new,
    "trajectories": trajectories,
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
    "class_splits": class_splits,
    "fronts": fronts,
    "causes": causes,
    "beyond": beyond,
    "visual_tasks": visual_tasks,
    "visual_condensed": visual_condensed,
    "visual_low_rank": visual_low_rank,
}
"""Every study by name; each that a profile has is a file of runs under ``results/<profile>``."""
ON_REQUEST = (
    "trajectories",
    "class_splits",
    "fronts",
    "causes",
    "beyond",
    "visual_tasks",
    "visual_condensed",
    "visual_low_rank",
)
"""Studies that only those profiles have that ask for them (:attr:`Profile.studies`)."""
ALONG = ("base_to_new", "trajectories", "hosts")
"""Those whose pages look along training: of runs that none of them has the last checkpoint is
committed."""


def studies_of(profile: Profile) -> list[str]:
    """The studies of a profile: all, but of those on request only the ones that it asks for; where
    it names the ``only`` ones, these.

    Raises:
        ValueError: it asks for a study that there is not.
    """
    asked, only = (
        [one_of("study", name, STUDIES) for name in names]
        for names in (profile.studies, profile.only)
    )
    if only:
        return [name for name in STUDIES if name in only]
    return [name for name in STUDIES if name not in ON_REQUEST or name in asked]


def each_run_once(profile: Profile, studies: Iterable[str]) -> Iterator[tuple[str, list[Run]]]:
    """Each study's name and runs, without those of the studies before it."""
    earlier = set[Run]()
    for name in studies:
        runs = [run for run in STUDIES[name](profile) if run not in earlier]
        earlier.update(runs)
        yield name, runs


def seen_along_training(profile: Profile) -> set[Run]:
    """The runs of which some page of the profile shows more than the last checkpoint."""
    studies = [name for name in ALONG if name in studies_of(profile)]
    return {run for name in studies for run in STUDIES[name](profile)}


# ---- the store of a profile -------------------------------------------------------------------

RESULTS = ("stored", "missing", "fresh")
"""Where records come from: runs that this machine or ``results/`` has ("stored"); those, and what
is missing is measured ("missing"); this machine's alone, and what is missing is measured ("fresh").
"""


def open_store(profile: Profile, results: str) -> Store:
    """Live runs, and beneath them, unless they must be "fresh", the profile's committed exports."""
    one_of("results", results, RESULTS)
    committed = [] if results == "fresh" else sorted((results_dir() / profile.name).glob("*.json"))
    return SharedStore(home() / "store", committed)


def collect(
    specs: Sequence[Run], profile: Profile, device: str = "cpu", results: str = "stored"
) -> list[Record]:
    """Records of ``specs``, in their order.

    Raises:
        NotMeasuredError: ``results="stored"`` and runs are missing or stale, with the command that
            measures them.
    """
    store = open_store(profile, results)
    missing = store.missing(specs, failed=results != "stored")
    if missing and results == "stored":
        how = (
            f"They are of profile {profile.name!r}, or were made with other code, weights or data "
            f"(first: {missing[0]}). Measure them: run the notebook with results='missing', or "
            f"`dip measure --profile {profile.name}`."
        )
        raise NotMeasuredError(len(missing), len(specs), how)
    if missing:
        measure(missing, store, device, profile.folders)
    records = [store.get(run) for run in specs]
    lost = [run for run, record in zip(specs, records, strict=True) if record is None]
    if lost:
        raise LookupError(f"{len(lost)} runs vanished from the store while reading: {lost[0]}")
    return [record for record in records if record is not None]
