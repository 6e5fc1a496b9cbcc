"""The runs that studies are made of: one method, on every dataset and seed of a profile."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from dip_lib.clip.loading import backbone_source
from dip_lib.clip.timm_tower import is_timm, timm_weights
from dip_lib.data.photos import PHOTOS
from dip_lib.errors import one_of
from dip_lib.methods import METHODS
from dip_lib.training.run import Data, LowRank, Run, Tower, schedule_type
from dip_study.loaded import NO_FOLDERS, dataset_of
from dip_study.profiles import Profile, setting_names

DIP = LowRank(rank=1, dropout=0.5)
"""The book's constants; the ablations vary them."""


def make_run(
    profile: Profile,
    dataset: str,
    method: str,
    seed: int,
    low_rank: LowRank | None = None,
    **changes: Any,
) -> Run:
    """The run of a method on a dataset under a profile, with settings changed by name.

    A change is a setting of the data, tower, schedule or method of a run; each has a name of its
    own. With ``fingerprint=""`` a run is named without its files, for planning; it cannot be looked
    up.

    Raises:
        ValueError: an unknown method, or a setting that its runs do not have; names those they do.
    """
    for each in METHODS.values():
        if method == each.low_rank_label.lower() != "":
            raise ValueError(
                f"{each.low_rank_label} is {each.label} with a low-rank update: "
                f"method={each.name!r}, low_rank=LowRank(rank=1, dropout=0.5)"
            )
    kind = METHODS[one_of("method", method, METHODS)]
    if unknown := changes.keys() - setting_names(kind):
        raise ValueError(
            f"runs of {kind.label} have no setting {', '.join(map(repr, sorted(unknown)))}; the "
            f"method's own: {', '.join(kind.settings()) or 'none'}"
        )
    values, schedule = profile.values(kind, dataset) | changes, schedule_type(kind)
    if not kind.has_seed:
        seed, values = 0, values | {"shots": 0, "views": 0}
    values["dataset"] = dataset
    if "fingerprint" not in values:
        folders, style = profile.folders, values.get("style", "default")
        values["fingerprint"] = dataset_of(dataset, style, folders).fingerprint
        if target := values.get("target"):
            values["target_fingerprint"] = dataset_of(target, "default", folders).fingerprint
    values["weights"] = weights_of(values["backbone"], profile)

    def of(part: Any) -> dict[str, Any]:
        return {name: values[name] for name in part.__dataclass_fields__ if name in values}

    return Run(
        data=Data(**of(Data)),
        tower=Tower(**of(Tower)),
        method=kind.of(of(kind)),
        low_rank=low_rank,
        schedule=schedule(**of(schedule)) if schedule else None,
        seed=seed,
    )


def weights_of(backbone: str, profile: Profile) -> str:
    """What tells the weights of a run's encoder."""
    if is_timm(backbone):
        return timm_weights(backbone)
    source = backbone_source(backbone)
    return source.fingerprint(backbone) if source else profile.weights


def class_count(
    dataset: str, style: str = "default", folders: Mapping[str, Path] = NO_FOLDERS
) -> int:
    """Classes of a dataset, base and new ones; of photo datasets without their files."""
    if photos := PHOTOS.get(dataset):
        return photos.classes
    return len(dataset_of(dataset, style, folders).class_names)


def is_present(run: Run, folders: Mapping[str, Path] = NO_FOLDERS) -> bool:
    """Whether the weights and images of a run are here, and as they were."""
    data, tower = run.data, run.tower
    source = backbone_source(tower.backbone)
    if source and source.fingerprint(tower.backbone) != tower.weights:
        return False
    used = [(data.dataset, data.style, data.fingerprint)]
    if data.target:
        used.append((data.target, "default", data.target_fingerprint))
    try:
        return all(dataset_of(name, style, folders).fingerprint == was for name, style, was in used)
    except (OSError, ValueError):
        return False


def _applicable(method: str, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Those changes of a study of several methods that this method's runs have a setting for."""
    names = setting_names(METHODS[method])
    return {name: value for name, value in changes.items() if name in names}


def zero_shots(profile: Profile, method: str = "zero-shot", **changes: Any) -> list[Run]:
    """The hand-written template on every dataset and backbone, or the ensemble of many."""
    places = [(tower, d) for tower in profile.towers for d in profile.datasets]
    own = _applicable(method, changes)
    return [make_run(profile, d, method, 0, **{"backbone": tower} | own) for tower, d in places]


def seeds(
    profile: Profile, method: str, low_rank: LowRank | None = None, **changes: Any
) -> list[Run]:
    """A method on every dataset and seed."""
    return [
        make_run(profile, d, method, s, low_rank, **changes)
        for d in profile.datasets
        for s in profile.seeds
    ]


def costly(profile: Profile, seeds: int) -> Profile:
    """The profile with the datasets and as many seeds as runs through the image encoder get."""
    chosen = tuple(d for d in profile.costly["datasets"] if d in profile.datasets)
    return replace(profile, datasets=chosen, seeds=profile.seeds[:seeds])


def coop(profile: Profile, **changes: Any) -> list[Run]:
    """CoOp (full rank) on every dataset and seed."""
    return seeds(profile, "coop", **changes)


def dip(profile: Profile, low_rank: LowRank = DIP, **changes: Any) -> list[Run]:
    """DIP on every dataset and seed; by default rank 1 and dropout 0.5, the book's constants."""
    return seeds(profile, "coop", low_rank, **changes)


def probes(profile: Profile, **changes: Any) -> list[Run]:
    """The linear probe on every dataset and seed: the head-room of each task."""
    return seeds(profile, "probe", **_applicable("probe", changes))


def frontier(profile: Profile, **changes: Any) -> list[Run]:
    """CoOp at every learning rate of the profile: the trade-off between base and new classes."""
    return [run for rate in profile.rates for run in coop(profile, lr=rate, **changes)]


def once(runs: Iterable[Run]) -> list[Run]:
    """Each run once, in their order."""
    return list(dict.fromkeys(runs))
