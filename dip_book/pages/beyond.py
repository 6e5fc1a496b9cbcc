"""Page 21: a method of n + d numbers beyond the paper, judged once against five others.

The runs are those of ``dip_study.beyond``; the choice is that of ``dip_book.pages.fair_grid``. A
place is a dataset, one random half of its classes, and the seed that goes with it. The datasets are
as they are: intervals are over halves and draws. Symbols: D datasets, K places of a dataset.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from dip_book.estimates import Statistic, over_seeds, p_over_seeds
from dip_book.interval import Interval
from dip_book.pages.fair_comparisons import difference, slug
from dip_book.pages.fair_grid import PRIMARY, Grid, chosen, measured
from dip_book.shared_seeds import SeedEffect
from dip_book.significance import holm
from dip_book.statistics import average_h_difference
from dip_book.tables import Array
from dip_book.worlds import paragraphs
from dip_lib.data import harmonic_mean
from dip_study.beyond import OURS, closed, judge_entries, seen_entries
from dip_study.profiles import Profile

PLACE = ["dataset", "class_split", "seed"]
HALVES = ["base", "new"]
AIM = 1.0
"""Points of H ahead of every other method: an aim that was set before."""


def state(profile: Profile) -> str:
    """Why nothing is judged yet in a world; "" once it may be."""
    if not profile.judge:
        return f"Nothing of {profile.world} judges this method."
    reason = closed(profile)
    return f"**Not judged here**: {reason}." if reason else ""


def waiting(profiles: Iterable[Profile]) -> dict[str, str]:
    """World -> why nothing of it is judged yet; without those that are judged."""
    return {each.world: said for each in profiles if (said := state(each))}


def judged(runs: Mapping[str, pd.DataFrame], profiles: Iterable[Profile]) -> dict[str, Grid]:
    """World -> what was measured of every setting at every place of its judge, where it is open."""
    known = [profile for profile in profiles if not state(profile)]
    return {p.world: measured(runs[p.world], judge_entries(p), PLACE) for p in known}


def seen(runs: Mapping[str, pd.DataFrame], profiles: Iterable[Profile]) -> dict[str, Grid]:
    """World -> the same on the datasets that had been seen before, with the field's halves."""
    known = {p.world: [*seen_entries(p)] for p in profiles if not state(p)}
    return {world: measured(runs[world], each, PLACE) for world, each in known.items() if each}


@dataclass(frozen=True)
class Lead:
    """How far this book's method is ahead of another in H of the average accuracies.

    Attributes:
        gap: with its 95 % interval over class splits and draws.
        base, new: the same of the two accuracies.
        places: how many pairs of runs it rests on.
        p: two-sided, that there is none; ``holm``: corrected for the other comparisons.
        seeds: what seeds, which the datasets share, do to all of these alike in H; None with too
            few of either.
    """

    gap: Interval
    base: Interval
    new: Interval
    places: int
    p: float
    holm: float = float("nan")
    seeds: SeedEffect | None = None


def _pairs(ours: pd.DataFrame, theirs: pd.DataFrame) -> list[Array]:
    """Of each dataset (K, 4): base and new of ours, then of theirs, where both have finished."""
    both = ours[HALVES].join(theirs[HALVES].add_suffix("_theirs"), how="inner")
    return [each.to_numpy(dtype=float) for _, each in both.groupby("dataset")]


def _of_seeds(ours: pd.DataFrame, theirs: pd.DataFrame) -> SeedEffect | None:
    """What seeds do alike to the differences in H, averaged over the halves that have the seed."""
    gap = (ours["h"] - theirs["h"]).dropna().groupby(["dataset", "seed"]).mean().unstack("seed")
    whole = gap.dropna(axis="columns")
    if min(whole.shape) < 2:
        return None
    return SeedEffect.of({str(name): row.to_numpy() for name, row in whole.iterrows()})


def _over_places(pairs: list[Array], statistic: Statistic) -> Interval:
    value = float(statistic(np.stack([each.mean(0) for each in pairs])[None])[0])
    low, high = over_seeds(pairs, statistic) or (float("nan"), float("nan"))
    return Interval(value, low, high, (low, high))


def leads(found: Grid) -> dict[str, Lead]:
    """Method -> this book's minus it, each at the setting that leaving classes out chooses."""
    choice = chosen(found.settings, PRIMARY, PLACE)
    others = [name for name in found.settings["method"].unique() if name != OURS]
    known = {name: _pairs(choice.loc[OURS], choice.loc[name]) for name in others}
    ps = {name: p_over_seeds(pairs, average_h_difference) for name, pairs in known.items()}
    adjusted = holm(ps)
    return {
        name: Lead(
            _over_places(pairs, average_h_difference),
            _over_places(pairs, lambda m: (m[..., 0] - m[..., 2]).mean(1)),
            _over_places(pairs, lambda m: (m[..., 1] - m[..., 3]).mean(1)),
            sum(map(len, pairs)),
            ps[name],
            adjusted[name],
            _of_seeds(choice.loc[OURS], choice.loc[name]),
        )
        for name, pairs in known.items()
    }


