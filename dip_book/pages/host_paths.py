"""Page 10: how base and new accuracy move while each method trains, with DIP and without.

A method with a rescaled weight is left out: its path is between that of CoOp and its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain

import pandas as pd

from dip_book import worlds
from dip_book.pages.hosts import RESCALED, Pairs
from dip_book.slider_paths import LOOKS, Path, Paths, front
from dip_book.tables import finished_pairs
from dip_lib.methods import CoOp

HALVES = ["base", "new"]
WITH = " + DIP"
AXES = ("accuracy on base classes, %", "accuracy on new classes, %")


def along(pairs: Pairs) -> pd.DataFrame:
    """Base and new accuracy at each checkpoint, averaged over seeds, then over datasets.

    Rows: label x share of the training in per cent, at the shares that all methods have on all
    datasets. A dataset and seed of which any run stopped is left out of all.
    """
    shown = [both for name, both in pairs.items() if not name.endswith(RESCALED)]
    order = [runs["label"].iloc[0] for dense, plain in shown for runs in (plain, dense)]
    runs = pd.concat(finished_pairs(*chain.from_iterable(shown)))
    share = (100 * runs["epoch"] / runs["epochs"]).round().astype(int)
    by_dataset = runs.assign(share=share).groupby(["label", "share", "dataset"])[HALVES].mean()
    there = by_dataset.groupby("share").size()
    means = by_dataset.groupby(["label", "share"]).mean()
    everywhere = means[means.index.isin(there.index[there == there.max()], level="share")]
    return everywhere.reindex(order, level="label")


def shares(found: Mapping[str, pd.DataFrame]) -> list[int]:
    """The shares of the training that all worlds have, ascending."""
    return sorted(set.intersection(*(set(each.index.unique("share")) for each in found.values())))


def positions(found: Mapping[str, pd.DataFrame]) -> list[str]:
    """What each position of the slider is called."""
    return [f"{share} %" for share in shares(found)]


def panels(found: Mapping[str, pd.DataFrame]) -> list[Paths]:
    """The slider's panels, one a world."""
    return [_panel(world, each, shares(found)) for world, each in found.items()]


def _panel(world: str, means: pd.DataFrame, at: list[int]) -> Paths:
    paths = drawn(means[means.index.isin(at, level="share")])
    fronts = [front([path.points[i] for path in paths]) for i in range(len(at))]
    said = [
        f"After {share} % of the training no other is better on both halves than "
        f"{', '.join(paths[i].name for i in best)}."
        for share, best in zip(at, fronts, strict=True)
    ]
    return Paths(world, AXES, paths, fronts, said)


def drawn(means: pd.DataFrame) -> list[Path]:
    """The path of each method: one look a method, dashed with DIP; DIP itself has its own."""
    labels = [*means.index.unique("label")]
    plain = [label for label in labels if not _has_dip(label)]
    looks = {
        label: i if i == 0 else 2 + (i - 1) % (len(LOOKS) - 2) for i, label in enumerate(plain)
    }
    looks["DIP"] = 1
    return [
        Path(
            label,
            looks[label.removesuffix(WITH)],
            _has_dip(label),
            [(round(base, 2), round(new, 2)) for base, new in means.loc[label].to_numpy().tolist()],
        )
        for label in labels
    ]


def _has_dip(label: str) -> bool:
    return label == "DIP" or label.endswith(WITH)


def passed(means: pd.DataFrame) -> dict[str, int]:
    """Method -> the earliest share of its training before the end at which it is, without DIP, as
    good on both halves as it ends with DIP; methods that never are have no entry."""
    earliest = {}
    for label in means.index.unique("label"):
        dense = "DIP" if label == CoOp.label else f"{label}{WITH}"
        if _has_dip(label):
            continue
        end = means.loc[dense].iloc[-1]
        earlier = means.loc[label].iloc[:-1]
        there = earlier.index[(earlier >= end).all(axis=1)]
        if len(there):
            earliest[label] = int(there[0])
    return earliest


def finding(found: Mapping[str, pd.DataFrame]) -> str:
    """Which methods pass, without DIP, what they reach with it, in each world."""
    return worlds.paragraphs({world: _passing(each) for world, each in found.items()})


def _passing(means: pd.DataFrame) -> str:
    early = passed(means)
    plain = [label for label in means.index.unique("label") if not _has_dip(label)]
    there = ", ".join(f"{label} (after {share} %)" for label, share in early.items()) or "none"
    others = ", ".join(label for label in plain if label not in early) or "none"
    return (
        "Methods that pass, without DIP, a point no worse on either half than where they end with "
        f"it: {there}. Methods that do not: {others}."
    )
