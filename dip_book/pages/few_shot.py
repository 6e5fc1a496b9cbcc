"""Page 06: accuracy on all classes against the number of training images a class, in each world.

Gaps are DIP minus CoOp, "whole" where each is averaged over the numbers of images, its shots.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from dip_book.interval import Interval
from dip_book.plots import LABELS
from dip_book.statistics import paired_difference
from dip_book.tables import Array, average_of, final, finished_pairs, gap, sweep
from dip_book.worlds import disagreement, paragraphs
from dip_lib.data.dataset import dataset_title

ACCURACY = "accuracy on all classes, %"


@dataclass(frozen=True, eq=False)
class Compared:
    """What the page compares in one world.

    Attributes:
        coop, dip: each method's runs.
        lines: label -> accuracy with its band at each number of shots.
        gaps: number of shots -> DIP minus CoOp.
        whole: the same over all numbers of shots.
    """

    coop: pd.DataFrame
    dip: pd.DataFrame
    lines: Mapping[str, pd.DataFrame]
    gaps: Mapping[int, Interval]
    whole: Interval


def compared(runs: pd.DataFrame) -> Compared:
    """What the page compares, of the runs of :func:`dip_study.study.few_shot`."""
    coop, dip = (runs[runs["label"] == name] for name in ("CoOp", "DIP"))
    return Compared(coop, dip, curves(runs), gaps_at_each(dip, coop), gap_over_shots(dip, coop))


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


def finding(found: Mapping[str, Compared]) -> str:
    """The page's finding: whether the worlds disagree, then DIP minus CoOp in each."""
    whole = {world: each.whole for world, each in found.items()}
    said = {world: difference(each.whole, each.gaps) for world, each in found.items()}
    return disagreement(whole, "DIP minus CoOp over all shots") + paragraphs(said, "Finding")


def difference(whole: Interval, gaps: Mapping[int, Interval]) -> str:
    """DIP minus CoOp over all numbers of shots, and where it is clear."""
    clauses = filter(None, (_ahead(gaps, "DIP", 1), _ahead(gaps, "CoOp", -1)))
    return (
        f"Over {min(gaps)} to {max(gaps)} shots, DIP minus CoOp is "
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
    return lines | {"zero-shot": lines["CoOp"].assign(**zero.columns)}


def panels(found: Mapping[str, Compared]) -> dict[str, Mapping[str, pd.DataFrame]]:
    """The curves of every world: what its panel of the figure is called -> label -> curve."""
    if len(found) == 1:
        (only,) = found.values()
        return {ACCURACY: only.lines}
    return {f"{world}\naccuracy, %": each.lines for world, each in found.items()}


def dataset_curves(compared: Compared) -> dict[str, dict[str, pd.DataFrame]]:
    """Title of a dataset -> label -> accuracy, its range over seeds, at each number of shots."""
    runs = pd.concat([compared.coop, compared.dip])
    return {
        dataset_title(str(dataset)): {
            name: sweep(group, "shots", "base") for name, group in each.groupby("label")
        }
        for dataset, each in runs.groupby("dataset", sort=False)
    }


def mean_curves(compared: Compared) -> pd.DataFrame:
    """The curves over all datasets as one table."""
    return pd.concat(compared.lines, names=["label", "shots"])


def stacked(panels: Mapping[str, Mapping[str, pd.DataFrame]]) -> pd.DataFrame:
    """The curves of every dataset as one table."""
    tables = {name: pd.concat(lines) for name, lines in panels.items()}
    return pd.concat(tables, names=["dataset", "label", "shots"])


def shots_table(compared: Compared) -> pd.DataFrame:
    """A row for each number of shots: every curve, and DIP minus CoOp with its interval."""
    lines, columns = compared.lines, ("zero-shot", "linear probe", "CoOp", "DIP")
    table = {LABELS.get(n, n): lines[n]["value"].map("{:.1f}".format) for n in columns}
    table["DIP − CoOp"] = pd.Series({shots: f"{gap:+.1f}" for shots, gap in compared.gaps.items()})
    return pd.DataFrame(table).rename_axis("shots")


def numbers(compared: Compared) -> dict[str, Interval]:
    """The page's numbers in one world: DIP minus CoOp over all numbers of shots, and at each."""
    return {"dip_minus_coop": compared.whole} | {
        f"dip_minus_coop_{shots}_shots": gap for shots, gap in compared.gaps.items()
    }
