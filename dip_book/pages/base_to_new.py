"""Page 03: base and new accuracy of CoOp, DIP and the hand-written prompt, in each world.

Groups are frames of runs by label: "zero-shot", "CoOp", "DIP". Kinds are datasets by the kind of
style they are drawn in.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from dip_book.frame import finished
from dip_book.interval import Interval
from dip_book.shared_seeds import SeedEffect
from dip_book.significance import sign_flip, t_test
from dip_book.statistics import detectable_effect, paired
from dip_book.tables import averages, differences, final, finished_pairs, h_of
from dip_book.worlds import disagreement, paragraphs
from dip_study.profiles import Profile
from glyph_world.styles import DESTRUCTIVE, SYSTEMATIC

Groups = Mapping[str, pd.DataFrame]
Kinds = Mapping[str, Sequence[str]]
Rows = Mapping[str, Sequence[str] | None]
PAIRS = (("DIP", "CoOp"), ("CoOp", "zero-shot"), ("DIP", "zero-shot"))


def kinds_of(datasets: Iterable[str]) -> dict[str, list[str]]:
    """Kind of style -> those of the datasets that are drawn so; {} for datasets without styles."""
    present = set(datasets)
    kinds = {"systematic": SYSTEMATIC, "destructive": DESTRUCTIVE}
    by_kind = {kind: [n for n in names if n in present] for kind, names in kinds.items()}
    return {kind: names for kind, names in by_kind.items() if names}


@dataclass(frozen=True, eq=False)
class Compared:
    """What the page compares in one world.

    Attributes:
        shown: the runs of the first backbone: zero-shot, CoOp at every learning rate, DIP.
        frontier: CoOp's among them.
        probe: the linear probe's runs.
        groups: the three compared: zero-shot, CoOp at the profile's learning rate, DIP.
        kinds: datasets by kind of style; {} where datasets have no styles.
    """

    shown: pd.DataFrame
    frontier: pd.DataFrame
    probe: pd.DataFrame
    groups: Groups
    kinds: Kinds


def compared(runs: pd.DataFrame, profile: Profile) -> Compared:
    """What the page compares, of the runs of :func:`dip_study.study.base_to_new`."""
    first = runs[runs["backbone"] == profile.backbone]
    zero, frontier, dip, probe = (
        first[first["label"] == name] for name in ("zero-shot", "CoOp", "DIP", "linear probe")
    )
    coop = frontier[frontier["lr"] == profile.lr]  # one of the learning rates
    groups = {"zero-shot": zero, "CoOp": coop, "DIP": dip}
    shown = pd.concat([zero, frontier, dip])
    return Compared(shown, frontier, probe, groups, kinds_of(profile.datasets))


def finding(found: Mapping[str, Compared]) -> str:
    """The page's finding: whether the worlds disagree, then what was found in each."""
    h = {
        world: differences(each.groups["DIP"], each.groups["CoOp"])["h"]
        for world, each in found.items()
    }
    said = {world: _found(each) for world, each in found.items()}
    return disagreement(h, "DIP minus CoOp in H") + paragraphs(said, "Finding")


def _found(compared: Compared) -> str:
    """What CoOp moves, DIP minus CoOp, and whether a smaller step does it."""
    groups = compared.groups
    coop = differences(groups["CoOp"], groups["zero-shot"])
    gap = differences(groups["DIP"], groups["CoOp"])
    verdict = {1: "DIP is ahead", -1: "CoOp is ahead", 0: "the difference is not decided"}
    return (
        "Against the hand-written prompt, CoOp moves base accuracy by "
        f"**{coop['base'].value:+.1f}** and new accuracy by **{coop['new'].value:+.1f}** points. "
        f"DIP minus CoOp is **{gap['base'].value:+.1f}** on base, **{gap['new'].value:+.1f}** on "
        f"new, and in H **{gap['h'].value:+.2f}** points (95 % interval {gap['h'].ends('+.2f')}): "
        f"{verdict[gap['h'].sign]}{' on this mix of styles' if compared.kinds else ''}. "
        + _smaller_steps(groups["DIP"], compared.frontier)
    )


def _smaller_steps(dip: pd.DataFrame, frontier: pd.DataFrame) -> str:
    """Which learning rates of CoOp end no worse than DIP on both sides."""
    base, new = (averages(dip)[half].value for half in ("base", "new"))
    ends = {rate: averages(at_rate) for rate, at_rate in finished(frontier).groupby("lr")}
    better = [
        f"{rate:g} ({end['base'].value:.1f} and {end['new'].value:.1f})"
        for rate, end in ends.items()
        if end["base"].value >= base and end["new"].value >= new
    ]
    if not better:
        return "No CoOp of another learning rate ends above DIP on both sides."
    return (
        f"CoOp with a smaller step is no worse than DIP ({base:.1f} and {new:.1f}) on either side: "
        f"at learning rate {', '.join(better)}."
    )


