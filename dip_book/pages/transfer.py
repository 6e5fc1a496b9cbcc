"""Page 07: prompts of the source dataset, evaluated on other datasets and on shifted pictures.

Accuracies are label of the runs -> place -> (S,), where the place is the dataset that a prompt is
evaluated on: the source itself, a shift of it, or another dataset. A world may lack either part.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import pandas as pd

from dip_book import worlds
from dip_book.claims import FEWEST
from dip_book.interval import Interval
from dip_book.statistics import paired_difference
from dip_book.tables import Array, final, finished_pairs, over_seeds
from dip_lib.data.dataset import dataset_title
from dip_study.profiles import Profile

Accuracies = Mapping[str, Mapping[str, Array]]
COLUMNS = ("zero-shot", "CoOp", "DIP")
OTHERS, SHIFTS = "other datasets", "shifted pictures"
KEYS = {OTHERS: "cross", SHIFTS: "shift"}
"""What is averaged -> how numbers call it."""
MEANS = {SHIFTS: "mean of the shifts", OTHERS: "mean of the others"}
"""What is averaged -> its row in figure and table, in their order."""


def accuracies(runs: pd.DataFrame) -> dict[str, dict[str, Array]]:
    """The accuracy of every seed by label and place; the hand-written prompt has one seed."""
    place = runs["target"].where(runs["target"] != "", runs["dataset"])
    placed = runs.assign(dataset=place)
    labels = [(str(label), runs_of) for label, runs_of in placed.groupby("label")]
    sides = finished_pairs(*(runs_of for _, runs_of in labels))
    return {
        label: final(runs_of, "base") for (label, _), runs_of in zip(labels, sides, strict=True)
    }


def parts(profile: Profile) -> dict[str, list[str]]:
    """The places that are averaged: those of other datasets, and those of shifted pictures.

    A part without places is left out.
    """
    others = [name for name in profile.datasets if name != profile.source]
    both = {OTHERS: others, SHIFTS: [*profile.shifts]}
    return {name: places for name, places in both.items() if places}


@dataclass(frozen=True, eq=False)
class Transferred:
    """What the prompts of a world's source are worth elsewhere.

    Attributes:
        accuracies: of each label on each place.
        source: the dataset that they were trained on.
        parts: the other places, in the parts that are averaged.
    """

    accuracies: Accuracies
    source: str
    parts: Mapping[str, Sequence[str]]

    @classmethod
    def of(cls, runs: pd.DataFrame, profile: Profile) -> Transferred:
        return cls(accuracies(runs), profile.source, parts(profile))

    def pair(self, part: str, ours: str, theirs: str) -> tuple[dict[str, Array], dict[str, Array]]:
        """The accuracies of two labels on the places of a part."""
        a, b = (
            {place: self.accuracies[label][place] for place in self.parts[part]}
            for label in (ours, theirs)
        )
        return a, b

    def gaps(self, ours: str = "DIP", theirs: str = "CoOp") -> dict[str, Interval]:
        """Ours minus theirs, averaged over each of the parts."""
        return {part: paired_difference(*self.pair(part, ours, theirs)) for part in self.parts}

    @cached_property
    def groups(self) -> list[tuple[str, ...]]:
        """The places as figure and table have them: the source, its shifts, the others."""
        return [(self.source,), *(tuple(self.parts[part]) for part in MEANS if part in self.parts)]

    @property
    def means(self) -> dict[str, str]:
        """The parts that there are -> their rows."""
        return {part: row for part, row in MEANS.items() if part in self.parts}


def finding(found: Mapping[str, Transferred]) -> str:
    """The page's finding: whether the worlds disagree, then what was found in each."""
    gaps = {world: each.gaps() for world, each in found.items()}
    disagreements = [
        worlds.disagreement(
            {world: gap[part] for world, gap in gaps.items() if part in gap},
            f"DIP minus CoOp on {part}",
        )
        for part in KEYS
    ]
    said = {world: _found(each, world) for world, each in found.items()}
    return "".join(disagreements) + worlds.paragraphs(said, "Finding")


def _found(transferred: Transferred, world: str) -> str:
    """DIP minus CoOp, and minus the hand-written prompt, on the parts; which part there is not."""
    clauses = [
        f"on {name} **{gap.value:+.1f}** points (95 % interval {gap.ends('+.1f')}; {_sided(gap)})"
        for name, gap in transferred.gaps().items()
    ]
    words = [
        f"{gap.value:+.1f} on {name}" for name, gap in transferred.gaps("DIP", "zero-shot").items()
    ]
    said = [
        f"There are no {part} to measure in {world}."
        for part in KEYS
        if part not in transferred.parts
    ]
    if clauses:
        said.insert(
            0,
            f"Prompts trained with DIP, minus prompts trained with CoOp: {', '.join(clauses)}. "
            f"DIP minus the hand-written prompt, which is not trained: {', '.join(words)}.",
        )
    return " ".join(said)


def _sided(gap: Interval) -> str:
    """Which side a gap is on, or that it rests on too few places to say."""
    if (count := max(1, len(gap.units))) < FEWEST:
        return f"{count} of them, too few to judge"
    return {1: "ahead", -1: "behind", 0: "neither clearly ahead nor behind"}[gap.sign]


def differences(transferred: Transferred) -> dict[str, Interval]:
    """DIP minus CoOp: on each place with the range over seeds, then the means of the parts."""
    dip, coop = (transferred.accuracies[label] for label in ("DIP", "CoOp"))
    rows = {
        _row(transferred, place): over_seeds(dip[place] - coop[place])
        for places in transferred.groups
        for place in places
    }
    gaps = transferred.gaps()
    return rows | {row: gaps[part] for part, row in transferred.means.items()}


def _row(transferred: Transferred, place: str) -> str:
    title = dataset_title(place)
    return f"{title} itself" if place == transferred.source else title


def breaks(transferred: Transferred) -> list[str]:
    """The rows of :func:`differences` that begin a group."""
    first = [_row(transferred, places[0]) for places in transferred.groups[1:]]
    return [*first, *[*transferred.means.values()][:1]]


def accuracy_table(transferred: Transferred) -> pd.DataFrame:
    """The accuracy of each label on each place, averaged over seeds, and the means of the parts."""
    places = [place for each in transferred.groups for place in each]
    found = transferred.accuracies
    table = pd.DataFrame({c: {place: found[c][place].mean() for place in places} for c in COLUMNS})
    for part, row in transferred.means.items():
        table.loc[row] = table.loc[list(transferred.parts[part])].mean()
    return worlds.titled(table.assign(**{"DIP − CoOp": table["DIP"] - table["CoOp"]}))


def numbers(transferred: Transferred) -> dict[str, Interval]:
    """The page's numbers: DIP minus CoOp and minus the hand-written prompt, on the parts."""
    return {
        f"{KEYS[part]}_dip_minus_{key}": gap
        for key, theirs in (("coop", "CoOp"), ("zero", "zero-shot"))
        for part, gap in transferred.gaps("DIP", theirs).items()
    }
