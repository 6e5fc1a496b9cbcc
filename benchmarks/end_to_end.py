"""A whole base-to-new run, from nothing to its accuracy: our way against the peers' way.

CoOp and DIP on Glyph World's greek with the settings of the profile ``embedded``. Our way: encode
all images once, train both runs at once on their features, exact class embeddings, evaluate. The
peers' way, as a plain loop: one run at a time; every step encodes its batch of images through the
encoder and pushes all classes through open_clip's unmodified blocks at all positions; at test the
class embeddings are computed anew for every 100 images.

Fair: same weights, few-shot images, augmented views, order of samples, dropout masks, optimiser,
clock and thread, so that both ways must reach the same accuracies; the peers' way draws only the
images that it needs, ours all of the dataset's. The checkpoints along the way are evaluated with
the clock stopped (for our way the seconds of training are spread evenly over the epochs).

``--imagenet`` instead times our way at ImageNet's size: 1,000 classes, 16 shots, 50 epochs, batches
of 32, ViT-B/16 with random weights, random features. On a CPU that is days, so there some steps
are timed and multiplied.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, cast

import torch
from bench import clock, parser, start, write
from few import load_few
from imagenet import imagenet
from peers import accuracies, correct, draw, learn

from dip_lib import load_backbone
from dip_lib.clip.features import load_features
from dip_lib.data import Dataset, load_dataset
from dip_lib.methods import CoOp
from dip_lib.training.batch_data import draws, evaluation_data, training_data
from dip_lib.training.evaluate import SHRUNK, evaluate
from dip_lib.training.parts import Data, LowRank, Schedule, Tower
from dip_lib.training.run import Run
from dip_lib.training.runs import Runs
from dip_lib.training.trainer import checkpoint_epochs, train
from glyph_world.draw import masks

HALVES = ("base", "new")
POINT = ("epoch", *HALVES)
Curve = list[dict[str, float]]
Load = Callable[[str], Dataset]


@dataclass
class Phases:
    """Seconds by phase."""

    tick: Callable[[], float]
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        began = self.tick()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + self.tick() - began


@contextmanager
def from_nothing() -> Iterator[None]:
    """No features on disk, no glyph drawn yet."""
    masks.cache_clear()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["DIP_HOME"] = folder
        yield


def two_runs(dataset: str, epochs: int, **few: Any) -> list[Run]:
    """CoOp and DIP with seed 1; other settings than ``few`` are those of ``embedded``."""
    coop = Run(
        data=Data(dataset=dataset, **few),
        tower=Tower(backbone="glyph-resnet"),
        method=CoOp(),
        schedule=Schedule(epochs=epochs),
        seed=1,
    )
    return [coop, replace(coop, low_rank=LowRank(rank=1, dropout=0.5))]


def our_way(runs: list[Run], load: Load, device: str) -> dict[str, Any]:
    """Both runs at once, on features."""
    phases, first = Phases(clock(device)), runs[0]
    with phases("load backbone"):
        clip = load_backbone(first.tower.backbone, device=device)
    with phases("draw and encode images"):
        dataset = load(first.data.dataset)
        features = load_features(clip, dataset, first.data.views)
    with phases("train"):
        records = [result.record for result in train(runs, clip, dataset, features)]
    rows = draws(runs, dataset)
    batch = Runs.prepare(runs, clip, training_data(runs, dataset, features, rows))
    learned, data = batch.learned(), evaluation_data(runs, dataset, features, rows)
    with phases("evaluate"):
        evaluate(batch.method, learned, learned.prompts[0], batch.frozen, data)
    # the trainer has evaluated at every checkpoint, and CoOp's update made smaller in as many ways
    # as SHRUNK has and one more, which is not training
    points = len(records[0]["checkpoints"]) + len(SHRUNK) + 1
    phases.seconds["train"] -= points * phases.seconds["evaluate"]
    curves = {record["label"].lower(): curve(record, phases.seconds) for record in records}
    images = dict(zip(HALVES, records[0]["test_images"], strict=True))
    return {
        "phases": phases.seconds,
        "total": sum(phases.seconds.values()),
        "curves": curves,
        "right": {
            method: {half: round(points[-1][half] * images[half] / 100) for half in HALVES}
            for method, points in curves.items()
        },
        "test_images": images,
    }


def curve(record: dict[str, Any], phases: dict[str, float]) -> Curve:
    """Accuracy against seconds; every epoch takes as long as another."""
    before = phases["load backbone"] + phases["draw and encode images"]
    epoch = phases["train"] / record["checkpoints"][-1]["epoch"]
    return [
        {"seconds": before + epoch * point["epoch"]} | {key: point[key] for key in POINT}
        for point in record["checkpoints"]
    ]


def peers_way(run: Run, load: Load, device: str) -> dict[str, Any]:
    """One run, on pictures."""
    phases = Phases(clock(device))
    with phases("load backbone"):
        clip = load_backbone(run.tower.backbone, device=device)
    with phases("draw images"):
        drawn = draw(run, clip, load(run.data.dataset))
    # checkpoints are off the clock, so they may be quick: all test images encoded once
    tested = {
        name: torch.cat([clip.encode_image(clip.normalise(p)) for p in half.images.split(256)])
        for name, half in drawn.halves.items()
    }
    schedule = cast(Schedule, run.schedule)
    due = checkpoint_epochs(schedule.epochs, schedule.checkpoints)
    points: Curve = []
    training = learn(run, clip, drawn)
    for epoch in range(schedule.epochs + 1):
        with phases("train"):
            prompt = next(training)
        if epoch in due:
            evaluated = accuracies(clip, prompt, drawn, tested)
            points.append({"seconds": sum(phases.seconds.values()), "epoch": epoch, **evaluated})
    with phases("evaluate"):
        right = {name: correct(clip, prompt, half) for name, half in drawn.halves.items()}
    return {
        "phases": phases.seconds,
        "total": sum(phases.seconds.values()),
        "curve": points,
        "right": right,
    }


def compare(runs: list[Run], load: Load, device: str) -> dict[str, Any]:
    """Both ways from nothing, and how far their results lie apart."""
    with from_nothing():
        ours = our_way(runs, load, device)
    peers = {}
    for run in runs:
        with from_nothing():
            peers[run.label.lower()] = peers_way(run, load, device)
    together = sum(each["total"] for each in peers.values())
    trained = sum(each["phases"]["train"] for each in peers.values())
    return {
        "dataset": runs[0].data.dataset,
        "epochs": cast(Schedule, runs[0].schedule).epochs,
        "ours": ours,
        "peers": peers,
        "ratio_of_both_runs": together / ours["total"],
        "ratio_of_training": trained / ours["phases"]["train"],
        # with images encoded already, as for every further seed or method
        "seconds_of_another_run": {
            "ours": (ours["phases"]["train"] + ours["phases"]["evaluate"]) / len(runs),
            "peers": together / len(runs),
        },
        "images_apart": {
            method: {
                half: abs(ours["right"][method][half] - each["right"][half]) for half in HALVES
            }
            for method, each in peers.items()
        },
    }


def main() -> None:
    options = parser(__doc__, "end_to_end")
    options.add_argument("--dataset", default="greek", help="a family of Glyph World")
    options.add_argument("--epochs", type=int, default=40)
    options.add_argument("--quick", action="store_true", help="4 epochs")
    options.add_argument("--imagenet", action="store_true", help="1,000 classes, our way alone")
    chosen = start(options)
    if chosen.imagenet:
        result = imagenet(chosen.device)
        same = chosen.out == options.get_default("out")
        chosen.out = chosen.out.with_stem("end_to_end_imagenet") if same else chosen.out
        write("end_to_end_imagenet", result, chosen)
        about = "extrapolated" if result["extrapolated_from_steps"] else "measured"
        print(f"1,000 classes, {result['steps']} steps: {result['seconds']:.0f} s ({about})")
        return
    epochs = 1 if chosen.smoke else 4 if chosen.quick else chosen.epochs
    few, load = ({"shots": 2, "views": 1}, load_few) if chosen.smoke else ({}, load_dataset)
    result = compare(two_runs(chosen.dataset, epochs, **few), load, chosen.device)
    write("end_to_end", result, chosen)
    show(result)


def show(result: dict[str, Any]) -> None:
    """The table: seconds by phase, and what came out."""
    ways = {"ours, both runs": result["ours"], **result["peers"]}
    for way, run in ways.items():
        phases = ", ".join(f"{name} {seconds:.1f}" for name, seconds in run["phases"].items())
        print(f"{way:16}{run['total']:8.1f} s: {phases}")
    print(
        f"ratio of both runs {result['ratio_of_both_runs']:.1f}, of training alone "
        f"{result['ratio_of_training']:.1f}; test images apart {result['images_apart']}"
    )


if __name__ == "__main__":
    main()
