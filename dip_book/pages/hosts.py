"""Page 10, its first part: methods on stored features, with and without DIP, in each world.

A pair is the runs of a method with DIP, then those without; pairs and gaps are by method, and CoOp
with DIP is DIP itself. Where a world measures a method with a rescaled weight, too, that is a
method of its own here: "KgCoOp, weight rescaled".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import pandas as pd

from dip_book import worlds
from dip_book.correlations import correlation_table
from dip_book.frame import as_read, finished, where
from dip_book.interval import Interval
from dip_book.tables import differences, final
from dip_lib import harmonic_mean
from dip_lib.methods import METHODS, CoOp
from dip_study.profiles import Profile

Pair = tuple[pd.DataFrame, pd.DataFrame]
Pairs = Mapping[str, Pair]
Gaps = Mapping[str, Mapping[str, Interval]]
DENSE_VARIANTS = {
    "DO": "DIP by direct optimisation (DO)",
    "PP": "DIP by positional penalty (PP)",
}
"""Label -> what the table of averages calls it; others stand as they are."""
NAMES = {"base": "base", "new": "new", "h": "H"}
RESCALED = ", weight rescaled"
"""Behind the label of a method whose weight is not the profile's."""


def labelled(runs: pd.DataFrame, profile: Profile) -> pd.DataFrame:
    """The runs, with :data:`RESCALED` in the labels of those with another weight."""
    labels = runs["label"].copy()
    for (method, dataset), rows in runs.groupby(["method", "dataset"]):
        kind = METHODS[str(method)]
        if "weight" not in kind.settings():
            continue
        weight = profile.values(kind, str(dataset)).get("weight", cast(Any, kind()).weight)
        others = rows.index[rows["weight"] != weight]
        labels[others] = labels[others].str.replace(kind.label, kind.label + RESCALED, regex=False)
    return runs.assign(label=labels)


def methods(runs: pd.DataFrame, side: str, dense: bool = False) -> list[str]:
    """Labels of the methods of a side that the runs hold plain and with DIP, but CoOp's.

    Args:
        dense: those instead that make prompts dense in another way, which DIP is not added to.
    """
    there = set(finished(runs)["label"])
    kinds = (kind for kind in METHODS.values() if kind.side == side and kind is not CoOp)
    own = (kind.label for kind in kinds if kind.alternative_to_dip == dense)
    labels = (label + ending for label in own for ending in ("", RESCALED))
    wanted = {label: {label} if dense else {label, f"{label} + DIP"} for label in labels}
    return [label for label, each in wanted.items() if each <= there]


def pair(runs: pd.DataFrame, method: str) -> Pair:
    """The runs of a method with DIP, and without."""
    return where(runs, label=f"{method} + DIP"), where(runs, label=method)


def text_pairs(runs: pd.DataFrame, epochs: int) -> dict[str, Pair]:
    """The pairs of CoOp, trained for ``epochs``, and of the other methods on the text side."""
    coop = where(runs, label="DIP"), where(runs, label="CoOp", epochs=epochs)
    return {"CoOp": coop} | {name: pair(runs, name) for name in methods(runs, "text")}


def others(pairs: Pairs) -> dict[str, Pair]:
    """The pairs of all methods but CoOp."""
    return {method: both for method, both in pairs.items() if method != CoOp.label}


def gaps(pairs: Pairs) -> dict[str, dict[str, Interval]]:
    """Each method with DIP minus without: base, new and H."""
    return {method: differences(*both) for method, both in pairs.items()}


def rows(by_method: Gaps) -> dict[str, Interval]:
    """Three rows for each method: base, new and H."""
    return {
        f"{method}: {name}": gap[key]
        for method, gap in by_method.items()
        for key, name in NAMES.items()
    }


def breaks(by_method: Gaps) -> list[str]:
    """The rows that begin a method, but for the first."""
    return [f"{method}: base" for method in [*by_method][1:]]


@dataclass(frozen=True, eq=False)
class Compared:
    """What the page compares in one world.

    Attributes:
        pairs: of every method.
        groups: of the table of averages, from the hand-written prompt to the methods' DIPs.
    """

    pairs: Pairs
    groups: Mapping[str, pd.DataFrame]

    @classmethod
    def of(cls, runs: pd.DataFrame, profile: Profile) -> Compared:
        """Of the runs of :func:`dip_study.hosts.hosts`."""
        runs = labelled(runs, profile)
        pairs = text_pairs(runs, profile.epochs)
        return cls(pairs, text_groups(runs, pairs, profile.backbone))

    @cached_property
    def gaps(self) -> dict[str, dict[str, Interval]]:
        """Each method with DIP minus without."""
        return gaps(self.pairs)


# ---- what is said -------------------------------------------------------------------------------


