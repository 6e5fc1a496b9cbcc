"""How long a study takes on more workers: its groups, shared out as ``dispatch`` does.

The model, which has no number of its own: every group takes as long as ``dip plan`` estimates, a
set of image features is encoded by the first group that needs it, on a disk that all workers see,
each free worker takes the next group, and one process receives every result. Phases wait for
those before them, as in ``dip_study.measure``. What it leaves out: starting the workers, groups
that are measured again after a loss, and workers of different speed.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass

from dip_lib.training.batches import shared_out
from dip_lib.training.run import Run
from dip_study.measure import BATCH
from dip_study.plan import encoded_images, group_cost
from dip_study.profiles import Profile
from dip_study.runs import once
from dip_study.study import STUDIES, studies_of


@dataclass(frozen=True)
class Rates:
    """How fast a worker is, and the process that has the store.

    Attributes:
        times_a_core: text-side training steps a second, over those of one core of the machine that
            ``results/benchmarks/text_step.json`` was measured on.
        images_per_second: encoded, from files to features.
        client_seconds: of the process with the store, for each run.
    """

    times_a_core: float
    images_per_second: float
    client_seconds: float


@dataclass(frozen=True)
class Estimate:
    """A study on so many workers.

    Attributes:
        hours: until it is done.
        worker_hours: of all workers, at work or waiting.
        share_at_work: of these hours, the part in which groups are measured.
        bottleneck: what the hours are closest to: "work" shared by all workers, the "longest
            group", or the "client" that receives the results.
    """

    workers: int
    hours: float
    worker_hours: float
    share_at_work: float
    bottleneck: str


def phases(profile: Profile) -> list[list[Run]]:
    """All runs of a profile, once: those that train themselves, then those made of others."""
    runs = once(r for name in studies_of(profile) for r in STUDIES[name](profile, fingerprint=""))
    own = [run for run in runs if run.source() == run]
    return [own, [run for run in runs if run.source() != run]]


def group_seconds(profile: Profile, rates: Rates, workers: int) -> list[list[float]]:
    """Of each phase the seconds of its groups on a worker, in the order they are given out."""
    images = rates.images_per_second
    known, seconds = set[tuple[object, ...]](), list[list[float]]()
    for runs in phases(profile):
        groups = shared_out(runs, BATCH["cuda"], workers, "cuda")
        costs = []
        for group in groups:
            cost = group_cost(group, known, profile.folders, images_per_second=images)
            known |= {key for run in group for key in encoded_images(run, profile.folders)}
            text = cost["text_minutes"] / rates.times_a_core
            costs.append(60 * (cost["image_minutes"] + text))
        seconds.append(costs)
    return seconds


def makespan(seconds: Sequence[float], workers: int) -> float:
    """Seconds until all groups are done, each taken by the worker that is free first."""
    free = [0.0] * workers
    for each in seconds:
        heapq.heapreplace(free, free[0] + each)
    return max(free)


def estimate(seconds: Sequence[Sequence[float]], runs: int, workers: int, rates: Rates) -> Estimate:
    """How long the groups of all phases take on so many workers.

    Args:
        seconds: of the groups of each phase (:func:`group_seconds`).
        runs: whose results the client receives.

    Raises:
        ValueError: no worker, or a cost that was not measured.
    """
    work = sum(map(math.fsum, seconds))
    if workers < 1 or not math.isfinite(work):
        raise ValueError(f"{workers} workers and {work} seconds of work: nothing can be estimated")
    client = runs * rates.client_seconds
    least = {
        "work": work / workers,
        "longest group": math.fsum(max(phase, default=0.0) for phase in seconds),
        "client": client,
    }
    total = max(math.fsum(makespan(phase, workers) for phase in seconds), client)
    return Estimate(
        workers=workers,
        hours=total / 3600,
        worker_hours=workers * total / 3600,
        share_at_work=work / (workers * total) if total else 1.0,
        bottleneck=max(least, key=lambda name: least[name]),
    )
