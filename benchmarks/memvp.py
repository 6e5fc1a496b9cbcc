"""Images shown to a frozen language model, in its memory (MemVP) or before its text.

Glyph World's language model, pre-trained on texts alone, answers which character an image shows and
how many letters. Every way to show it trains on the same images with the same optimiser; memory and
prefix train as many numbers; "question alone" sees no image. Each takes the learning rate with the
best answers to validation images, with the first seed; test images are read by what was chosen
alone. Images are encoded once, before all: no time has that in it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import torch
from bench import Step, count_flops, interleaved, paired_ratio, parser, start, write
from torch import nn

from dip_lib.randomness import normal
from glyph_world.language.answering import accuracies, generated, longest_answer
from glyph_world.language.fitting import Fit, optimiser_of, take_step, train
from glyph_world.language.model import LanguageModel, load_language_model
from glyph_world.language.questions import QUESTIONS, Examples, Questions, visual_questions
from glyph_world.language.sights import SIGHTS, Nothing, Sizes, make_sight, trainable
from glyph_world.tasks import task_dataset

TITLES = {"natural-greek": "which character", "how-many": "how many"}
"""Task -> what is asked about its images."""
FLOOR = "question alone"
PATCHES, WIDTH = 36, 128
"""Of the image encoder."""


@dataclass(frozen=True)
class Settings:
    """What is measured; committed before a test image was read.

    Seen before, on validation images alone: five epochs of the memory at rates of 3e-3 and 1e-2,
    and of one with s = 1 and a factor of 1, which was then given up for one of 0.1.

    Attributes:
        rates: of which each way takes its best.
        train, val, test: images of each task.
        repeats: how often each time is taken.
        drawn: whether images are drawn and encoded; else their tokens are noise.
    """

    rates: tuple[float, ...] = (1e-3, 3e-3, 1e-2, 3e-2)
    seeds: tuple[int, ...] = (1, 2, 3)
    epochs: int = 15
    batch: int = 32
    train: int = 800
    val: int = 200
    test: int = 400
    repeats: int = 15
    drawn: bool = True

    def fit(self, rate: float) -> Fit:
        """How a way is trained at a learning rate."""
        return Fit(rate, self.epochs, batch=self.batch)


QUICK = Settings((1e-2,), (1,), 2, 32, 160, 40, 40, 3)
SMOKE = replace(QUICK, epochs=1, batch=2, train=4, val=2, test=2, repeats=1, drawn=False)


def questions(settings: Settings, split: str) -> list[Questions]:
    """The images of both tasks with their questions."""
    count = getattr(settings, split)
    if settings.drawn:
        return [visual_questions(task, split, count) for task in QUESTIONS]
    return [
        Questions(
            task,
            question,
            names := task_dataset(task).class_names,
            torch.arange(count) % len(names),
            normal(len(split), (count, PATCHES, WIDTH)),
        )
        for task, question in QUESTIONS.items()
    ]


def answered(
    model: LanguageModel, sight: nn.Module, parts: list[Questions]
) -> dict[str, dict[str, float]]:
    """Task -> accuracy, %, "exact" and "ranked"."""
    return {part.task: accuracies(model, sight, part) for part in parts}


def judged(
    model: LanguageModel, name: str, data: dict[str, list[Questions]], settings: Settings
) -> dict[str, Any]:
    """One way: its rate by validation images and the first seed, then its test accuracies."""
    examples = Examples.of(data["train"])

    def fitted(rate: float, seed: int) -> nn.Module:
        sight = make_sight(name, model, WIDTH, Sizes(), seed)
        train(model, sight, examples, settings.fit(rate), seed)
        return sight

    first, *others = settings.seeds
    tuned = {rate: fitted(rate, first) for rate in settings.rates}
    validation = {}
    for rate, sight in tuned.items():
        found = answered(model, sight, data["val"])
        validation[rate] = sum(each["ranked"] for each in found.values()) / len(found)
        print(f"{name:22} rate {rate:g}: validation {validation[rate]:.1f} %", flush=True)
    rate = max(validation, key=lambda each: validation[each])  # the lowest of equals
    sights = [tuned[rate], *(fitted(rate, seed) for seed in others)]
    tested = [answered(model, sight, data["test"]) for sight in sights]
    return {
        "trainable": trainable(sights[0]),
        "validation": {f"{each:g}": right for each, right in validation.items()},
        "rate": rate,
        "accuracy": {
            task: {how: [each[task][how] for each in tested] for how in ("exact", "ranked")}
            for task in QUESTIONS
        },
    }


def times(model: LanguageModel, part: Questions, settings: Settings) -> dict[str, dict[str, Any]]:
    """Time and operations of a training step and of the answers to a batch, all ways in turn."""
    batch = Examples.of([part]).at(torch.arange(settings.batch))
    longest = longest_answer(part.answers)
    steps, answers, before = dict[str, Step](), dict[str, Step](), dict[str, int]()
    for name in SIGHTS:
        sight = make_sight(name, model, WIDTH, Sizes(), 1)
        optimiser = optimiser_of(sight, settings.fit(1e-3))
        steps[name] = partial(take_step, model, sight, optimiser, batch)
        answers[name] = partial(generated, model, sight, part.question, batch.images, longest)
        rows = sight(batch.images).before
        before[name] = 0 if rows is None else rows.shape[1]
    found: dict[str, dict[str, Any]] = {name: {"rows_before": before[name]} for name in SIGHTS}
    for what, candidates in (("step", steps), ("answer", answers)):
        operations = {name: count_flops(candidate) for name, candidate in candidates.items()}
        seconds = interleaved(candidates, settings.repeats, settle=True)
        for name in SIGHTS:
            found[name] |= {
                f"flops_of_{what}": operations[name] / settings.batch,
                f"seconds_of_{what}": [each / settings.batch for each in seconds[name]],
                f"{what}_over_floor": paired_ratio(seconds[name], seconds[FLOOR]),
            }
    return found


def main() -> None:
    options = parser(__doc__, "memvp")
    options.add_argument("--quick", action="store_true", help="one seed and rate, few images")
    chosen = start(options)
    chosen.device = "cpu"  # where models this small are measured, whatever the page's device
    settings = SMOKE if chosen.smoke else QUICK if chosen.quick else Settings()
    model = load_language_model()
    data = {split: questions(settings, split) for split in ("train", "val", "test")}
    timed = times(model, data["train"][0], settings)
    ways = {name: judged(model, name, data, settings) | timed[name] for name in SIGHTS}
    untouched = answered(model, Nothing(), data["test"])
    tasks = {
        part.task: {
            "title": TITLES[part.task],
            "question": part.question,
            "answers": len(part.answers),
            "test": len(part.labels),
            "untouched": untouched[part.task],
        }
        for part in data["test"]
    }
    for name, way in ways.items():
        right = ", ".join(
            f"{TITLES[task]} {sum(each['ranked']) / len(each['ranked']):.1f} %"
            for task, each in way["accuracy"].items()
        )
        print(
            f"{name:22} {right}; {way['trainable']} numbers; time of a step "
            f"{way['step_over_floor']:.2f}, of an answer {way['answer_over_floor']:.2f}"
        )
    result = {"settings": asdict(settings) | {"sizes": asdict(Sizes())}, "tasks": tasks}
    write("memvp", result | {"ways": ways}, chosen)


if __name__ == "__main__":
    main()
