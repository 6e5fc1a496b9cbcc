"""What each method costs, plain and with DIP: seconds and memory of a step, bytes kept.

Glyph World's vision transformer on one family, one run at a time, the same batch for all methods,
through the trainer as users call it. A step is an epoch's time over its steps. Fair: all methods
take the same steps on the same images, in turn in one process; methods that prompt the image
encoder read the images themselves, the others features that were encoded before. Evaluation
(``seconds_of_judging`` in the results) is to embed all class names once with the learned prompts;
DIPs are merged before it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from bench import Step, clock, interleaved, paired_ratio, parser, start, step_memory, write
from few import load_few
from safetensors.torch import save

from dip_lib import load_backbone
from dip_lib.clip.backbone import Backbone
from dip_lib.clip.features import Features, load_features
from dip_lib.data import Dataset, load_dataset
from dip_lib.methods import METHODS, PromptMethod
from dip_lib.methods.control import Control
from dip_lib.methods.subspace import Subspace
from dip_lib.training.batch_data import draws, training_data
from dip_lib.training.loop import train_epochs
from dip_lib.training.run import Run
from dip_lib.training.runs import Runs
from dip_study.profiles import load_profile
from dip_study.runs import DIP, make_run

FAMILY, BATCH, SHOTS = "greek", 32, 4
HOSTS = tuple(
    name
    for name, kind in METHODS.items()
    if issubclass(kind, PromptMethod) and kind.side != "none" and kind not in (Control, Subspace)
)
"""Methods that learn prompts; a control is CoOp with one thing changed, and costs as much, and so
does a subspace."""


@dataclass(frozen=True)
class Case:
    """A method that is timed.

    Attributes:
        epoch: trains one epoch from the start.
        evaluate: builds the classifier of all class names.
        steps: of the epoch.
        trainable: trainable parameters, kept in a file of ``stored_bytes``.
    """

    epoch: Step
    evaluate: Step
    steps: int
    trainable: int
    stored_bytes: int


def case(run: Run, clip: Backbone, dataset: Dataset, features: Features) -> Case:
    """A run of one epoch, ready to be timed."""
    reads_pixels = clip if getattr(run.method, "encodes_images", False) else None
    data = training_data([run], dataset, features, draws([run], dataset), reads_pixels)
    batch = Runs.prepare([run], clip, data)
    kept = batch.learned().tensors(0)
    if run.rank:  # the factors stand for the prompts
        kept = {name: each for name, each in kept.items() if not name.startswith("prompt")}
        kept |= {
            f"{i}.{name}": tensor[0].detach().cpu().contiguous()
            for i, prompt in enumerate(batch.state.prompts)
            for name, tensor in zip("AB", prompt[1:], strict=True)
        }

    def evaluate() -> None:
        with torch.no_grad():
            classify = batch.method.classifier(batch.learned(), batch.frozen, dataset.class_names)
            classify(features.test[None, :1])

    def epoch() -> None:
        for _ in train_epochs(batch, graphs=False):
            pass

    count = data.labels.shape[1]
    return Case(epoch, evaluate, count // min(BATCH, count), batch.trainable[0], len(save(kept)))


def row_name(run: Run) -> str:
    """A run in the results: "coop", "dip", "kgcoop+dip"."""
    name, dense = run.method.name, run.method.low_rank_label
    return (dense.lower() or f"{name}+dip") if run.rank else name


def rows(hosts: Sequence[str] = HOSTS, shots: int = SHOTS) -> dict[str, Run]:
    """A run of every method, plain and with DIP where pages add it, under the name of its row."""
    profile = load_profile("embedded")
    same: dict[str, Any] = {"backbone": "glyph-vit", "epochs": 1, "views": 1}
    same |= {"batch": BATCH, "shots": shots}
    runs = []
    for host in hosts:
        ways = (None,) if METHODS[host].alternative_to_dip else (None, DIP)
        runs += [make_run(profile, FAMILY, host, 1, way, **same) for way in ways]
    return {row_name(run): run for run in runs}


def cases(dataset: Dataset, shots: int, device: str) -> dict[str, Callable[[], Case]]:
    """How each row is made ready."""
    clip = load_backbone("glyph-vit", device=device)
    features = load_features(clip, dataset, 1)
    runs = rows(shots=shots).items()
    return {name: partial(case, run, clip, dataset, features) for name, run in runs}


def main() -> None:
    options = parser(__doc__, "methods")
    options.add_argument("--repeats", type=int, default=9)
    options.add_argument("--quick", action="store_true", help="two repeats")
    chosen = start(options)
    repeats = 1 if chosen.smoke else 2 if chosen.quick else chosen.repeats
    shots, load = (1, load_few) if chosen.smoke else (SHOTS, load_dataset)
    made = cases(load(FAMILY), shots, chosen.device)
    timed = {name: make() for name, make in made.items()}
    memory = {name: step_memory(each.epoch, chosen.device) for name, each in timed.items()}
    ticks = clock(chosen.device)
    turns = partial(interleaved, repeats=repeats, clock=ticks, settle=not chosen.smoke)
    train = turns({name: each.epoch for name, each in timed.items()})
    evaluate = turns({name: each.evaluate for name, each in timed.items()})
    table = {
        name: {
            "trainable": each.trainable,
            "stored_bytes": each.stored_bytes,
            "seconds_of_a_step": [seconds / each.steps for seconds in train[name]],
            "seconds_of_judging": evaluate[name],
            "over_coop": paired_ratio(train[name], train["coop"]),
            **memory[name],
        }
        for name, each in timed.items()
    }
    for name, row in table.items():
        print(
            f"{name:16}{row['trainable']:>8,} parameters{row['stored_bytes']:>9,} bytes"
            f"{row['over_coop']:8.2f} of CoOp's step{row['step_mb']:8.1f} MB",
            flush=True,
        )
    about = {"family": FAMILY, "tower": "glyph-vit", "batch": BATCH, "shots": shots}
    write("methods", {**about, "methods": table}, chosen)


if __name__ == "__main__":
    main()
