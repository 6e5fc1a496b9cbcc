"""A world is one pre-training: each primary claim in further pre-trainings, beside its interval.

The interval of a claim is over the datasets of a world whose encoders were pre-trained once. What
another pre-training of the same world gives is no unit of it: it is shown as a point.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

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
from dip_study.profiles import load_profile

PROFILES = {
    "Glyph World": ("embedded-full", "embedded-vit", "embedded-b"),
    "Photo World": ("photos-full", "photos-4", "photos-b"),
}
"""World -> the profile that judges its claims, then those of further pre-trainings."""
CLAIMS = {
    "dip-new": "DIP minus CoOp on new classes, points",
    "dip-h": "DIP minus CoOp in H, points",
    "id-beyond-time": "lead of ID₁ over training time in |ρ|",
}
"""Primary claim -> its statistic, in a few words."""
ELSEWHERE = {"dip-h-fair": "each method choosing among six settings was measured in one alone"}
"""Primary claims that further pre-trainings have no number for, and why."""
COLUMNS = {"base": "base", "new": "new", "h": "H"}


@dataclass(frozen=True, eq=False)
class Pretraining:
    """What one pre-training of a world gives.

    Attributes:
        world: its name.
        tower: the backbone.
        judges: whether the claims of the world are judged in it.
        runs: of :func:`dip_study.study.base_to_new`.
        scores: label ("zero-shot", "CoOp", "DIP") -> base, new and H, averages over datasets.
        claims: primary claim -> its statistic.
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
    def datasets(self) -> int:
        return int(self.runs["dataset"].nunique())


def pretraining(runs: pd.DataFrame, profile_name: str, judges: bool) -> Pretraining:
    """What the runs of a profile's study give."""
    profile = load_profile(profile_name)
    found = compared(runs, profile)
    gap = differences(found.groups["DIP"], found.groups["CoOp"])
    lead = correlation_numbers(found.groups["CoOp"])["rho_id1_minus_rho_epoch"]
    shown = runs[runs["backbone"] == profile.backbone]
    return Pretraining(
        world=profile.world,
        tower=profile.backbone,
        judges=judges,
        runs=shown,
        scores={label: averages(group) for label, group in found.groups.items()},
        claims={"dip-new": gap["new"], "dip-h": gap["h"], "id-beyond-time": lead},
    )


def stored(page: Page) -> list[Pretraining]:
    """Every pre-training whose runs are stored, the judging one of each world first.

    Of the others the page says how to measure them; where the judging one is among them, the whole
    world is left out.
    """
    found, missing = list[Pretraining](), list[str]()
    for judging, *further in PROFILES.values():
        for name in (judging, *further):
            profile = load_profile(name)
            try:
                runs = page.stored(study.base_to_new(profile), profile)
            except NotMeasuredError:
                missing.append(name)
                if name == judging:
                    break
                continue
            found.append(pretraining(runs, name, judges=name == judging))
    if missing:
        commands = (f"`dip measure --profile {name} --study base_to_new`" for name in missing)
        page.say(f"Not measured here: {', '.join(commands)}.")
    return found


def points(found: Iterable[Pretraining]) -> dict[str, dict[str, Interval]]:
    """Claim's statistic -> row -> the interval of a judging pre-training, or a point."""
    rows = {
        claim: {
            f"{each.world}: {each.tower}" if each.judges else each.tower: (
                each.claims[claim] if each.judges else _point(each.claims[claim])
            )
            for each in found
        }
        for claim in CLAIMS
    }
    return {CLAIMS[claim]: each for claim, each in rows.items()}


def _point(interval: Interval) -> Interval:
    return Interval(interval.value, math.nan, math.nan)


def draw(rows: Mapping[str, Mapping[str, Interval]]) -> None:
    """A panel for each claim: intervals of the worlds, and points of further pre-trainings.

    Without rows nothing is drawn.
    """

    def breaks(panel: Mapping[str, Interval]) -> list[str]:
        return [name for name in panel if ": " in name][1:]

    def draw_one(panel: Mapping[str, Interval], figure: FigureBase | None = None) -> None:
        figures.intervals(panel, "", breaks(panel), figure)

    def height(panel: Mapping[str, Interval]) -> float:
        return float(0.33 * figures.row_heights(panel, breaks(panel))[-1] + 1.0)

    if any(rows.values()):
        in_each_world(rows, draw_one, height)


def table(found: Sequence[Pretraining]) -> pd.DataFrame:
    """Seeds, and average accuracy without tuning, of CoOp and of DIP, in each pre-training."""
    rows = {}
    for each in found:
        scores = {
            (label, column): f"{each.scores[label][key].value:.1f}"
            for label in ("zero-shot", "CoOp", "DIP")
            for key, column in COLUMNS.items()
        }
        rows[each.world, each.tower] = {("", "seeds"): str(each.seeds)} | scores
    return pd.DataFrame(rows).T


def claims_table(found: Sequence[Pretraining]) -> pd.DataFrame:
    """Each claim's statistic in each pre-training: with its interval where the claim is judged."""
    rows = {
        (each.world, each.tower): {
            CLAIMS[claim]: f"{value:+.2f}" if each.judges else f"{value.value:+.2f}"
            for claim, value in each.claims.items()
        }
        for each in found
    }
    return pd.DataFrame(rows).T


def said(found: Sequence[Pretraining]) -> str:
    """For each claim and world: how many further pre-trainings have the sign, and lie inside."""
    lines = []
    for claim, words in CLAIMS.items():
        parts = []
        for world in dict.fromkeys(each.world for each in found):
            (judged,) = (e.claims[claim] for e in found if e.world == world and e.judges)
            further = [e.claims[claim].value for e in found if e.world == world and not e.judges]
            if further:
                same = sum((value > 0) == (judged.value > 0) for value in further)
                inside = sum(judged.ends_hold(value) for value in further)
                parts.append(
                    f"{world} {judged.value:+.2f} ({judged.ends('+.2f')}); of {len(further)} "
                    f"further pre-trainings {same} have its sign and {inside} lie inside its "
                    f"interval ({', '.join(f'{value:+.2f}' for value in further)})"
                )
        lines.append(f"- *{words}*: {'. '.join(parts)}.")
    missing = [f"`{claim}`: {why}" for claim, why in ELSEWHERE.items()]
    return "\n".join([*lines, *(f"- {each}." for each in missing)])


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