def _rows(kinds: Kinds) -> Rows:
    """All datasets (None), then those of each kind."""
    return {"all": None, **kinds}


def averages_table(compared: Compared) -> pd.DataFrame:
    """Base, new and H of each group with intervals: over all datasets, and over each kind."""
    cells = {
        (row, name): {k: f"{v:.1f}" for k, v in averages(runs, datasets).items()}
        for row, datasets in _rows(compared.kinds).items()
        for name, runs in compared.groups.items()
    }
    return pd.DataFrame(cells).T.rename(columns={"h": "H"})


def differences_table(compared: Compared) -> pd.DataFrame:
    """Each pair of groups: differences with intervals; p-values and detectable effect on new."""
    groups = compared.groups

    def cells(ours: str, theirs: str, datasets: Sequence[str] | None) -> dict[str, str]:
        gaps = differences(groups[ours], groups[theirs], datasets)
        units = gaps["new"].units
        return {name: f"{gap:+.1f}" for name, gap in gaps.items()} | {
            "p (new)": f"{t_test(units):.3f}",
            "by signs": f"{sign_flip(units):.3f}",
            "detectable": f"{detectable_effect(units):.1f}",
        }

    table = {
        (row, f"{ours} − {theirs}"): cells(ours, theirs, datasets)
        for row, datasets in _rows(compared.kinds).items()
        for ours, theirs in PAIRS
    }
    return pd.DataFrame(table).T.rename(columns={"h": "H"})


def seeds_table(compared: Compared) -> pd.DataFrame:
    """What a seed does to all datasets alike, in DIP minus CoOp: base, new and H, a row each.

    Of H the average of the datasets'. There is no row without two datasets and two seeds, or where
    datasets have different numbers of seeds.
    """
    dip, coop = finished_pairs(compared.groups["DIP"], compared.groups["CoOp"])
    of = {half: (final(dip, half), final(coop, half)) for half in ("base", "new")}
    rows = {}
    for half, pair in (of | {"H": (h_of(dip), h_of(coop))}).items():
        gaps = paired(*pair)
        seeds = {len(gap) for gap in gaps.values()}
        if len(gaps) < 2 or len(seeds) > 1 or min(seeds) < 2:
            continue
        effect = SeedEffect.of(gaps)
        rows[half] = {
            "SD over seeds": f"{effect.deviation:.2f}",
            "if independent": f"{effect.expected:.2f}",
            "F": f"{effect.ratio:.1f}",
            "p": f"{effect.p:.3f}",
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def headings(found: Mapping[str, Compared]) -> dict[str, list[str]]:
    """Heading -> datasets below it: the kinds of style of a world that has them, else the world."""
    return {
        heading: list(datasets)
        for world, each in found.items()
        for heading, datasets in (each.kinds or {world: sorted(set(each.shown["dataset"]))}).items()
    }


def family_table(compared: Compared) -> pd.DataFrame:
    """Each dataset's base, new and H in each group, averaged over seeds, and the columns' means."""
    columns = {}
    for name, runs in compared.groups.items():
        for i, half in enumerate(("base", "new")):
            both = final(runs, "base", "new")
            columns[name, half] = {d: v[:, i].mean() for d, v in both.items()}
        columns[name, "H"] = {d: v.mean() for d, v in h_of(runs).items()}
    table = pd.DataFrame(columns)
    table.loc["average"] = table.mean()
    return table


def world_table(compared: Compared) -> pd.DataFrame:
    """Base accuracy without training, by CoOp, and by a linear probe: the head-room."""
    groups = compared.groups
    zero, coop, linear = (
        {d: v.mean() for d, v in final(runs, "base").items()}
        for runs in (groups["zero-shot"], groups["CoOp"], compared.probe)
    )
    kind = {d: name for name, datasets in compared.kinds.items() for d in datasets}
    table = {
        "kind": kind or dict.fromkeys(zero, ""),
        "zero-shot base": zero,
        "CoOp base": coop,
        "linear probe base": linear,
        "head-room": {d: value - zero[d] for d, value in linear.items()},
    }
    return pd.DataFrame(table)


def numbers(compared: Compared) -> dict[str, Interval]:
    """The page's numbers: averages of each group, and differences, over all and each kind."""
    zero, coop, dip = (compared.groups[name] for name in ("zero-shot", "CoOp", "DIP"))
    intervals = {f"dip_minus_coop_{k}": v for k, v in differences(dip, coop).items()}
    intervals |= {f"coop_minus_zero_{k}": v for k, v in differences(coop, zero).items()}
    for key, runs in (("zero_shot", zero), ("coop", coop), ("dip", dip)):
        intervals |= {f"{key}_{k}": v for k, v in averages(runs).items()}
    for kind, datasets in compared.kinds.items():
        part = differences(dip, coop, datasets)
        intervals |= {f"{kind}_dip_minus_coop_{k}": v for k, v in part.items()}
    return intervals
