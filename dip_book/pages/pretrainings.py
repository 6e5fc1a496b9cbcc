"""A world is one pre-training: each primary claim in further pre-trainings, beside its interval.

The interval of a claim is over the datasets of a world whose encoders were pre-trained once. What
another pre-training of the same world gives is no unit of it: it is shown as a point.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import pandas as pd
from matplotlib.figure import FigureBase

from dip_book import figures
from dip_book.correlations import correlation_numbers
from dip_book.frame import frame
from dip_book.interval import Interval
from dip_book.notebook import Page
from dip_book.pages.base_to_new import compared
from dip_book.plots import in_each_world
from dip_book.tables import averages, differences
from dip_lib.errors import NotMeasuredError
from dip_study import study
from dip_study.profiles import Profile, load_profile

TOWERS = {
    ("embedded-full", "glyph-resnet"): True,
    ("embedded-full", "glyph-vit"): False,
    ("embedded-b", "glyph-resnet-b"): False,
    ("embedded-c", "glyph-resnet-c"): False,
    ("embedded-vit-b", "glyph-vit-b"): False,
    ("photos-full", "photo-lite0"): True,
    ("photos-4", "photo-lite0-4"): False,
    ("photos-b", "photo-lite0-b"): False,
}
"""Profile and backbone of each pre-training -> whether the claims of its world are judged in it;
the judging one of a world comes first."""
CLAIMS = {
    "dip-new": "DIP minus CoOp on new classes, points",
    "dip-h": "DIP minus CoOp in H, points",
    "id-beyond-time": "lead of ID₁ over training time in |ρ|",
}
"""Primary claim -> its statistic, in a few words."""
ELSEWHERE = {
    "dip-h-fair": "is measured in the judging pre-trainings alone: each method chooses among six "
    "settings there"
}
"""Primary claims that further pre-trainings have no number for, and why."""
COLUMNS = {"base": "base", "new": "new", "h": "H"}
LABELS = ("zero-shot", "CoOp", "DIP")


@dataclass(frozen=True, eq=False)
class Pretraining:
    """What one pre-training of a world gives.

    Attributes:
        world: its name.
        tower: the backbone.
        judges: whether the claims of the world are judged in it.
        runs: zero-shot, CoOp and DIP, at the learning rate of its profile.
        scores: label -> base, new and H, averages over datasets.
        claims: primary claim -> its statistic; without "id-beyond-time" where the runs have no
            checkpoints along training.
    """

    world: str
    tower: str
    judges: bool
    runs: pd.DataFrame
    scores: Mapping[str, Mapping[str, Interval]]
    claims: Mapping[str, Interval]

    @property
    def seeds(self) -> int:
        return int(self.runs.loc[self.runs["label"] == "DIP", "seed"].nunique())

    @property
    def name(self) -> str:
        """Of its row in a figure."""
        return f"{self.world}: {self.tower}" if self.judges else self.tower


def pretraining(runs: pd.DataFrame, profile: Profile, judges: bool) -> Pretraining:
    """What the runs of a profile's first backbone give."""
    groups = compared(runs, profile).groups
    gap, coop = differences(groups["DIP"], groups["CoOp"]), groups["CoOp"]
    claims = {"dip-new": gap["new"], "dip-h": gap["h"]}
    if not coop["last"].all():
        claims["id-beyond-time"] = correlation_numbers(coop)["rho_id1_minus_rho_epoch"]
    scores = {label: averages(groups[label]) for label in LABELS}
    return Pretraining(profile.world, profile.backbone, judges, runs, scores, claims)


def stored(page: Page) -> list[Pretraining]:
    """Every pre-training of the page's worlds whose runs are stored.

    Of the others the page says how to measure them.
    """
    found, missing = list[Pretraining](), dict[str, None]()
    worlds = {profile.world for profile in page.parameters.profiles}
    for (name, tower), judges in TOWERS.items():
        one = replace(load_profile(name), towers=(tower,))
        if one.world not in worlds:
            continue
        try:
            runs = page.stored([*study.zero_shots(one), *study.coop(one), *study.dip(one)], one)
        except NotMeasuredError:
            missing[name] = None
        else:
            found.append(pretraining(runs, one, judges))
    if missing:
        commands = ", ".join(f"`dip measure --profile {name}`" for name in missing)
        page.say(f"Not all pre-trainings are measured here: {commands}.")
    return found


