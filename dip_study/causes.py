"""The runs of the page on causes: one thing of DIP changed at a time, and all else CoOp's.

DIP differs from CoOp in its rank, its start, its dropout, and in what follows from them: how dense
the prompt gets, how far it moves, how fast it fits. Each design changes one of these alone. All are
base-to-new, on every dataset and the first backbone, at the profile's learning rate; the update of
the text tower alone has rates of its own, among which its validation accuracy on base classes
chooses, as CoOp's chose the profile's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from dip_lib.training.run import LowRank, Run
from dip_study.profiles import Profile
from dip_study.runs import DIP, coop, dip, once, seeds, zero_shots

SHARES = {"an eighth of the epochs": 1 / 8, "a quarter of the epochs": 1 / 4}
"""Early stopping: a CoOp whose whole schedule is so long."""
LOSS_SCALES = (1 / 2, 1 / 4, 1 / 8)
"""Constants of the scaled loss. The page shows all; which of them is compared with DIP is the one
whose validation base accuracy, averaged over datasets, comes nearest to DIP's."""
DENSITIES = (0.0, 0.7, 0.9)
"""Levels at which the as-read density is held; 0: that of the words (0.43 and 0.44 in the two
worlds). The others are about where DIP's prompts of rank n and of rank 1 end, as seen on one
dataset of each world before any run of this study. Held are full matrices and updates of rank n:
one of rank 1 could keep the words' density only by staying small."""
RATES = (1.0, 10.0, 100.0)
"""Learning rates of the text-tower update, as multiples of the profile's."""
RANK_N = LowRank(rank=4, dropout=0.5)
"""As many ranks as vectors: dropout of an update that can be any matrix."""
FULL_DROPOUT = LowRank(rank=None, dropout=0.5, site="prompt")
BARE: dict[str, Any] = {"context": "", "vectors": 4}
"""Four random vectors, N(0, 0.02^2), as CoOp starts without words; with an update no P0 is left."""
RN50_LIKE: dict[str, Any] = {"context": "", "vectors": 16, "protocol": "all-classes"}
"""Few-shot learning as the field has it with RN50: sixteen random vectors."""
SHOTS = (1, 4, 16)

Make = Callable[..., list[Run]]


def _each(make: Make, profile: Profile, **changes: Any) -> list[Run]:
    """The runs of the first backbone, each dataset with its own seeds."""
    first = replace(profile, towers=profile.towers[:1])
    return [
        run
        for name in profile.datasets
        for run in make(
            replace(first, datasets=(name,), seeds=profile.seeds_of_grid(name)), **changes
        )
    ]


def _tower_update(profile: Profile, rate: float, **changes: Any) -> list[Run]:
    """The update of the text tower; each seed has a random factor of its own."""
    settings = {"lr": rate * profile.lr, **changes}
    return [
        run
        for seed in profile.seeds
        for run in seeds(replace(profile, seeds=(seed,)), "tower-update", factor=seed, **settings)
    ]


def _short(profile: Profile, share: float, **changes: Any) -> list[Run]:
    return coop(profile, epochs=max(1, round(share * profile.epochs)), **changes)


def level(density: float) -> str:
    """A level at which a density is held, in words."""
    return f"{density:g}" if density else "its start"


DESIGNS: dict[str, Make] = {
    "CoOp": coop,
    "DIP": dip,
    "rank 2": partial(dip, low_rank=LowRank(rank=2, dropout=0.5)),
    "rank n": partial(dip, low_rank=RANK_N),
    "rank 1 without dropout": partial(dip, low_rank=LowRank(rank=1, dropout=0.0)),
    "rank n without dropout": partial(dip, low_rank=LowRank(rank=4, dropout=0.0)),
    "dropout alone": partial(coop, low_rank=FULL_DROPOUT),
    "random start": partial(seeds, method="control", origin="random"),
    "frozen random P0 + AB": partial(seeds, method="control", low_rank=DIP, origin="random"),
    "four random vectors": partial(coop, **BARE),
    "AB without P0": partial(dip, **BARE),
    **{name: partial(_short, share=share) for name, share in SHARES.items()},
    **{
        f"loss x {scale:g}": partial(seeds, method="control", loss_scale=scale)
        for scale in LOSS_SCALES
    },
    **{
        f"{name}, density held at {level(density)}": partial(
            seeds, method="control", low_rank=low_rank, held=True, density=density
        )
        for name, low_rank in (("CoOp", None), ("rank n", RANK_N))
        for density in DENSITIES
    },
    **{f"text-tower update, rate x {rate:g}": partial(_tower_update, rate=rate) for rate in RATES},
}
"""Design -> a function of the profile that makes its runs, base-to-new."""
OPERATED: dict[str, LowRank | None] = {
    "CoOp": None,
    "DIP": DIP,
    "rank n": RANK_N,
}
"""Designs whose trained updates are operated on -> their low-rank update."""


def designs(profile: Profile, **changes: Any) -> dict[str, list[Run]]:
    """The runs of every design of :data:`DESIGNS`, by name."""
    return {name: _each(make, profile, **changes) for name, make in DESIGNS.items()}


def surgery(profile: Profile, **changes: Any) -> dict[str, list[Run]]:
    """The evaluations of trained updates after surgery, of every design of :data:`OPERATED`."""
    return {
        name: _each(partial(seeds, method="surgery", low_rank=low_rank), profile, **changes)
        for name, low_rank in OPERATED.items()
    }


def few_shot(profile: Profile, **changes: Any) -> dict[str, list[Run]]:
    """CoOp and DIP from sixteen random vectors on all classes, with few images; by name.

    Images a class are told apart by the runs' own setting.
    """
    settings = {**RN50_LIKE, **changes}
    return {
        name: [run for shots in SHOTS for run in _each(make, profile, shots=shots, **settings)]
        for name, make in (("CoOp", coop), ("DIP", dip))
    } | {"zero-shot": _each(zero_shots, profile, protocol="all-classes", **changes)}


def causes(profile: Profile, **changes: Any) -> list[Run]:
    """Every run of the page on causes."""
    parts = (designs(profile, **changes), surgery(profile, **changes), few_shot(profile, **changes))
    words = _each(zero_shots, profile, **changes)
    return once([*words, *(run for part in parts for runs in part.values() for run in runs)])
