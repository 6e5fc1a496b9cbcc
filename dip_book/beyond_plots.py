"""The figure of what was tried before a method was judged. In the style of ``dip_book.plots``."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd

from dip_book.plots import COLOURS, WIDTH


def tried(table: pd.DataFrame, numbers: int) -> None:
    """A row for each variant, in their order, with a dot for the H of each of its settings.

    Args:
        table: as :func:`dip_book.pages.development.variants` makes it.
        numbers: how many trainable parameters dots are filled for; the others' are open.
    """
    names = list(dict.fromkeys(table["variant"]))
    _, axes = plt.subplots(figsize=(WIDTH, 0.27 * len(names) + 0.9))
    for row, name in enumerate(names):
        of_variant = table[table["variant"] == name]
        face = COLOURS["other"] if (of_variant["numbers"] == numbers).all() else "white"
        axes.plot(
            of_variant["H"],
            [row] * len(of_variant),
            "o",
            color=COLOURS["other"],
            markerfacecolor=face,
            ms=5,
        )
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color="0.92")
    axes.set_xlabel("H, a dot a setting")