def finding(found: Mapping[str, Compared]) -> str:
    """The page's finding: on which methods the worlds disagree, then what was found in each."""
    names = dict.fromkeys(name for each in found.values() for name in each.pairs)
    disagreements = [
        worlds.disagreement(
            {world: each.gaps[name]["h"] for world, each in found.items() if name in each.gaps},
            f"{_in_list(name)} with DIP minus without in H",
        )
        for name in names
    ]
    said = {
        world: raised_and_lowered(each.gaps) + _weights(each.pairs) for world, each in found.items()
    }
    return "".join(disagreements) + worlds.paragraphs(said, "Finding")


def raised_and_lowered(by_method: Gaps) -> str:
    """For which methods DIP clearly raises or lowers H."""

    def listed(sign: int) -> str:
        there = [_in_list(m) for m, gap in by_method.items() if gap["h"].sign == sign]
        return ", ".join(there) or "none"

    twice = sum(name.endswith(RESCALED) for name in by_method)
    again = f" ({twice} of them also with a rescaled weight)" if twice else ""
    return (
        f"Putting DIP on {len(by_method) - twice} methods{again} raises the harmonic mean H "
        f"clearly for **{listed(1)}**, lowers it clearly for **{listed(-1)}**, and is not decided "
        "for the others."
    )


def _in_list(name: str) -> str:
    """A method's name without its comma."""
    return f"{name.removesuffix(RESCALED)} (rescaled)" if name.endswith(RESCALED) else name


def _weights(pairs: Pairs) -> str:
    """The rescaled weights, if there are any."""
    weights = {
        name.removesuffix(RESCALED): plain["weight"].iloc[0]
        for name, (_, plain) in pairs.items()
        if name.endswith(RESCALED)
    }
    if not weights:
        return ""
    parts = [f"{name} {weight:g}" for name, weight in weights.items()]
    return f" Rescaled to this world's logit scale, the weights are: {', '.join(parts)}."


# ---- tables -------------------------------------------------------------------------------------


def text_groups(runs: pd.DataFrame, pairs: Pairs, backbone: str) -> dict[str, pd.DataFrame]:
    """The groups of the table of averages, from the hand-written prompt to the methods' DIPs."""
    headline = where(runs, backbone=backbone)
    coop = where(headline, label="CoOp")
    short = int(coop["epochs"].min())
    groups = {name: where(headline, label=name) for name in ("zero-shot", "zero-shot, ensemble")}
    groups |= {
        f"CoOp, {short} epochs": where(coop, epochs=short),
        "CoOp": pairs["CoOp"][1],
        "DIP by low rank (LRA)": pairs["CoOp"][0],
    }
    for label in methods(headline, "text", dense=True):
        groups[DENSE_VARIANTS.get(label, label)] = where(headline, label=label)
    for method, (dense, plain) in others(pairs).items():
        groups |= {method: plain, f"{method} + DIP": dense}
    return groups


def h_by_family(runs: pd.DataFrame) -> dict[str, float]:
    """Dataset -> H of its base and new accuracy averaged over seeds."""
    both = final(runs, "base", "new")
    return {dataset: float(harmonic_mean(*values.mean(0))) for dataset, values in both.items()}


def family_changes(pairs: Pairs) -> pd.DataFrame:
    """H with DIP minus without: a row a dataset, a column a method."""
    h = {method: [h_by_family(runs) for runs in both] for method, both in pairs.items()}
    changes = pd.DataFrame(
        {
            method: {d: dense[d] - plain[d] for d in dense if d in plain}
            for method, (dense, plain) in h.items()
        }
    )
    return worlds.titled(changes)


def family_table(groups: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """H of each group on each dataset: a row a group."""
    return worlds.titled(pd.DataFrame({n: h_by_family(runs) for n, runs in groups.items()})).T


def density_table(pairs: Pairs) -> pd.DataFrame:
    """Median rho of new-class accuracy with ID_1, ID_2 and time, along DIP and plain methods.

    With as-read ID_1, too, where the runs hold it.
    """
    coop = {"CoOp": pairs["CoOp"][1], "DIP": pairs["CoOp"][0]}
    along = coop | {method: plain for method, (_, plain) in others(pairs).items()}
    medians = {name: correlation_table(runs).median() for name, runs in along.items()}
    columns = {"id1": "ρ with ID₁", "id2": "ρ with ID₂", "epoch": "ρ with −epoch"}
    table = pd.DataFrame(medians).T.rename(columns=columns)
    reads = {name: as_read(runs) for name, runs in along.items()}
    rho = {n: correlation_table(r)["id1"].median() for n, r in reads.items() if r is not None}
    return table.assign(**{"ρ with as-read ID₁": pd.Series(rho)}) if rho else table
