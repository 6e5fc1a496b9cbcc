"""A slider over stored numbers, as part of a notebook's output.

The numbers stand in the page as JSON. In the built book ``slider.js`` shows them, as bars or as
paths, beneath a native slider, which keys and screen readers can use; where no script runs, or in a
plain notebook, nothing is shown, and the still figure beside it says the same.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from html import escape

from IPython.display import HTML

from dip_book.slider_paths import Paths


@dataclass(frozen=True)
class Bars:
    """Bars at every position of the slider, under one title.

    Attributes:
        title: of the panel.
        groups: what each group of bars is.
        heights: position -> group -> heights in 0..1.
        said: what a line below says at every position.
        bar: what one bar is, for the legend.
        axis: what its height is, beside the axis.
    """

    title: str
    groups: Sequence[str]
    heights: Sequence[Sequence[Sequence[float]]]
    said: Sequence[str]
    bar: str = ""
    axis: str = ""

    @property
    def lengths(self) -> set[int]:
        """How many positions its parts are for; one number if they agree."""
        return {len(self.heights), len(self.said)}


def slider(
    label: str,
    positions: Sequence[str],
    panels: Sequence[Bars] | Sequence[Paths],
    play: bool = False,
) -> HTML:
    """The slider's numbers as an output: ``label`` names it, each position has a text.

    With ``play`` it begins at its last position and has a button that goes through all of them,
    but for readers whose system asks for less motion.

    Raises:
        ValueError: a panel that has not one entry for every position.
    """
    for panel in panels:
        if panel.lengths != {len(positions)}:
            lengths = " and ".join(map(str, sorted(panel.lengths)))
            raise ValueError(f"{panel.title}: {lengths} entries for {len(positions)} positions")
    shown = {
        "label": label,
        "positions": [*positions],
        "panels": [asdict(panel) for panel in panels],
        **({"play": True} if play else {}),
    }
    text = escape(json.dumps(shown, ensure_ascii=False, separators=(",", ":")))
    return HTML(f'<div class="slider" hidden data-slider="{text}"></div>')
