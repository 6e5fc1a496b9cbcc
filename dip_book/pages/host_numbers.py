"""The numbers of page 10 in one world, but for what its methods cost."""

from __future__ import annotations

import numpy as np
import pandas as pd

from dip_book.estimates import estimate
from dip_book.interval import Interval
from dip_book.pages import image_hosts
from dip_book.pages.hosts import RESCALED, Gaps, Pairs, gaps, others
from dip_book.statistics import average_h_difference, paired_difference
from dip_book.tables import Array, differences, final, finished_pairs


def _key(method: str) -> str:
    """Of "KgCoOp, weight rescaled": "kgcoop_rescaled_dip_minus_plain"."""
    return f"{method.replace(RESCALED, '_rescaled').lower()}_dip_minus_plain"


def _keyed(by_method: Gaps) -> dict[str, Interval]:
    return {
        f"{_key(method)}_{key}": value
        for method, gap in by_method.items()
        for key, value in gap.items()
    }


def mean_gain(pairs: Pairs) -> Interval:
    """H with DIP minus without, averaged over the methods other than CoOp, as published."""

    def joined(dense: pd.DataFrame, plain: pd.DataFrame) -> dict[str, Array]:
        """Dataset -> (S, 4) base and new with DIP, then without."""
        ours, theirs = (final(runs, "base", "new") for runs in (dense, plain))
        return {d: np.concatenate([ours[d], theirs[d]], 1) for d in ours}

    def over_methods(means: Array) -> Array:
        """(N, D, methods, 4) -> (N,)."""
        each = [average_h_difference(means[:, :, i]) for i in range(means.shape[2])]
        return np.asarray(np.mean(each, axis=0))

    published = [both for name, both in others(pairs).items() if not name.endswith(RESCALED)]
    sides = iter(finished_pairs(*(runs for both in published for runs in both)))
    each = [joined(dense, plain) for dense, plain in zip(sides, sides, strict=True)]
    together = {d: np.stack([gains[d] for gains in each], 1) for d in each[0]}  # (S, methods, 4)
    return estimate(together, over_methods)


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
    intervals = _keyed(gaps(image_hosts.pairs(image_side)))
    for name, both in image_hosts.to_latest(image_side).items():
        intervals |= {f"{name}_{key}": value for key, value in differences(*both).items()}
    return intervals
