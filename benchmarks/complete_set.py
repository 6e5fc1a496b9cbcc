"""One complete set from picture files to accuracies: CoOp and DIP, three seeds, by phase.

What a reader with a photo dataset and a GPU waits for: 4,000 made JPEGs of 100 classes to test, 50
classes of 16 shots to train, 200 epochs, ViT-B/16 with random weights (speed does not depend on
them). From nothing: no features on disk. ``--quick`` is a small set for a CPU; its times do not
extrapolate to the full set.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench import clock, parser, start, write
from encode import make_files
from end_to_end import Phases
from steps import IMAGENET, SMALL

from dip_lib import load_backbone
from dip_lib.clip.features import encode_split, load_features
from dip_lib.data.pictures import Pictures
from dip_lib.methods import CoOp
from dip_lib.training.batch_data import draws
from dip_lib.training.parts import Data, LowRank, Schedule, Tower
from dip_lib.training.run import Run
from dip_lib.training.trainer import train


@dataclass(frozen=True)
class Size:
    """How much there is of everything; the pictures of a class are the same in all splits."""

    classes: int = 100  # of which the first half is trained
    test: int = 40  # pictures a class
    pool: int = 32  # training pictures a class, of which ``shots`` are drawn
    shots: int = 16
    views: int = 16
    epochs: int = 200
    seeds: int = 3


QUICK = Size(classes=4, test=2, pool=2, shots=1, views=2, epochs=2, seeds=1)


def pictures(folder: Path, size: Size, names: tuple[str, ...]) -> Pictures:
    """A dataset of made JPEGs: as many files as test pictures, each in all three splits."""
    count = size.classes * size.test
    make_files(folder, count)
    per_class = {"train": size.pool, "val": min(8, size.pool), "test": size.test}
    files = {
        split: [
            (f"{c * size.test + i % size.test}.jpg", c)
            for c in range(size.classes)
            for i in range(n)
        ]
        for split, n in per_class.items()
    }
    return Pictures("jpegs", names, folder, files)


def runs(size: Size, backbone: str, precision: str) -> list[Run]:
    """CoOp and DIP as the profile ``paper`` has them, with every seed."""
    coop = Run(
        data=Data(dataset="jpegs", shots=size.shots, views=size.views),
        tower=Tower(backbone=backbone, precision=precision),
        method=CoOp(),
        schedule=Schedule(epochs=size.epochs, batch=32, lr=0.002),
    )
    return [
        replace(coop, seed=seed, low_rank=low_rank)
        for seed in range(1, size.seeds + 1)
        for low_rank in (None, LowRank(rank=1, dropout=0.5))
    ]


def complete_set(runs: list[Run], dataset: Pictures, device: str) -> dict[str, Any]:
    """Seconds by phase of all that lies between files and accuracies; ``DIP_HOME`` is empty."""
    phases, first = Phases(clock(device)), runs[0]
    with phases("load backbone"):
        clip = load_backbone(first.tower.backbone, device=device, precision=first.tower.precision)
    with phases("decode and encode test pictures"):
        encode_split(clip, dataset, "test")
    with phases("decode and encode training views"):
        rows = draws(runs, dataset)
        views = first.data.views
        features = load_features(clip, dataset, views, rows)
    with phases("train and evaluate"):
        records = [result.record for result in train(runs, clip, dataset, features)]
    distinct = {run.seed: each for run, each in zip(runs, rows, strict=True)}.values()
    return {
        "tower": first.tower.backbone,
        "precision": first.tower.precision,
        "runs": len(runs),
        "epochs": records[0]["checkpoints"][-1]["epoch"],
        "classes": records[0]["classes"],
        "test_pictures": sum(records[0]["test_images"]),
        "training_views": sum(views * len(drawn) + len(val) for drawn, val in distinct),
        "evaluations": len(records[0]["checkpoints"]),
        "phases": phases.seconds,
        "seconds": sum(phases.seconds.values()),
    }


def main() -> None:
    asked = parser(__doc__, "complete_set")
    asked.add_argument("--quick", action="store_true", help="4 classes, 2 epochs, one seed")
    asked.add_argument("--precision", help="of the backbone; default bf16 on a GPU, fp32 on a CPU")
    chosen = start(asked)
    size = QUICK if chosen.quick or chosen.smoke else Size()
    tower = SMALL if chosen.smoke else "ViT-B-16"
    precision = chosen.precision or ("fp32" if chosen.device == "cpu" else "bf16")
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["DIP_HOME"] = str(Path(scratch) / "home")
        dataset = pictures(Path(scratch), size, tuple(IMAGENET[: size.classes]))
        result = complete_set(runs(size, tower, precision), dataset, chosen.device)
    write("complete_set", result, chosen)
    for phase, seconds in result["phases"].items():
        print(f"{phase:34}{seconds:8.1f} s")
    print(f"{'together':34}{result['seconds']:8.1f} s: {result['runs']} runs, {chosen.device}")


if __name__ == "__main__":
    main()
