"""Page 06: accuracy on all classes against the number of training images a class."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from dip_book.plots import LABELS
from dip_book.statistics import Interval, detectable_effect, paired, paired_difference
from dip_book.tables import Array, average_of, final, finished_pairs, gap, sweep


def over_shots(runs: pd.DataFrame) -> dict[str, Array]:
    """Dataset -> (S,) accuracy of each seed, averaged over the numbers of shots."""
    by_shots = [final(group, "base") for _, group in runs.groupby("shots")]
    return {name: np.mean([each[name] for each in by_shots], axis=0) for name in by_shots[0]}


def gap_over_shots(dip: pd.DataFrame, coop: pd.DataFrame) -> Interval:
    """DIP minus CoOp, each averaged over the numbers of shots."""
    dip, coop = finished_pairs(dip, coop)
    return paired_difference(over_shots(dip), over_shots(coop))


def gaps_at_each(dip: pd.DataFrame, coop: pd.DataFrame) -> dict[int, Interval]:
    """Number of shots -> DIP minus CoOp."""
    theirs = dict(iter(coop.groupby("shots")))
    return {shots: gap(ours, theirs[shots]) for shots, ours in dip.groupby("shots")}


def _ahead(gaps: Mapping[int, Interval], who: str, sign: int) -> str:
    """At which numbers of shots a method is clearly ahead; "" if at none."""
    counts = [str(shots) for shots, gap in gaps.items() if gap.sign == sign]
    shots = "shot" if counts == ["1"] else "shots"
    return f"{who} is clearly ahead at {', '.join(counts)} {shots}" if counts else ""


def finding(whole: Interval, gaps: Mapping[int, Interval]) -> str:
    """The page's finding: DIP minus CoOp over all numbers of shots, and where it is clear."""
    clauses = filter(None, (_ahead(gaps, "DIP", 1), _ahead(gaps, "CoOp", -1)))
    return (
        f"**Finding.** Over {min(gaps)} to {max(gaps)} shots, DIP minus CoOp is "
        f"**{whole.value:+.1f}** points of accuracy on all classes (95 % interval "
        f"{whole.ends('+.1f')}): "
        + ("; ".join(clauses) or "at no number of shots do the two differ clearly")
        + "."
    )


def curves(runs: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Label -> accuracy with its band at each number of shots; zero-shot is the same at all."""
    by_label = dict(iter(runs.groupby("label")))
    lines = {
        name: sweep(by_label[name], "shots", "base") for name in ("linear probe", "CoOp", "DIP")
    }
    zero = average_of(by_label["zero-shot"], "base")
    return lines | {"zero-shot": lines["CoOp"].assign(**vars(zero))}


def family_curves(runs: pd.DataFrame) -> dict[str, dict[str, pd.DataFrame]]:
    """Dataset -> label -> accuracy with its range over seeds at each number of shots."""
    return {
        str(dataset): {name: sweep(group, "shots", "base") for name, group in each.groupby("label")}
        for dataset, each in runs.groupby("dataset", sort=False)
    }


def stacked(panels: Mapping[str, Mapping[str, pd.DataFrame]]) -> pd.DataFrame:
    """The curves of every dataset as one table."""
    tables = {name: pd.concat(lines) for name, lines in panels.items()}
    return pd.concat(tables, names=["family", "label", "shots"])


def shots_table(lines: Mapping[str, pd.DataFrame], gaps: Mapping[int, Interval]) -> pd.DataFrame:
    """A row for each number of shots: every curve, and DIP minus CoOp with its interval."""
    columns = ("zero-shot", "linear probe", "CoOp", "DIP")
    table = {LABELS.get(n, n): lines[n]["value"].map("{:.1f}".format) for n in columns}
    table["DIP − CoOp"] = pd.Series({shots: f"{gap:+.1f}" for shots, gap in gaps.items()})
    return pd.DataFrame(table).rename_axis("shots")


def numbers(whole: Interval, gaps: Mapping[int, Interval]) -> dict[str, Interval]:
    """The page's numbers: DIP minus CoOp over all numbers of shots, and at each."""
    return {"dip_minus_coop": whole} | {
        f"dip_minus_coop_{shots}_shots": gap for shots, gap in gaps.items()
    }


def detectable(dip: pd.DataFrame, coop: pd.DataFrame) -> dict[str, float]:
    """The smallest true difference over all numbers of shots that as many datasets would show."""
    dip, coop = finished_pairs(dip, coop)
    spread = paired(over_shots(dip), over_shots(coop))
    return {"dip_minus_coop": detectable_effect(spread)}
