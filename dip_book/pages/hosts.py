"""Page 10: every method, with and without DIP in place of its prompts.

A pair is the runs of a method with DIP, then those without; pairs and gaps are by method, and CoOp
with DIP is DIP itself. An image-side method reads every image through prompts in its encoder, so
that it is measured on a few datasets, beside CoOp and DIP on the same encoder.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from dip_book.correlations import correlation_table
from dip_book.frame import finished, where
from dip_book.statistics import (
    Interval,
    average_h_difference,
    hierarchical_bootstrap,
    paired_difference,
)
from dip_book.tables import Array, detectable, differences, final, finished_pairs
from dip_lib import harmonic_mean
from dip_lib.methods import METHODS, CoOp

Pair = tuple[pd.DataFrame, pd.DataFrame]
Pairs = Mapping[str, Pair]
Gaps = Mapping[str, Mapping[str, Interval]]
LATEST = "PromptSRC"
"""The method that DIP on CoOp is also compared with."""
DENSE_VARIANTS = {
    "DO": "DIP by direct optimisation (DO)",
    "PP": "DIP by positional penalty (PP)",
}
"""Label -> what the table of averages calls it; others stand as they are."""
NAMES = {"base": "base", "new": "new", "h": "H"}


def methods(runs: pd.DataFrame, side: str, dense: bool = False) -> list[str]:
    """Labels of the methods of a side that the runs hold plain and with DIP, but CoOp's.

    Args:
        dense: those instead that make prompts dense in another way, which DIP is not added to.
    """
    there = set(finished(runs)["label"])
    kinds = (kind for kind in METHODS.values() if kind.side == side and kind is not CoOp)
    labels = (kind.label for kind in kinds if kind.alternative_to_dip == dense)
    wanted = {label: {label} if dense else {label, f"{label} + DIP"} for label in labels}
    return [label for label, each in wanted.items() if each <= there]


def pair(runs: pd.DataFrame, method: str) -> Pair:
    """The runs of a method with DIP, and without."""
    return where(runs, label=f"{method} + DIP"), where(runs, label=method)


def text_pairs(runs: pd.DataFrame, epochs: int) -> dict[str, Pair]:
    """The pairs of CoOp, trained for ``epochs``, and of the other methods on the text side."""
    coop = where(runs, label="DIP"), where(runs, label="CoOp", epochs=epochs)
    return {"CoOp": coop} | {name: pair(runs, name) for name in methods(runs, "text")}


def others(pairs: Pairs) -> dict[str, Pair]:
    """The pairs of all methods but CoOp."""
    return {method: both for method, both in pairs.items() if method != CoOp.label}


def gaps(pairs: Pairs) -> dict[str, dict[str, Interval]]:
    """Each method with DIP minus without: base, new and H."""
    return {method: differences(*both) for method, both in pairs.items()}


def rows(by_method: Gaps) -> dict[str, Interval]:
    """Three rows for each method: base, new and H."""
    return {
        f"{method}: {name}": gap[key]
        for method, gap in by_method.items()
        for key, name in NAMES.items()
    }


def breaks(by_method: Gaps) -> list[str]:
    """The rows that begin a method, but for the first."""
    return [f"{method}: base" for method in [*by_method][1:]]


# ---- the text side ------------------------------------------------------------------------------


def finding(by_method: Gaps) -> str:
    """The page's finding: for which methods DIP clearly raises or lowers H."""

    def listed(sign: int) -> str:
        return ", ".join(m for m, gap in by_method.items() if gap["h"].sign == sign) or "none"

    return (
        f"**Finding.** Putting DIP on {len(by_method)} methods raises the harmonic mean H clearly "
        f"for **{listed(1)}**, lowers it clearly for **{listed(-1)}**, and is not decided for the "
        "others."
    )


def text_groups(runs: pd.DataFrame, pairs: Pairs, backbone: str) -> dict[str, pd.DataFrame]:
    """The groups of the table of averages, from the hand-written prompt to the methods' DIPs."""
    headline = where(runs, backbone=backbone)
    coop = where(headline, label="CoOp")
    short = int(coop["epochs"].min())
    groups = {name: where(headline, label=name) for name in ("zero-shot", "zero-shot, ensemble")}
    groups |= {
        f"CoOp, {short} epochs": where(coop, epochs=short),
        "CoOp": pairs["CoOp"][1],
        "DIP by low rank (LRA)": pairs["CoOp"][0],
    }
    for label in methods(headline, "text", dense=True):
        groups[DENSE_VARIANTS.get(label, label)] = where(headline, label=label)
    for method, (dense, plain) in others(pairs).items():
        groups |= {method: plain, f"{method} + DIP": dense}
    return groups


def h_by_family(runs: pd.DataFrame) -> dict[str, float]:
    """Dataset -> H of its base and new accuracy averaged over seeds."""
    both = final(runs, "base", "new")
    return {dataset: float(harmonic_mean(*values.mean(0))) for dataset, values in both.items()}


def family_changes(pairs: Pairs) -> pd.DataFrame:
    """H with DIP minus without: a row a dataset, a column a method."""
    h = {method: [h_by_family(runs) for runs in both] for method, both in pairs.items()}
    return pd.DataFrame(
        {
            method: {d: dense[d] - plain[d] for d in dense if d in plain}
            for method, (dense, plain) in h.items()
        }
    )


