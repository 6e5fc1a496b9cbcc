"""Page 02: does new-class accuracy follow Information Density along training, and across runs.

In each world; a mapping gives the world, and what was found or measured there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import pandas as pd

from dip_book.correlations import (
    correlation_numbers,
    correlation_table,
    rank_trend,
    rho_across_runs,
    rho_per_run,
    rho_pooled,
)
from dip_book.frame import as_read
from dip_book.interval import Interval
from dip_book.tables import trajectories
from dip_book.worlds import disagreement, paragraphs

Numbers = dict[str, Interval]
"""As :func:`dip_book.correlations.correlation_numbers` gives them."""


@dataclass(frozen=True, eq=False)
class Followed:
    """Whether accuracy follows density along training, in one world.

    Attributes:
        coop, dip: each method's runs.
        numbers, dip_numbers: correlation numbers of them.
        single: rho along each single run of CoOp.
        table: rho of each dataset along CoOp's training, averaged over seeds.
        read: the same with as-read ID in the place of ID; None where the runs do not hold it.
    """

    coop: pd.DataFrame
    dip: pd.DataFrame
    numbers: Numbers
    dip_numbers: Numbers
    single: Interval
    table: pd.DataFrame
    read: Followed | None = None


def followed(runs: pd.DataFrame) -> Followed:
    """The correlations of one world's runs of CoOp and DIP, with ID and with as-read ID."""
    read = as_read(runs)
    return replace(_followed(runs), read=None if read is None else _followed(read))


def _followed(runs: pd.DataFrame) -> Followed:
    coop, dip = (runs[runs["label"] == name] for name in ("CoOp", "DIP"))
    numbers, dip_numbers = (correlation_numbers(each) for each in (coop, dip))
    single, table = rho_per_run(coop), correlation_table(coop)
    return Followed(coop, dip, numbers, dip_numbers, single, table)


def finding(found: Mapping[str, Followed]) -> str:
    """The page's finding: whether the worlds disagree, then rho along training in each."""
    rho, lead = (
        {world: each.numbers[key] for world, each in found.items()}
        for key in ("median_rho_id1", "rho_id1_minus_rho_epoch")
    )
    return (
        disagreement(rho, "the median ρ of new-class accuracy and ID₁, CoOp's training", "+.2f")
        + disagreement(lead, "the lead of ID₁ over training time in the size of ρ", "+.2f")
        + paragraphs({world: _found(each) for world, each in found.items()}, "Finding")
    )


def _found(found: Followed) -> str:
    """Rho along CoOp's and DIP's training in one world, beside mere time."""
    rho, time = found.numbers["median_rho_id1"], found.numbers["median_rho_epoch"]
    meaning = {
        1: "ID₁ follows accuracy more closely than training time does",
        -1: "training time follows accuracy more closely than ID₁ does",
        0: "ID₁ follows accuracy no more closely than training time does",
    }[found.numbers["rho_id1_minus_rho_epoch"].sign]
    return (
        "Along CoOp's training, Spearman's ρ between new-class accuracy and ID₁ has "
        f"the median **{rho.value:.2f}** over {len(found.table)} datasets (95 % interval "
        f"{rho.ends('.2f')}; the paper claims ≥ 0.9), on averages over seeds; along single runs "
        f"its mean is {found.single.value:.2f}. Minus the epoch, which does not depend on the "
        f"prompt, reaches **{time.value:.2f}**: {meaning}. Along DIP's training the median is "
        f"**{found.dip_numbers['median_rho_id1'].value:.2f}**.{_as_read(found.read)}"
    )


def _as_read(read: Followed | None) -> str:
    """The two medians with as-read ID; "" where there is none."""
    if read is None:
        return ""
    coop, dip = (each["median_rho_id1"] for each in (read.numbers, read.dip_numbers))
    return (
        " With ID₁ *as read* (of what the text encoder's first block reads, centred) the medians "
        f"are **{coop.value:.2f}** along CoOp's training (interval {coop.ends('.2f')}) and "
        f"**{dip.value:.2f}** along DIP's."
    )


def dots(found: Followed) -> pd.DataFrame:
    """The correlation of each dataset, with as-read ID_1 as ``id1_read`` where there is such."""
    if found.read is None:
        return found.table
    return found.table.assign(id1_read=found.read.table["id1"])


def dataset_table(found: Followed) -> pd.DataFrame:
    """The correlation of each dataset as the page shows it, and their median below."""
    names = {"id1": "ρ with ID₁", "id2": "ρ with ID₂", "epoch": "ρ with −epoch"}
    table = dots(found).rename(columns=names | {"id1_read": "ρ with as-read ID₁"})
    table.loc["median"] = table.median()
    return table.assign(
        **{"at least 0.9 (ID₁)": table["ρ with ID₁"].ge(0.9).map({True: "yes", False: "no"})}
    )


