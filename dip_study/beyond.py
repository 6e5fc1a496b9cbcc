"""The judge of the method beyond the paper: where it is measured, once, and beside which others.

It was developed on some datasets of a profile (``Profile.judge``, "developed"). Others judge it,
each with random halves of its classes: every half has a few-shot draw of its own. Every method
chooses among as many settings at every place, as in ``dip_study.fronts``; the datasets that have
been seen before, with the field's halves, stand beside.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dip_lib.data.dataset import dataset_source
from dip_lib.training.run import Run
from dip_study import fronts
from dip_study.fronts import Entry, Place, Setting
from dip_study.profiles import Profile
from dip_study.runs import once

OURS = "Subspace"
COMPARED = ("DIP", "CoOp", "CoOp, update scaled", "KgCoOp", "ProGrad")
"""What it has to be ahead of; each with its settings in ``dip_study.fronts``."""
STUDY = "beyond"
"""Its name: a profile that lists it among its ``studies`` has been opened for judging."""
WEIGHTS = (1.0, 1 / 2, 1 / 4)
"""Of its distance to the template, as multiples of the one for the backbone's logit scale."""


def settings(profile: Profile) -> dict[str, tuple[Setting, ...]]:
    """Method -> its settings, this book's own first."""
    every, rates = fronts.settings(profile), fronts.rates(profile)[:2]
    own = tuple(Setting(lr=r, method="subspace", weight=w) for w in WEIGHTS for r in rates)
    return {OURS: own} | {name: every[name] for name in COMPARED if name in every}


def judged(profile: Profile) -> Iterator[Place]:
    """Every dataset of the judge with each of its random class splits, and a seed for each.

    A seed is that of the few-shot draw, the order of images and the random directions.
    """
    table = profile.judge
    for dataset, count in zip(table.get("datasets", ()), table.get("splits", ()), strict=True):
        for split in range(1, count + 1):
            yield Place(dataset, profile.seeds[(split - 1) % len(profile.seeds)], split)


def seen(profile: Profile) -> Iterator[Place]:
    """The profile's other datasets, but those of the development, with the field's halves.

    The first seed alone: they decide nothing here.
    """
    table = profile.judge
    known = {*table.get("datasets", ()), *table.get("developed", ())}
    others = tuple(name for name in profile.datasets if name not in known)
    return (Place(name, profile.seeds[0]) for name in others) if table else iter(())


def judge_entries(profile: Profile, **changes: Any) -> Iterator[Entry]:
    """Every setting at every judged place, on the judge's tower."""
    if not profile.judge:
        return iter(())
    own = {"backbone": profile.judge["tower"], **changes}
    return fronts.entries_at(profile, settings(profile), judged(profile), **own)


def seen_entries(profile: Profile, **changes: Any) -> Iterator[Entry]:
    """Every setting at every place that has been seen before, on the profile's first tower."""
    return fronts.entries_at(profile, settings(profile), seen(profile), **changes)


def closed(profile: Profile) -> str:
    """Why the judge may not be run yet; "" once it may, or where there is none."""
    if not profile.judge:
        return ""
    if STUDY not in profile.studies:
        return f"profile {profile.name} does not list {STUDY!r} among its studies"
    sources = {name: dataset_source(name) for name in profile.judge["datasets"]}
    sealed = [name for name, source in sources.items() if source and name in source.sealed]
    return f"{', '.join(sealed)} are sealed" if sealed else ""


def beyond(profile: Profile, **changes: Any) -> list[Run]:
    """The runs of all entries, judged and seen, each once; none before the judge is opened."""
    if closed(profile):
        return []
    every = (*judge_entries(profile, **changes), *seen_entries(profile, **changes))
    return once(entry.run for entry in every)