def family_table(groups: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """H of each group on each dataset: a row a group."""
    return pd.DataFrame({name: h_by_family(runs) for name, runs in groups.items()}).T


def density_table(pairs: Pairs) -> pd.DataFrame:
    """Median rho of new-class accuracy with ID_1, ID_2 and time, along DIP and plain methods."""
    coop = {"CoOp": pairs["CoOp"][1], "DIP": pairs["CoOp"][0]}
    along = coop | {method: plain for method, (_, plain) in others(pairs).items()}
    medians = {name: correlation_table(runs).median() for name, runs in along.items()}
    columns = {"id1": "ρ with ID₁", "id2": "ρ with ID₂", "epoch": "ρ with −epoch"}
    return pd.DataFrame(medians).T.rename(columns=columns)


# ---- the image side -----------------------------------------------------------------------------


def tower_of(runs: pd.DataFrame, method: str) -> str:
    """The image encoder that a method prompts here."""
    return str(where(runs, label=method)["backbone"].iloc[0])


def on_tower_of(runs: pd.DataFrame, method: str, label: str) -> pd.DataFrame:
    """The runs of ``label`` on the encoder that ``method`` prompts."""
    return where(runs, backbone=tower_of(runs, method), label=label)


def image_pairs(runs: pd.DataFrame) -> dict[str, Pair]:
    """The pairs of the methods on the image side."""
    return {method: pair(runs, method) for method in methods(runs, "image")}


def to_latest(runs: pd.DataFrame) -> dict[str, Pair]:
    """DIP, and PromptSRC without it, on PromptSRC's encoder; {} where PromptSRC is not measured."""
    if LATEST not in methods(runs, "image"):
        return {}
    return {"dip_minus_promptsrc": (on_tower_of(runs, LATEST, "DIP"), where(runs, label=LATEST))}


def image_finding(runs: pd.DataFrame) -> str:
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
    )


def image_groups(runs: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The groups of the table of averages, each by its backbone, in alphabetical order."""
    groups = {}
    for method in methods(runs, "image"):
        for label in ("zero-shot", "CoOp", "DIP", method, f"{method} + DIP"):
            groups[f"{tower_of(runs, method)}: {label}"] = on_tower_of(runs, method, label)
    return dict(sorted(groups.items()))


# ---- numbers ------------------------------------------------------------------------------------


def _keyed(by_method: Gaps) -> dict[str, Interval]:
    return {
        f"{method.lower()}_dip_minus_plain_{key}": value
        for method, gap in by_method.items()
        for key, value in gap.items()
    }


def mean_gain(pairs: Pairs) -> Interval:
    """H with DIP minus without, averaged over the methods other than CoOp."""

    def both(dense: pd.DataFrame, plain: pd.DataFrame) -> dict[str, Array]:
        """Dataset -> (S, 4) base and new with DIP, then without."""
        ours, theirs = (final(runs, "base", "new") for runs in (dense, plain))
        return {d: np.concatenate([ours[d], theirs[d]], 1) for d in ours}

    def over_methods(means: Array) -> Array:
        """(N, D, methods, 4) -> (N,)."""
        each = [average_h_difference(means[:, :, i]) for i in range(means.shape[2])]
        return np.asarray(np.mean(each, axis=0))

    sides = iter(finished_pairs(*(runs for pair in others(pairs).values() for runs in pair)))
    each = [both(dense, plain) for dense, plain in zip(sides, sides, strict=True)]
    together = {d: np.stack([gains[d] for gains in each], 1) for d in each[0]}  # (S, methods, 4)
    return hierarchical_bootstrap(together, over_methods)


def seed_spread(dip: pd.DataFrame, coop: pd.DataFrame) -> dict[str, Interval]:
    """How much more new-class accuracy varies over seeds with DIP; {} for a single seed."""
    new = [final(runs, "new") for runs in finished_pairs(dip, coop)]
    if any(len(values) == 1 for values in new[0].values()):
        return {}
    ours, theirs = ({d: [np.std(v, ddof=1)] for d, v in side.items()} for side in new)
    return {"seed_sd_dip_minus_coop": paired_difference(ours, theirs)}


def text_numbers(pairs: Pairs) -> dict[str, Interval]:
    """The page's numbers of the text side."""
    intervals = _keyed(gaps(pairs)) | {"hosts_dip_minus_plain_h": mean_gain(pairs)}
    return intervals | seed_spread(*pairs["CoOp"])


def image_numbers(image_side: pd.DataFrame) -> dict[str, Interval]:
    """The page's numbers of the image side, which rest on its few datasets."""
    intervals = _keyed(gaps(image_pairs(image_side)))
    for name, both in to_latest(image_side).items():
        intervals |= {f"{name}_{key}": value for key, value in differences(*both).items()}
    return intervals


def detectable_effects(pairs: Pairs, image_side: pd.DataFrame) -> dict[str, float]:
    """The smallest true differences in H that as many datasets would show."""
    compared = {f"{m.lower()}_dip_minus_plain": both for m, both in pairs.items()}
    compared |= {f"{m.lower()}_dip_minus_plain": b for m, b in image_pairs(image_side).items()}
    compared |= to_latest(image_side)
    return {f"{name}_h": detectable(*both) for name, both in compared.items()}
