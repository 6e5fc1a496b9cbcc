"""Page 14: prompts inside the image encoder. Condensing them is in :mod:`.condensation`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from open_clip.transformer import VisionTransformer

from dip_book.estimates import estimate
from dip_book.frame import finished
from dip_book.interval import Interval
from dip_book.pages.visual_runs import ALL, Visual
from dip_book.statistics import exactly, paired, paired_difference
from dip_book.tables import Array, average_of, final, finished_pairs, gap, sweep
from dip_lib.clip.frozen_vision import frozen_vision_encoder

Curves = dict[str, pd.DataFrame]
Pair = tuple[pd.DataFrame, pd.DataFrame]
NONE = 0


def _points(difference: Interval) -> str:
    low, high = difference.low, difference.high
    return f"{difference.value:+.1f} points [{low:+.1f}, {high:+.1f}]"


def _accuracies(visual: Visual, counts: Sequence[int]) -> list[dict[str, Array]]:
    """Dataset -> (S,) accuracy of VPT-deep, at each number of prompts."""
    ends = finished_pairs(*(visual.ends(vectors=count) for count in counts))
    return [final(runs, "base") for runs in ends]


def finding(visual: Visual) -> str:
    """The page's finding: condensing, and what more prompts bring."""
    condensed = gap(visual.kept(visual.share), visual.kept(ALL))
    half, last = visual.prompts[-2:]
    none, middle, end = _accuracies(visual, (visual.prompts[0], half, last))
    first, second = paired_difference(middle, none), paired_difference(end, middle)
    return (
        f"**Finding.** Of {visual.most} prompts in each block, the most important {visual.share} % "
        f"alone, trained on, change accuracy by {_points(condensed)} against all of them. From "
        f"none to {half} prompts accuracy moves by {_points(first)}, from {half} to "
        f"{last} by {_points(second)}."
    )


# ---- how many prompts, and whose ----------------------------------------------------------------

LABELS = {"VPT": "VPT-deep", "other": "VPT-shallow"}


def by_count(visual: Visual) -> dict[str, Curves]:
    """Test accuracy against the number of prompts in each block: VPT-shallow is "other"."""
    lines = {"other": visual.ends(depth=1)}
    lines |= {label: visual.ends(label) for label in (*visual.relatives, "VPT")}
    curves = {name: sweep(runs, "vectors", "base") for name, runs in lines.items()}
    return {"test accuracy, %": curves}


def pair_groups(visual: Visual) -> list[dict[str, Pair]]:
    """What is compared within the same dataset and seed, in groups of rows."""
    few, most, none = visual.few, visual.most, visual.ends(vectors=NONE)
    beside = {label: {"label": label} for label in visual.relatives} | {"VPT-shallow": {"depth": 1}}
    groups = [
        {
            f"VPT, {n} prompts, minus none": (visual.ends(vectors=n), none)
            for n in visual.prompts[1:]
        }
    ]
    for name, settings in beside.items():
        groups.append(
            {
                f"{name} minus VPT, {n} prompts": (
                    visual.ends(vectors=n, **settings),
                    visual.ends(vectors=n),
                )
                for n in visual.compared
            }
        )
    many = visual.ends("CVPT", vectors=most)
    groups[-1][f"CVPT, {most} prompts, minus none"] = (many, none)
    dense = visual.ends("VPT + DIP", vectors=most), visual.ends(vectors=most)
    groups.append({f"VPT with DIP (rank 1) minus without, {most} prompts": dense})
    equal = f"equal cost: CVPT with {most} minus VPT with {few}"
    groups.append({equal: (many, visual.ends(vectors=few))})
    return groups


def pairs_of(groups: Sequence[Mapping[str, Pair]]) -> dict[str, Pair]:
    """All pairs, whichever group they are in."""
    return {name: pair for group in groups for name, pair in group.items()}


def breaks(groups: Sequence[Mapping[str, Pair]]) -> list[str]:
    """The rows that begin a group, but for the first."""
    return [next(iter(group)) for group in groups[1:]]


