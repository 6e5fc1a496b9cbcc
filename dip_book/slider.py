"""A slider over stored numbers, as part of a notebook's output.

The numbers stand in the page as JSON. In the built book ``slider.js`` shows them as bars beneath a
native slider, which keys and screen readers can use; where no script runs, or in a plain notebook,
nothing is shown, and the still figure beside it says the same.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from html import escape

from IPython.display import HTML


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


def slider(label: str, positions: Sequence[str], panels: Sequence[Bars]) -> HTML:
    """The slider's numbers as an output: ``label`` names it, each position has a text.

    Raises:
        ValueError: a panel that has not one entry for every position.
    """
    for panel in panels:
        if not len(panel.heights) == len(panel.said) == len(positions):
            raise ValueError(
                f"{panel.title}: {len(panel.heights)} bars and {len(panel.said)} lines for "
                f"{len(positions)} positions"
            )
    shown = {"label": label, "positions": [*positions], "panels": [asdict(p) for p in panels]}
    text = escape(json.dumps(shown, ensure_ascii=False, separators=(",", ":")))
    return HTML(f'<div class="slider" hidden data-slider="{text}"></div>')
