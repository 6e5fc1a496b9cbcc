"""Page 07: prompts of the source dataset, evaluated on other datasets and on shifted pictures.

Accuracies are label of the runs -> place -> (S,), where the place is the dataset that a prompt is
evaluated on: the source itself, a shift of it, or another dataset.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from dip_book.statistics import Interval, detectable_effect, paired, paired_difference
from dip_book.tables import Array, final, finished_pairs, over_seeds
from dip_study.profiles import Profile

Accuracies = Mapping[str, Mapping[str, Array]]
COLUMNS = ("zero-shot", "CoOp", "DIP")


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
    """The places that are averaged: those of other datasets, and those of shifted pictures."""
    others = [name for name in profile.datasets if name != profile.source]
    return {"other datasets": others, "shifted pictures": [*profile.shifts]}


def _pair(
    accuracies: Accuracies, places: Sequence[str], ours: str, theirs: str
) -> tuple[dict[str, Array], dict[str, Array]]:
    a, b = ({place: accuracies[label][place] for place in places} for label in (ours, theirs))
    return a, b


def gaps(
    accuracies: Accuracies, profile: Profile, ours: str = "DIP", theirs: str = "CoOp"
) -> dict[str, Interval]:
    """Ours minus theirs, averaged over each of the two parts."""
    return {
        name: paired_difference(*_pair(accuracies, places, ours, theirs))
        for name, places in parts(profile).items()
    }


def finding(accuracies: Accuracies, profile: Profile) -> str:
    """The page's finding: DIP minus CoOp, and minus the hand-written prompt, on both parts."""
    verdict = {1: "ahead", -1: "behind", 0: "neither clearly ahead nor behind"}
    clauses = [
        f"on {name} **{gap.value:+.1f}** points (95 % interval {gap.ends('+.1f')}; "
        f"{verdict[gap.sign]})"
        for name, gap in gaps(accuracies, profile).items()
    ]
    words = gaps(accuracies, profile, "DIP", "zero-shot")
    return (
        "**Finding.** Prompts trained with DIP, minus prompts trained with CoOp: "
        f"{', '.join(clauses)}. DIP minus the hand-written prompt, which is not trained: "
        f"{words['other datasets'].value:+.1f} on other datasets, "
        f"{words['shifted pictures'].value:+.1f} on shifted pictures."
    )


def differences(accuracies: Accuracies, profile: Profile) -> dict[str, Interval]:
    """DIP minus CoOp: on each place with the range over seeds, then the means of both parts."""
    others, shifts = parts(profile).values()
    names = {profile.source: f"{profile.source} itself"}
    rows = {
        names.get(place, place): over_seeds(accuracies["DIP"][place] - accuracies["CoOp"][place])
        for place in (profile.source, *shifts, *others)
    }
    means = gaps(accuracies, profile)
    rows["mean of the shifts"] = means["shifted pictures"]
    rows["mean of the others"] = means["other datasets"]
    return rows


def breaks(profile: Profile) -> list[str]:
    """The rows of :func:`differences` that begin a group."""
    others, shifts = parts(profile).values()
    return [shifts[0], others[0], "mean of the shifts"]


def accuracy_table(accuracies: Accuracies, profile: Profile) -> pd.DataFrame:
    """The accuracy of each label on each place, averaged over seeds, and the means of the parts."""
    others, shifts = parts(profile).values()
    places = (profile.source, *shifts, *others)
    table = pd.DataFrame(
        {c: {place: accuracies[c][place].mean() for place in places} for c in COLUMNS}
    )
    table.loc["mean of the shifts"] = table.loc[shifts].mean()
    table.loc["mean of the others"] = table.loc[others].mean()
    return table.assign(**{"DIP − CoOp": table["DIP"] - table["CoOp"]})


def numbers(accuracies: Accuracies, profile: Profile) -> dict[str, Interval]:
    """The page's numbers: DIP minus CoOp and minus the hand-written prompt, on both parts."""
    keys = {"cross": "other datasets", "shift": "shifted pictures"}
    both = {
        "coop": gaps(accuracies, profile),
        "zero": gaps(accuracies, profile, "DIP", "zero-shot"),
    }
    return {
        f"{key}_dip_minus_{theirs}": named[name]
        for theirs, named in both.items()
        for key, name in keys.items()
    }


def detectable(accuracies: Accuracies, profile: Profile) -> dict[str, float]:
    """The smallest true differences of DIP and CoOp that as many places would show."""
    others, shifts = parts(profile).values()
    return {
        f"{key}_dip_minus_coop": detectable_effect(
            paired(*_pair(accuracies, places, "DIP", "CoOp"))
        )
        for key, places in (("cross", others), ("shift", shifts))
    }
