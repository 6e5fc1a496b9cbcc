"""Page 14, its second part: accuracy with the most important prompts alone."""

from __future__ import annotations

import numpy as np
import pandas as pd

from dip_book.frame import finished
from dip_book.pages.visual_runs import ALL, Visual
from dip_book.tables import average_of, gap, sweep

Curves = dict[str, pd.DataFrame]

RANKINGS = {"zero-shot": "within each block", "other": "ranked over all blocks"}
DENSITIES = {"zero-shot": "VPT, at random", "DIP": "VPT with DIP", "VPT": "VPT"}
"""Colour -> what the legend of a figure calls it."""


def shares(visual: Visual) -> list[int]:
    """Per cent of the prompts that are kept, ascending, up to all of them."""
    return [*sorted(visual.keep), ALL]


def panels(visual: Visual) -> dict[str, Curves]:
    """The gap in accuracy to all prompts against the share kept, trained on and as they are."""
    titles = {"trained on: against\nall, points": True, "as they are: against\nall, points": False}
    return {title: _gaps_to_all(visual, tuned) for title, tuned in titles.items()}


def _gaps_to_all(visual: Visual, tuned: bool) -> Curves:
    whole, lines = visual.kept(ALL, tuned=tuned), {}
    for colour, ranking in (("zero-shot", "layer"), ("other", "global")):
        gaps = {k: gap(visual.kept(k, ranking, tuned), whole).columns for k in shares(visual)}
        lines[colour] = pd.DataFrame.from_dict(gaps, orient="index")
    return lines


def table(visual: Visual) -> pd.DataFrame:
    """A row for each share kept: prompts by block, accuracy, operations and density."""

    def mean(runs: pd.DataFrame, column: str) -> float:
        return average_of(runs, column).value

    rows, full_flops = {}, mean(visual.kept(ALL), "flops")
    for share in reversed(shares(visual)):
        tuned, fixed = visual.kept(share), visual.kept(share, tuned=False)
        rows[f"{share} %"] = {
            "prompts by block": " ".join(
                f"{n:.0f}" for n in np.mean([*finished(tuned)["counts"]], axis=0)
            ),
            "accuracy": mean(tuned, "base"),
            "without tuning": mean(fixed, "base"),
            "operations": mean(tuned, "flops") / full_flops,
            "ID₁": mean(fixed, "id1"),
            "ID₁ tuned": mean(tuned, "id1"),
            "ID₁ by chance": mean(fixed, "id_chance" if share < ALL else "id1"),
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def as_condensed(visual: Visual, label: str) -> pd.DataFrame:
    """The runs of a label at every share without more training; ``keep`` is 100 for all prompts."""
    parts = [visual.kept(share, tuned=False, label=label) for share in shares(visual)]
    runs = pd.concat(parts)
    return runs.assign(keep=runs["keep"].replace(0, float(ALL)))


def densities(visual: Visual) -> Curves:
    """ID_1 of the prompts against the share kept: VPT, VPT with DIP, and VPT's at random."""
    plain, dense = (as_condensed(visual, label) for label in ("VPT", "VPT + DIP"))
    return {
        "zero-shot": sweep(plain[plain["keep"] < ALL], "keep", "id_chance"),
        "DIP": sweep(dense, "keep", "id1"),
        "VPT": sweep(plain, "keep", "id1"),
    }