def beside_the_pairs(visual: Visual) -> str:
    """What the most prompts take of attention, and that the two of equal cost are so."""
    spt, vpt = (
        np.mean([*finished(visual.ends(label, vectors=visual.most))["mass"]])
        for label in ("SPT", "VPT")
    )
    many, few = visual.ends("CVPT", vectors=visual.most), visual.ends(vectors=visual.few)
    cvpt_flops, vpt_flops = (runs["flops"].mean() / 1e6 for runs in (many, few))
    return (
        f"*With {visual.most} prompts, SPT's take {spt:.0%} of the image tokens' attention, VPT's "
        f"{vpt:.0%}. Equal cost: {cvpt_flops:.0f} and {vpt_flops:.0f} million operations an image.*"
    )


# ---- the learning rate, the schedule -----------------------------------------------------------


def rate_table(visual: Visual) -> pd.DataFrame:
    """Learning rate -> validation accuracy of VPT with few prompts, of the first seed."""
    by_rate = {
        rate: visual.ends(vectors=visual.few, lr=rate, seed=visual.seed) for rate in visual.rates
    }
    ended = {rate: runs for rate, runs in by_rate.items() if len(finished(runs))}
    rows = {rate: average_of(runs, "val").value for rate, runs in ended.items()}
    table = pd.DataFrame({"validation accuracy": rows})
    return table.rename_axis("learning rate")


def schedule_table(visual: Visual) -> pd.DataFrame:
    """Accuracy and training loss of VPT, of the first seed, on both schedules."""
    rows = {}
    for count in (visual.prompts[0], *visual.compared):
        for epochs in dict.fromkeys((visual.epochs, visual.longer)):
            runs = visual.ends(vectors=count, epochs=epochs, seed=visual.seed)
            rows[f"{count} prompts, {epochs} epochs"] = {
                "test accuracy": average_of(runs, "base").value,
                "training loss": average_of(runs, "loss").value,
            }
    return pd.DataFrame.from_dict(rows, orient="index")


def schedule_finding(visual: Visual) -> str:
    """What the most prompts bring on each schedule."""

    def moved(epochs: int) -> str:
        many, none = (
            visual.ends(vectors=count, epochs=epochs, seed=visual.seed)
            for count in (visual.most, visual.prompts[0])
        )
        return f"{_points(gap(many, none))} after {epochs}"

    return (
        f"With {visual.most} prompts instead of none: {moved(visual.epochs)} epochs, "
        f"{moved(visual.longer)}."
    )


# ---- numbers ------------------------------------------------------------------------------------


def measured(visual: Visual) -> dict[str, dict[str, Array]]:
    """The page's differences by number: dataset -> (S,)."""

    def above(label: str) -> dict[str, Array]:
        """A method minus VPT, averaged over the compared numbers of prompts."""
        both = [visual.ends(name, vectors=n) for name in (label, "VPT") for n in visual.compared]
        ends = [final(runs, "base") for runs in finished_pairs(*both)]
        half = len(visual.compared)
        gains = [paired(*pair) for pair in zip(ends[:half], ends[half:], strict=True)]
        return {dataset: np.mean([gain[dataset] for gain in gains], axis=0) for dataset in gains[0]}

    none, middle, end = _accuracies(visual, (visual.prompts[0], *visual.prompts[-2:]))
    condensed = finished_pairs(*(visual.kept(share) for share in (visual.share, ALL)))
    part, whole = (final(runs, "base") for runs in condensed)
    fixed = visual.kept(visual.share, tuned=False)
    return {
        "condensed_30_minus_all": paired(part, whole),
        "first_half_minus_second": {d: 2 * middle[d] - none[d] - end[d] for d in none},
        "most_minus_half": paired(end, middle),
        **{f"{label.lower()}_minus_vpt": above(label) for label in visual.relatives},
        "condensed_id1_minus_chance": paired(final(fixed, "id1"), final(fixed, "id_chance")),
    }


def numbers(visual: Visual) -> dict[str, Interval | int]:
    """The page's numbers, with the operations of ViT-B/16 under 200 prompts, which are counted."""
    intervals = {key: estimate(values) for key, values in measured(visual).items()}
    most = gap(visual.ends(vectors=visual.most), visual.ends(vectors=NONE))
    with torch.device("meta"):  # ViT-B/16's shapes, without numbers
        tower = frozen_vision_encoder(VisionTransformer(224, 16, 768, 12, 12, 4.0))
    gmacs = exactly(tower.flops([200] * len(tower.blocks)) / 2e9)
    counted = {"most": visual.most, "share": visual.share}
    return intervals | {"most_minus_none": most, "vit_b16_gmacs_200": gmacs} | counted