def ways(found: Followed) -> pd.DataFrame:
    """Rho of new-class accuracy with ID_1 along CoOp's training, taken in three ways."""
    table = _ways(found).rename(columns={"value": "ρ with ID₁"})
    if found.read is None:
        return table
    return table.assign(**{"ρ with as-read ID₁": _ways(found.read)["value"]})


def _ways(found: Followed) -> pd.DataFrame:
    rows = {
        "seeds averaged, median over datasets": found.numbers["median_rho_id1"],
        "each run alone, mean over datasets": found.single,
        "all datasets at once, each centred": rho_pooled(found.coop),
    }
    return pd.DataFrame({way: interval.columns for way, interval in rows.items()}).T


def starts_and_ends(found: Followed) -> pd.DataFrame:
    """Where each method's training starts and ends, averaged over datasets, and its two rhos."""
    rows = {
        "CoOp": _start_and_end(found.coop, found.numbers),
        "DIP": _start_and_end(found.dip, found.dip_numbers),
    }
    return pd.DataFrame(rows).T


def _start_and_end(runs: pd.DataFrame, numbers: Numbers) -> dict[str, float]:
    paths = trajectories(runs, ("id1", "new"))
    mean = sum(path.mean(0) for path in paths.values()) / len(paths)  # (T, 2)
    ends = {"ID₁ start": mean[0, 0], "ID₁ end": mean[-1, 0]}
    if (read := as_read(runs)) is not None:
        of_read = [path.mean(0)[[0, -1], 0] for path in trajectories(read, ("id1",)).values()]
        start, end = sum(of_read) / len(of_read)
        ends |= {"as-read ID₁ start": start, "as-read ID₁ end": end}
    return ends | {
        "new start, %": mean[0, 1],
        "new end, %": mean[-1, 1],
        "median ρ(new, ID₁)": numbers["median_rho_id1"].value,
        "median ρ(new, −epoch)": numbers["median_rho_epoch"].value,
    }


def across_runs(ends: Mapping[str, pd.DataFrame]) -> str:
    """What rho over the ends of trainings says: of CoOp at every learning rate and DIP."""
    return paragraphs({world: _across_runs(runs) for world, runs in ends.items()})


def _across_runs(runs: pd.DataFrame) -> str:
    coop = runs[runs["label"] == "CoOp"]
    every, alone = rho_across_runs(runs), rho_across_runs(coop)
    read = as_read(runs)
    rest = "" if read is None else f" With as-read ID₁, over all: {rho_across_runs(read):.2f}."
    return (
        "Spearman's ρ of final ID₁ and final new-class accuracy, over CoOp at "
        f"{coop['lr'].nunique()} learning rates and DIP: **{every.value:.2f}** (95 % interval "
        f"{every.ends('.2f')}); over CoOp alone **{alone.value:.2f}** ({alone.ends('.2f')}).{rest}"
    )


def rank_trends(found: Followed) -> dict[str, Interval]:
    """Label -> rho of new-class accuracy with minus the effective rank along training."""
    return {"CoOp": rank_trend(found.coop), "DIP": rank_trend(found.dip)}


def ranks(trends: Mapping[str, Mapping[str, Interval]]) -> str:
    """What rho of new-class accuracy with minus the effective rank says, of both methods."""
    return paragraphs(
        {
            world: "Spearman's ρ of new-class accuracy with minus the effective rank has the "
            f"median **{each['CoOp'].value:.2f}** along CoOp's training (95 % interval "
            f"{each['CoOp'].ends('.2f')}) and **{each['DIP'].value:.2f}** along DIP's "
            f"({each['DIP'].ends('.2f')})."
            for world, each in trends.items()
        }
    )


def numbers(
    found: Followed, trends: Mapping[str, Interval], ends: pd.DataFrame
) -> dict[str, Interval]:
    """The page's numbers in one world.

    Args:
        trends: of the effective rank, as :func:`rank_trends` gives them.
        ends: trainings at every learning rate, and DIP.
    """
    return (
        _read_numbers(found.read, as_read(ends))
        | found.numbers
        | {f"dip_{key}": value for key, value in found.dip_numbers.items()}
        | {
            "median_rho_rank": trends["CoOp"],
            "dip_median_rho_rank": trends["DIP"],
            "rho_across_runs": rho_across_runs(ends),
        }
    )


def _read_numbers(read: Followed | None, ends: pd.DataFrame | None) -> dict[str, Interval]:
    """The numbers with as-read ID, "read_" before them; {} where the runs do not hold it."""
    found: dict[str, Interval] = {}
    if read is not None:
        found |= {f"read_{key}": value for key, value in read.numbers.items()}
        found["read_dip_median_rho_id1"] = read.dip_numbers["median_rho_id1"]
    if ends is not None:
        found["read_rho_across_runs"] = rho_across_runs(ends)
    return found
