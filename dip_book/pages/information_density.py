"""Page 02: does new-class accuracy follow Information Density along training, and across runs."""

from __future__ import annotations

import pandas as pd

from dip_book.correlations import rho_across_runs, rho_per_run, rho_pooled
from dip_book.statistics import Interval, detectable_effect
from dip_book.tables import trajectories

Numbers = dict[str, Interval]
"""As :func:`dip_book.correlations.correlation_numbers` gives them."""


def finding(coop: Numbers, dip: Numbers, single: Interval, families: int) -> str:
    """The page's finding: rho along CoOp's and DIP's training, beside mere time.

    Args:
        coop, dip: correlation numbers of each method's runs.
        single: rho along each single run of CoOp.
        families: how many datasets they rest on.
    """
    rho, time = coop["median_rho_id1"], coop["median_rho_epoch"]
    meaning = {
        1: "ID₁ follows accuracy more closely than training time does",
        -1: "training time follows accuracy more closely than ID₁ does",
        0: "ID₁ follows accuracy no more closely than training time does",
    }[coop["rho_id1_minus_rho_epoch"].sign]
    return (
        "**Finding.** Along CoOp's training, Spearman's ρ between new-class accuracy and ID₁ has "
        f"the median **{rho.value:.2f}** over {families} families (95 % interval "
        f"{rho.ends('.2f')}; the paper claims ≥ 0.9), on averages over seeds; along single runs "
        f"its mean is {single.value:.2f}. Minus the epoch, which does not depend on the prompt, "
        f"reaches **{time.value:.2f}**: {meaning}. Along DIP's training the median is "
        f"**{dip['median_rho_id1'].value:.2f}**."
    )


def family_table(correlations: pd.DataFrame) -> pd.DataFrame:
    """The correlation of each dataset as the page shows it, and their median below."""
    names = {"id1": "ρ with ID₁", "id2": "ρ with ID₂", "epoch": "ρ with −epoch"}
    table = correlations.rename(columns=names)
    table.loc["median"] = table.median()
    return table.assign(
        **{"at least 0.9 (ID₁)": table["ρ with ID₁"].ge(0.9).map({True: "yes", False: "no"})}
    )


def ways(coop: pd.DataFrame, averaged: Interval) -> pd.DataFrame:
    """Rho of new-class accuracy with ID_1 along CoOp's training, taken in three ways.

    ``averaged`` is the first of them, the median over datasets of seed averages.
    """
    rows = {
        "seeds averaged, median over families": averaged,
        "each run alone, mean over families": rho_per_run(coop),
        "all families at once, each centred": rho_pooled(coop),
    }
    table = pd.DataFrame({way: vars(interval) for way, interval in rows.items()}).T
    return table.rename(columns={"value": "ρ with ID₁"})


def start_and_end(runs: pd.DataFrame, numbers: Numbers) -> dict[str, float]:
    """Where one method's training starts and ends, averaged over datasets, and its two rhos."""
    paths = trajectories(runs, ("id1", "new"))
    mean = sum(path.mean(0) for path in paths.values()) / len(paths)  # (T, 2)
    return {
        "ID₁ start": mean[0, 0],
        "ID₁ end": mean[-1, 0],
        "new start, %": mean[0, 1],
        "new end, %": mean[-1, 1],
        "median ρ(new, ID₁)": numbers["median_rho_id1"].value,
        "median ρ(new, −epoch)": numbers["median_rho_epoch"].value,
    }


def across_runs(runs: pd.DataFrame) -> str:
    """What rho over the ends of trainings says: of CoOp at every learning rate and DIP."""
    coop = runs[runs["label"] == "CoOp"]
    every, alone = rho_across_runs(runs), rho_across_runs(coop)
    return (
        "Spearman's ρ of final ID₁ and final new-class accuracy, over CoOp at "
        f"{coop['lr'].nunique()} learning rates and DIP: **{every.value:.2f}** (95 % interval "
        f"{every.ends('.2f')}); over CoOp alone **{alone.value:.2f}** ({alone.ends('.2f')})."
    )


def ranks(coop: Interval, dip: Interval) -> str:
    """What rho of new-class accuracy with minus the effective rank says, of both methods."""
    return (
        "Spearman's ρ of new-class accuracy with minus the effective rank has the median "
        f"**{coop.value:.2f}** along CoOp's training (95 % interval {coop.ends('.2f')}) and "
        f"**{dip.value:.2f}** along DIP's ({dip.ends('.2f')})."
    )


def numbers(
    coop: Numbers, dip: Numbers, trends: dict[str, Interval], ends: pd.DataFrame
) -> dict[str, Interval]:
    """The page's numbers.

    Args:
        coop, dip: correlation numbers of each method's runs.
        trends: "CoOp" and "DIP": rho of new-class accuracy with minus the effective rank.
        ends: trainings at every learning rate, and DIP.
    """
    return (
        coop
        | {f"dip_{key}": value for key, value in dip.items()}
        | {
            "median_rho_rank": trends["CoOp"],
            "dip_median_rho_rank": trends["DIP"],
            "rho_across_runs": rho_across_runs(ends),
        }
    )


def detectable(correlations: pd.DataFrame) -> dict[str, float]:
    """The smallest lead of ID_1 over the epoch that as many datasets would show."""
    beyond = correlations["id1"].abs() - correlations["epoch"].abs()
    return {"rho_id1_minus_rho_epoch": detectable_effect({n: [v] for n, v in beyond.items()})}
