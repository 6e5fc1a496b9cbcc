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
LONGEST = 40
"""Characters of a name that are shown."""


def check_picture(path: Path) -> None:
    """Raise ValueError for a format that cannot be drawn, OSError where no file can be written."""
    one_of("format of a picture", path.suffix[1:], FigureCanvasAgg.get_supported_filetypes())
    check_output(path)


def draw(held_out: HeldOut, path: Path) -> None:
    """Write the confusion matrix of the prompt: a row a class, shaded by its share of the row."""
    counts, names = held_out.confusion, held_out.class_names
    shares = counts / counts.sum(1, keepdim=True).clamp(min=1)
    # "$" would begin a formula
    plain = [f"{n[:LONGEST]}{'…' * (len(n) > LONGEST)}".replace("$", r"\$") for n in names]
    if len(names) > NUMBERED:
        plain = []
    cells = min(9.0, max(3.0, 0.35 * len(names)))
    beside = 0.8 + 0.085 * max(map(len, plain), default=0)  # inches that names take
    figure = Figure(figsize=(cells + beside + 1.2, cells + beside + 0.6), layout="constrained")
    axes = figure.add_subplot()
    shown = axes.imshow(shares.numpy(), cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(shown, label="share of the class's pictures")
    axes.set(xlabel="named", ylabel="is", title=f"{held_out.right} of {held_out.pictures} right")
    if plain:
        axes.set_xticks(range(len(names)), plain, rotation=90)
        axes.set_yticks(range(len(names)), plain)
        for row, column in counts.nonzero().tolist():
            dark = bool(shares[row, column] > 0.5)
            number, colour = f"{int(counts[row, column])}", "white" if dark else "black"
            axes.text(column, row, number, ha="center", va="center", color=colour)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
