"""Few images from sixteen random vectors, as the field has it with RN50: what happens.

Groups are frames of last checkpoints by label, as :func:`dip_study.causes.few_shot` names them.
"""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from dip_book.estimates import estimate_known
from dip_book.frame import where
from dip_book.interval import Interval
from dip_book.tables import final, finished_pairs

Groups = Mapping[str, pd.DataFrame]


def of_label(groups: Groups, label: str, shots: int) -> pd.DataFrame:
    """A method's runs with so many images a class; zero-shot's draw none."""
    return groups[label] if label == "zero-shot" else where(groups[label], shots=shots)


def gap(groups: Groups, shots: int, theirs: str = "CoOp", ours: str = "DIP") -> Interval:
    """Accuracy on all classes, ours minus theirs, paired by dataset."""
    sides = [of_label(groups, label, shots) for label in (ours, theirs)]
    if theirs != "zero-shot":
        sides = finished_pairs(*sides)
    a, b = (final(side, "base") for side in sides)
    return estimate_known({d: a[d].mean(keepdims=True) - b[d].mean() for d in a})


def shots_of(groups: Groups) -> list[int]:
    """The numbers of images a class, ascending."""
    return sorted(map(int, groups["CoOp"]["shots"].unique()))


def table(groups: Groups) -> pd.DataFrame:
    """Average accuracy on all classes of each method by images a class, and DIP minus CoOp."""
    rows = {}
    for shots in shots_of(groups):
        row: dict[str, object] = {
            label: estimate_known(final(of_label(groups, label, shots), "base")).value
            for label in ("zero-shot", "CoOp", "DIP")
        }
        rows[shots] = row | {"DIP minus CoOp": f"{gap(groups, shots):+.1f}"}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("images a class")


def sentence(groups: Groups) -> str:
    """What random vectors do with the fewest and the most images."""
    few, many = (shots_of(groups)[i] for i in (0, -1))
    above = {shots: gap(groups, shots, "zero-shot", "CoOp") for shots in (few, many)}
    return (
        f"From sixteen random vectors CoOp is {above[few]:+.1f} points from zero-shot with {few} "
        f"image{'s' * (few > 1)} a class and {above[many]:+.1f} with {many}; DIP is "
        f"{gap(groups, few):+.1f} and {gap(groups, many):+.1f} from CoOp."
    )
