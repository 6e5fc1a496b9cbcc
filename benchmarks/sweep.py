"""Many runs in one batch: what a step of one run costs when R runs are trained at once.

Runs differ in their seed (any of seed, method, rank, dropout and learning rate may differ) and go
through the trainer as users call it. The time of a step is the difference between two numbers of
epochs, which leaves out set-up and evaluation, over the steps between them; a *run-step* is that
over R. Fair: every R takes the same steps on the same clock, in turn in one process.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any

from bench import Step, clock, interleaved, parser, start, step_memory, write
from made_up import MadeUp
from steps import SMALL, random_weights, settings, vit_b_16

from dip_lib import load_backbone
from dip_lib.clip.backbone import Backbone
from dip_lib.clip.features import Features, load_features
from dip_lib.data import Dataset, load_dataset
from dip_lib.methods import CoOp
from dip_lib.training.parts import Data, LowRank, Schedule, Tower
from dip_lib.training.run import Run
from dip_lib.training.trainer import train


@dataclass(frozen=True)
class Case:
    """What is trained, and for how many runs and epochs.

    Attributes:
        runs: numbers of runs at once, ascending, 1 first.
        short, long: epochs of the two trainings whose difference is timed.
    """

    clip: Backbone
    dataset: Dataset
    features: Features
    runs: tuple[int, ...]
    short: int
    long: int
    shots: int
    batch: int

    @property
    def steps(self) -> int:
        """Steps between the two."""
        images = self.shots * (len(self.dataset.class_names) + 1) // 2
        return (images // self.batch) * (self.long - self.short)

    def training(self, runs: int, epochs: int) -> Step:
        """``runs`` DIPs with seeds of their own, evaluated at the end alone."""
        dips = [
            Run(
                data=Data(
                    dataset=self.dataset.name, shots=self.shots, views=len(self.features.train)
                ),
                tower=Tower(backbone=self.clip.name),
                method=CoOp(),
                low_rank=LowRank(rank=1, dropout=0.5),
                schedule=Schedule(epochs=epochs, batch=self.batch, checkpoints=1),
                seed=seed,
            )
            for seed in range(1, runs + 1)
        ]
        return lambda: train(dips, self.clip, self.dataset, self.features)


def glyph_case(device: str, quick: bool) -> Case:
    """The ResNet backbone of Glyph World on the family greek, real features, batches of 128."""
    clip, dataset = load_backbone("glyph-resnet", device=device), load_dataset("greek")
    # on a GPU the first steps are recorded: both trainings must be past that
    short, long = (1, 3) if device == "cpu" else (4, 104)
    runs = (1, 2) if quick else (1, 4, 16, 64)
    return Case(clip, dataset, load_features(clip, dataset, 4), runs, short, long, 16, 128)


def made_up_case(clip: Backbone, device: str, quick: bool) -> Case:
    """Random features, a dataset of 50 classes."""
    (names,) = settings([4 if quick else 50], datasets=False).values()
    dataset = MadeUp(names, per_class=2)
    short, long = (1, 3) if device == "cpu" else (4, 104)
    runs = (1, 2) if quick else (1, 4, 16) if device == "cpu" else (1, 4, 16, 64)
    batch = len(dataset.class_names) // 2  # two steps an epoch
    return Case(clip, dataset, dataset.features(clip), runs, short, long, 2, batch)


def measure(case: Case, repeats: int, device: str) -> dict[str, Any]:
    """Seconds of a run-step by number of runs, relative to one run, and peak memory."""
    memory = {r: step_memory(case.training(r, case.short), device) for r in case.runs}
    trainings = {(r, e): case.training(r, e) for r in case.runs for e in (case.short, case.long)}
    turns = {f"{r} {e}": training for (r, e), training in trainings.items()}
    seconds = interleaved(turns, repeats, clock(device), warm_up=False)  # memory has warmed up
    by_runs: dict[str, Any] = {}
    for r in case.runs:
        pairs = zip(seconds[f"{r} {case.long}"], seconds[f"{r} {case.short}"], strict=True)
        each = [(long - short) / case.steps / r for long, short in pairs]
        by_runs[str(r)] = {"seconds_of_a_run_step": each, **memory[r]}
    alone = median(by_runs["1"]["seconds_of_a_run_step"])
    for row, r in zip(by_runs.values(), case.runs, strict=True):
        row["relative_to_one_run"] = median(row["seconds_of_a_run_step"]) / alone
        row["batch_relative_to_one_run"] = row["relative_to_one_run"] * r
    return {
        "classes": len(case.dataset.class_names),
        "trained_classes": (len(case.dataset.class_names) + 1) // 2,
        "steps": case.steps,
        "runs": by_runs,
    }


def main() -> None:
    options = parser(__doc__, "sweep")
    options.add_argument("--repeats", type=int, default=3)
    options.add_argument("--quick", action="store_true", help="1 and 2 runs, one repeat")
    chosen = start(options)
    if chosen.quick or chosen.smoke:
        chosen.repeats = 1
    device, quick = chosen.device, chosen.quick
    cases: dict[str, Callable[[], Case]] = {
        "glyph-resnet fp32": lambda: glyph_case(device, quick),
        "ViT-B-16 fp32": lambda: made_up_case(vit_b_16(device), device, quick),
    }
    if device != "cpu":
        cases["ViT-B-16 bf16"] = lambda: made_up_case(vit_b_16(device, "bf16"), device, quick)
    if chosen.smoke:
        small = random_weights(SMALL, device)
        cases = {f"{SMALL} fp32": lambda: made_up_case(small, device, quick=True)}
    result: dict[str, Any] = {"cases": {}}
    for name, make in cases.items():
        case = result["cases"][name] = measure(make(), chosen.repeats, device)
        for runs, row in case["runs"].items():
            print(
                f"{name:20}{runs:>3} runs"
                f"{1000 * median(row['seconds_of_a_run_step']):10.2f} ms a run-step"
                f"{row['relative_to_one_run']:7.2f} of one alone{row['step_mb']:8.0f} MB",
                flush=True,
            )
        write("sweep", result, chosen)  # as they come


if __name__ == "__main__":
    main()
