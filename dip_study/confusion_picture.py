"""A picture of what held-out pictures are taken for. It is the only part of ``dip`` that draws."""

from __future__ import annotations

from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from dip_lib.errors import one_of
from dip_lib.files import check_output
from dip_lib.training.confusion import HeldOut

NUMBERED = 25
"""Of more classes, cells and names would be too small to read."""


def check_picture(path: Path) -> None:
    """Raise ValueError for a format that cannot be drawn, OSError where no file can be written."""
    one_of("format of a picture", path.suffix[1:], FigureCanvasAgg.get_supported_filetypes())
    check_output(path)


def draw(held_out: HeldOut, path: Path) -> None:
    """Write the confusion matrix of the prompt: a row a class, shaded by its share of the row."""
    counts, names = held_out.confusion, held_out.class_names
    shares = counts / counts.sum(1, keepdim=True).clamp(min=1)
    side = min(24.0, 2.5 + 0.35 * len(names))
    figure = Figure(figsize=(side + 1, side), layout="constrained")
    axes = figure.add_subplot()
    shown = axes.imshow(shares.numpy(), cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(shown, label="share of the class's pictures")
    axes.set(xlabel="named", ylabel="is", title=f"{held_out.right} of {held_out.pictures} right")
    if len(names) <= NUMBERED:
        # names are shown as they are: "$" begins no formula
        plain = [name.replace("$", r"\$") for name in names]
        axes.set_xticks(range(len(names)), plain, rotation=90)
        axes.set_yticks(range(len(names)), plain)
        for row, column in counts.nonzero().tolist():
            dark = bool(shares[row, column] > 0.5)
            number, colour = f"{int(counts[row, column])}", "white" if dark else "black"
            axes.text(column, row, number, ha="center", va="center", color=colour)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
