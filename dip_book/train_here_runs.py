"""The library's runs on what the page that learns is given: what it is tested against.

``python -m dip_book.train_here_runs`` draws two of them, ``book/_static/train/still.svg``, which
stands in the page where no scripts run.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from dip_book.train_here import SEED, TOWER, VIEWS, Given
from dip_lib import load_backbone
from dip_lib.clip.backbone import Backbone
from dip_lib.data.protocols import Split
from dip_lib.methods.coop import CoOp
from dip_lib.paths import root
from dip_lib.training.batch_data import EvaluationData, TrainingData
from dip_lib.training.evaluate import evaluate
from dip_lib.training.loop import train_epochs
from dip_lib.training.parts import Data, LowRank, Schedule, Tower
from dip_lib.training.run import Run
from dip_lib.training.runs import Runs

FAMILY = "boxes"
"""Of the still picture, and the one that the page begins with."""
Row = dict[str, Any]


def prepared(
    given: Given,
    clip: Backbone,
    low_rank: LowRank | None = None,
    schedule: Schedule | None = None,
    method: CoOp | None = None,
    seed: int = SEED,
) -> Runs:
    """A run on these features, of which only factors, dropout and order depend on ``seed``."""
    run = Run(
        data=Data(dataset=FAMILY, views=VIEWS),
        tower=Tower(backbone=TOWER),
        method=method or CoOp(),
        low_rank=low_rank,
        schedule=schedule or Schedule(),
        seed=seed,
    )
    names = given.names[: given.base]
    data = TrainingData(names, "", given.train[None], given.train_labels[None])
    return Runs.prepare([run], clip, data)


def evaluation(given: Given) -> EvaluationData:
    """The test images of both halves; there are no validation images."""
    inside = given.test_labels < given.base
    base = Split(given.names[: given.base], given.test[inside], given.test_labels[inside])
    labels = given.test_labels[~inside] - given.base
    new = Split(given.names[given.base :], given.test[~inside], labels)
    return EvaluationData(base, new, Split((), given.test[:0], labels[:0]))


def evaluated(runs: Runs, given: Given) -> Row:
    """Accuracies, densities and spectra of a run as it is."""
    prompt = runs.learned().prompts[0].detach()
    start = runs.method.start(runs.frozen, 0).prompts[0]
    (row,) = evaluate(
        runs.method, runs.learned(), start[None].to(prompt), runs.frozen, evaluation(given)
    )
    return row


def trained(runs: Runs, given: Given, every: int = 2) -> list[Row]:
    """Train a run; what it is at the start and after each ``every`` epochs."""
    rows = [{"epoch": 0} | evaluated(runs, given)]
    for epoch, _ in enumerate(train_epochs(runs), 1):
        if epoch % every == 0:
            rows.append({"epoch": epoch} | evaluated(runs, given))
    return rows


def still(target: Path, data: Path) -> None:
    """Draw CoOp beside DIP on one family: accuracies above, densities below."""
    import matplotlib as mpl
    import matplotlib.pyplot as plt

    clip, given = load_backbone(TOWER), Given.read(data / f"{FAMILY}.safetensors")
    columns = {"CoOp": None, "DIP, rank 1, dropout 0.5": LowRank()}
    lines = [
        {"base classes": ("base", "#0072b2", "-"), "new classes": ("new", "#b34700", "--")},
        {"of the prompt": ("id", "#0072b2", "-"), "as read": ("id_read", "#5b4b8a", "--")},
    ]
    style: dict[Any, Any] = {"font.size": 10, "svg.hashsalt": "train", "axes.spines.top": False}
    with mpl.rc_context(style | {"axes.spines.right": False, "font.family": "DejaVu Sans"}):
        figure, axes = plt.subplots(2, 2, figsize=(4.6, 3.9), sharex=True, sharey="row")
        for (title, low_rank), column in zip(columns.items(), axes.T, strict=True):
            rows = trained(prepared(given, clip, low_rank), given)
            for axis, shown in zip(column, lines, strict=True):
                for label, (name, colour, dashes) in shown.items():
                    each = [row[name] for row in rows]
                    values = [value[0] if isinstance(value, list) else value for value in each]
                    epochs = [row["epoch"] for row in rows]
                    axis.plot(epochs, values, dashes, color=colour, label=label)
            column[0].set_title(title, fontsize=10)
            column[1].set_xlabel("epoch")
        axes[0, 0].set_ylabel("accuracy, %")
        axes[1, 0].set(ylabel="ID$_1$", ylim=(0.2, 1))
        for axis in axes[:, 0]:
            axis.legend(frameon=False, handlelength=1.2, loc="best")
        figure.tight_layout(pad=0.4)
        figure.savefig(target, metadata={"Date": None}, transparent=True)
        plt.close(figure)


def main() -> None:
    """Draw the still picture into the checkout."""
    if not (checkout := root()):
        raise SystemExit("the picture is written into a checkout: run this in a clone")
    torch.set_num_threads(1)  # the same sums on every machine with this processor
    still(checkout / "book" / "_static" / "train" / "still.svg", checkout / "book" / "train_here")


if __name__ == "__main__":
    main()