def weakest(found: Mapping[str, Lead]) -> Interval:
    """The smallest lead, with the smallest ends: above zero only where every lead is.

    A test that all of several differences are above zero needs no correction: it is passed only
    where each of their tests is (Berger, Technometrics 24, 1982).
    """
    gaps = [each.gap for each in found.values()]
    low, high = (min(getattr(gap, end) for gap in gaps) for end in ("low", "high"))
    return Interval(min(gap.value for gap in gaps), low, high, (low, high))


def is_ahead(found: Mapping[str, Lead]) -> bool:
    """Whether the method is ahead of every other one: all intervals lie above zero."""
    return weakest(found).sign > 0


# ---- what the page shows ------------------------------------------------------------------------


def lead_table(found: Mapping[str, Lead]) -> pd.DataFrame:
    """This book's method minus each other: H, base, new, p and p by Holm's method.

    "seeds alike" is F of :class:`SeedEffect`, and its p.
    """
    rows = {
        name: {
            "H": f"{each.gap:+.2f}",
            "base": f"{each.base:+.1f}",
            "new": f"{each.new:+.1f}",
            "p": f"{each.p:.2g}",
            "p, Holm": f"{each.holm:.2g}",
            "pairs": each.places,
            "seeds alike": f"{each.seeds.ratio:.1f} (p {each.seeds.p:.2f})" if each.seeds else "",
        }
        for name, each in found.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(f"{OURS} minus")


def choice_table(found: Grid) -> pd.DataFrame:
    """Methods: base, new and H of the averages over datasets, and seconds of one choice."""
    choice, spent = chosen(found.settings, PRIMARY, PLACE), found.seconds.groupby("method").mean()
    rows = {}
    for method in found.settings["method"].unique():
        of = choice.loc[method].groupby("dataset")[HALVES].mean().mean()
        rows[method] = {
            "base": f"{of['base']:.1f}",
            "new": f"{of['new']:.1f}",
            "H": f"{harmonic_mean(of['base'], of['new']):.1f}",
            "seconds": f"{spent.loc[method, 'folds'] + spent.loc[method, 'one']:.1f}",
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("method")


def shown(found: Mapping[str, Lead]) -> dict[str, dict[str, Interval]]:
    """What the figure shows: H, base and new, this book's method minus each other."""
    return {
        "H": {name: each.gap for name, each in found.items()},
        "base classes": {name: each.base for name, each in found.items()},
        "new classes": {name: each.new for name, each in found.items()},
    }


def intervals(found: Mapping[str, Mapping[str, Lead]]) -> dict[str, pd.DataFrame]:
    """World -> a row for each quantity and method of its figure: value and ends."""
    return {
        world: pd.DataFrame(
            {
                (what, name): gap.columns
                for what, row in shown(each).items()
                for name, gap in row.items()
            }
        ).T.rename_axis(["what", "method"])
        for world, each in found.items()
    }


def finding(found: Mapping[str, Mapping[str, Lead]], waiting: Mapping[str, str]) -> str:
    """The page's finding: of each world what was judged, or why it is not; then both together.

    Args:
        found: world -> its leads, where it has been judged.
        waiting: world -> why it has not been.
    """
    text = paragraphs({**{w: _found(each) for w, each in found.items()}, **waiting}, "Finding")
    if waiting or not found:
        return text
    if all(map(is_ahead, found.values())):
        return f"{text}\n\n**It holds in every world that judges it.**"
    return f"{text}\n\n**It does not hold**: a method would have to be ahead of all in every world."


def _found(each: Mapping[str, Lead]) -> str:
    ahead = [name for name, lead in each.items() if lead.gap.sign > 0]
    behind = [name for name, lead in each.items() if lead.gap.sign < 0]
    open_still = [name for name in each if name not in (*ahead, *behind)]
    least = weakest(each)
    aim = "reached" if least.value >= AIM and least.sign > 0 else "not reached"
    return (
        f"{OURS} is ahead in H of: {'; '.join(ahead) or 'none'}. Behind: "
        f"{'; '.join(behind) or 'none'}. Not decided: {'; '.join(open_still) or 'none'}. Its "
        f"smallest lead is **{least:+.2f}**; the aim of {AIM:+.1f} ahead of all is {aim}."
    )


def seen_table(found: Grid) -> pd.DataFrame:
    """This book's method minus each other on datasets that had been seen: H, base and new.

    Intervals are over datasets, of which each has one place.
    """
    choice = chosen(found.settings, PRIMARY, PLACE)
    others = [name for name in found.settings["method"].unique() if name != OURS]
    gaps = {name: difference(choice.loc[OURS], choice.loc[name]) for name in others}
    columns = {"h": "H", "base": "base", "new": "new"}
    rows = {
        name: {label: f"{gap[key]:+.1f}" for key, label in columns.items()}
        for name, gap in gaps.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(f"{OURS} minus")


def numbers(found: Mapping[str, Lead]) -> tuple[dict[str, Interval], dict[str, int]]:
    """The page's numbers, and on how many pairs of runs each rests."""
    values = {f"minus_{slug(name)}_h": each.gap for name, each in found.items()}
    counts = {f"minus_{slug(name)}_h": each.places for name, each in found.items()}
    least = {"smallest_lead_h": weakest(found)}
    return values | least, counts | {"smallest_lead_h": min(counts.values())}