def points(found: Iterable[Pretraining]) -> dict[str, dict[str, Interval]]:
    """Claim's statistic -> row -> the interval of a judging pre-training, or a point."""
    rows: dict[str, dict[str, Interval]] = {words: {} for words in CLAIMS.values()}
    for each in found:
        for claim, mark in each.claims.items():
            point = Interval(mark.value, math.nan, math.nan)
            rows[CLAIMS[claim]][each.name] = mark if each.judges else point
    return {words: marks for words, marks in rows.items() if marks}


def draw(rows: Mapping[str, Mapping[str, Interval]]) -> None:
    """A panel for each claim: intervals of the worlds, and points of further pre-trainings.

    Without rows nothing is drawn.
    """

    def breaks(panel: Mapping[str, Interval]) -> list[str]:
        return [name for name in panel if ": " in name and name != next(iter(panel))]

    def draw_one(panel: Mapping[str, Interval], figure: FigureBase | None = None) -> None:
        figures.intervals(panel, "", breaks(panel), figure)

    def height(panel: Mapping[str, Interval]) -> float:
        return float(0.33 * figures.row_heights(panel, breaks(panel))[-1] + 1.0)

    if rows:
        in_each_world(rows, draw_one, height)


def table(found: Sequence[Pretraining]) -> pd.DataFrame:
    """Seeds, learning rate, and average accuracy without tuning, of CoOp and of DIP."""
    rows = {}
    for each in found:
        (rate,) = each.runs.loc[each.runs["label"] == "DIP", "lr"].unique()
        scores = {
            (label, column): f"{each.scores[label][key].value:.1f}"
            for label in LABELS
            for key, column in COLUMNS.items()
        }
        about = {("", "seeds"): str(each.seeds), ("", "rate"): f"{rate:g}"}
        rows[each.world, each.tower] = about | scores
    return pd.DataFrame(rows).T


def said(found: Sequence[Pretraining]) -> str:
    """For each claim and world: how many further pre-trainings have its sign, and lie inside."""
    if not found:
        return "No pre-training of what this page shows is stored."
    lines = []
    for claim, words in CLAIMS.items():
        worlds = dict.fromkeys(each.world for each in found if each.judges)
        parts = [part for world in worlds if (part := _said(found, claim, world))]
        lines += [f"- *{words}*: {'; '.join(parts)}."] if parts else []
    return "\n".join([*lines, *(f"- `{claim}` {why}." for claim, why in ELSEWHERE.items())])


def _said(found: Sequence[Pretraining], claim: str, world: str) -> str:
    here = [each for each in found if each.world == world and claim in each.claims]
    judged = next(each.claims[claim] for each in here if each.judges)
    further = {each.tower: each.claims[claim].value for each in here if not each.judges}
    if not further:
        return ""
    same = sum((value > 0) == (judged.value > 0) for value in further.values())
    inside = sum(judged.ends_hold(value) for value in further.values())
    values = ", ".join(f"{tower} {value:+.2f}" for tower, value in further.items())
    return (
        f"{world} {judged.value:+.2f} ({judged.ends('+.2f')}), further pre-trainings: {values}; "
        f"{same} of {len(further)} with its sign, {inside} inside its interval"
    )


def drawn(rows: Mapping[str, Mapping[str, Interval]]) -> pd.DataFrame:
    """What the figure draws, a row for each mark; a point has no ends."""
    marks = {
        (words, row): mark.columns for words, each in rows.items() for row, mark in each.items()
    }
    return pd.DataFrame(marks, index=["value", "low", "high"]).T


def every_run(found: Iterable[Pretraining]) -> pd.DataFrame:
    """The runs of all pre-trainings; without any, a frame without rows."""
    return pd.concat([frame([]), *(each.runs for each in found)])


def numbers(found: Iterable[Pretraining], world: str) -> dict[str, float]:
    """Each claim's statistic and zero-shot accuracy in a world's further ones, for prose."""
    values: dict[str, float] = {}
    for each in found:
        if each.world == world and not each.judges:
            zero = each.scores["zero-shot"]
            values |= {f"{each.tower}_zero_shot_{half}": zero[half].value for half in COLUMNS}
            values |= {f"{each.tower}_{name}": mark.value for name, mark in each.claims.items()}
    return values
