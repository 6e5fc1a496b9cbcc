"""Page 10, its second part: methods that encode every image in each step.

Such a method reads every image through prompts in its encoder, so that it is measured on a few
datasets, beside CoOp and DIP on the same encoder. A world may have none.
"""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from dip_book import worlds
from dip_book.claims import FEWEST
from dip_book.frame import where
from dip_book.pages.hosts import Pair, methods, pair
from dip_book.tables import differences

LATEST = "PromptSRC"
"""The method that DIP on CoOp is also compared with."""


def tower_of(runs: pd.DataFrame, method: str) -> str:
    """The image encoder that a method prompts here."""
    return str(where(runs, label=method)["backbone"].iloc[0])


def on_tower_of(runs: pd.DataFrame, method: str, label: str) -> pd.DataFrame:
    """The runs of ``label`` on the encoder that ``method`` prompts."""
    return where(runs, backbone=tower_of(runs, method), label=label)


def pairs(runs: pd.DataFrame) -> dict[str, Pair]:
    """The pairs of the methods on the image side."""
    return {method: pair(runs, method) for method in methods(runs, "image")}


def to_latest(runs: pd.DataFrame) -> dict[str, Pair]:
    """DIP, and PromptSRC without it, on PromptSRC's encoder; {} where PromptSRC is not measured."""
    if LATEST not in methods(runs, "image"):
        return {}
    return {"dip_minus_promptsrc": (on_tower_of(runs, LATEST, "DIP"), where(runs, label=LATEST))}


def finding(found: Mapping[str, pd.DataFrame]) -> str:
    """What was found in each world; that there is nothing where it has no such method."""
    said = {
        world: _found(runs) if len(runs) else f"No such method is measured in {world}."
        for world, runs in found.items()
    }
    return worlds.paragraphs(said)


def _found(runs: pd.DataFrame) -> str:
    """What DIP does to PromptSRC, the latest method, and how far DIP on CoOp is from it."""
    distances = [differences(*both)["h"] for both in to_latest(runs).values()]
    if not distances:
        return f"{LATEST} is not measured here."
    (distance,), change = distances, differences(*pair(runs, LATEST))["h"]
    zero = on_tower_of(runs, LATEST, "zero-shot")
    dense, plain = (differences(each, zero)["base"].value for each in pair(runs, LATEST))
    return (
        f"With DIP, {LATEST}'s H changes by **{change.value:+.1f}** points (95 % interval "
        f"{change.ends('+.1f')}): on base classes it is {plain:+.1f} points from zero-shot without "
        f"DIP and {dense:+.1f} with it. DIP on CoOp, with the smallest prompt of all, minus "
        f"{LATEST} is **{distance.value:+.1f}** ({distance.ends('+.1f')}) in H."
        + _too_few(runs["dataset"].nunique())
    )


def _too_few(count: int) -> str:
    """That so many datasets decide nothing; "" where they are enough."""
    many = "dataset is" if count == 1 else "datasets are"
    return f" {count} {many} too few to judge by: this is shown." if count < FEWEST else ""


def groups(runs: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The groups of the table of averages, each by its backbone, in alphabetical order."""
    by_name = {}
    for method in methods(runs, "image"):
        for label in ("zero-shot", "CoOp", "DIP", method, f"{method} + DIP"):
            by_name[f"{tower_of(runs, method)}: {label}"] = on_tower_of(runs, method, label)
    return dict(sorted(by_name.items()))
