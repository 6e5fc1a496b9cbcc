"""Page 17: its trainings and searches, on one dataset.

Rows of the frames are prompts with their as-read ID_1 and plain ID_1, accuracies in per cent, and
drifts: 1 - cosine of class embeddings centred over the names, from where the row's prompt began.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import pandas as pd
import torch
from torch import Tensor

from dip_lib.clip.arbitrary_words import arbitrary_words
from dip_lib.clip.backbone import Backbone
from dip_lib.clip.features import load_features
from dip_lib.methods.prompts import Learned, first_context
from dip_lib.prompt.density import centre, information_density, singular_values
from dip_lib.randomness import normal
from dip_lib.training.batch_data import (
    EvaluationData,
    TrainingData,
    draws,
    evaluation_data,
    training_data,
)
from dip_lib.training.evaluate import accuracies, evaluate
from dip_lib.training.loop import EpochEnd, train_epochs
from dip_lib.training.run import Run
from dip_lib.training.runs import Runs
from dip_lib.training.same_function import Search, read_density, same_function
from dip_lib.training.same_spectrum import train_with_spectrum
from dip_lib.training.text_drift import TextDrift, centred_drift
from dip_study.loaded import backbone_of, dataset_of
from dip_study.profiles import Profile
from dip_study.runs import make_run

DATASETS = 3
"""A world's first so many; a page's parameter chooses others."""
STEPS = 3
"""Steps of a training for each epoch of the profile: about as many as a base half's batches."""
SEARCH_STEPS = 3
"""Steps of a search for each epoch of the profile."""
WHOLE = 10**6
"""A batch that holds all images of a run, so that an epoch is one step."""
POINTS = 10
"""Evaluations along a training, after the one at its start."""
ADDED = (0.0, *(round(10 ** (i / 10 - 1), 3) for i in range(31)))
"""Sizes of the invisible direction on the slider, in the prompt's standard deviations."""


@dataclass(frozen=True, eq=False)
class Bench:
    """One dataset of a world: what trains prompts on it and evaluates them."""

    run: Run
    clip: Backbone
    data: TrainingData
    evaluation: EvaluationData

    @property
    def dataset(self) -> str:
        return self.run.data.dataset

    @property
    def names(self) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
        """Base classes, new classes, and words of neither."""
        base, new = self.evaluation.base.names, self.evaluation.new.names
        return base, new, arbitrary_words(self.clip, (*base, *new))

    def runs(self) -> Runs:
        """CoOp before its first step."""
        return Runs.prepare([self.run], self.clip, self.data)


def base_run(profile: Profile, dataset: str) -> Run:
    """CoOp of a profile on a dataset, all images in each step."""
    steps, seed = STEPS * profile.epochs, profile.seeds[0]
    return make_run(profile, dataset, "coop", seed, batch=WHOLE, epochs=steps, checkpoints=1)


def bench(run: Run, profile: Profile, device: str) -> Bench:
    """What a run trains on and is evaluated on."""
    tower = run.tower
    clip = backbone_of(tower.backbone, tower.weights, tower.precision, device)
    pictures = dataset_of(run.data.dataset, run.data.style, profile.folders)
    rows = draws([run], pictures)
    features = load_features(clip, pictures, run.data.views, rows)
    data = training_data([run], pictures, features, rows)
    return Bench(run, clip, data, evaluation_data([run], pictures, features, rows))


def chosen(profile: Profile) -> tuple[str, ...]:
    """The datasets of the page: the first :data:`DATASETS` of a profile."""
    return profile.datasets[:DATASETS]


# ---- same spectrum, other function ---------------------------------------------------------------

TRAININGS: Mapping[str, Callable[[Runs], Iterator[EpochEnd]]] = {
    "free": train_epochs,
    "spectrum held": train_with_spectrum,
}


@torch.no_grad()
def _evaluated(bench: Bench, runs: Runs, start: Tensor, drift: TextDrift) -> dict[str, Any]:
    method, learned = runs.method, runs.learned()
    (row,) = evaluate(method, learned, start, runs.frozen, bench.evaluation, drift)
    kept = {name: row[name] for name in ("base", "new", "drift_base", "drift_new", "drift_words")}
    return kept | {"id": row["id"][0], "id_read": row["id_read"][0]}


def along(bench: Bench, training: str) -> tuple[pd.DataFrame, Tensor]:
    """One of :data:`TRAININGS` on one dataset: a row a checkpoint, and the last prompt (n, d)."""
    runs = bench.runs()
    start = runs.learned().prompts[0].detach().clone()
    base, new, _ = bench.names
    drift = TextDrift.of(runs.method, runs.learned(), runs.frozen, base, new)
    rows = [{"step": 0} | _evaluated(bench, runs, start, drift)]
    count = runs.schedule.epochs
    due = {round(i * count / POINTS) for i in range(1, POINTS + 1)}
    for step, _ in enumerate(TRAININGS[training](runs), start=1):
        if step in due:
            rows.append({"step": step} | _evaluated(bench, runs, start, drift))
    frame = pd.DataFrame(rows).assign(dataset=bench.dataset, training=training)
    return frame, runs.learned().prompts[0][0].detach().clone()


def trained(bench: Bench) -> tuple[pd.DataFrame, Tensor]:
    """The rows of all trainings, and the prompt (n, d) of the free one."""
    found = {name: along(bench, name) for name in TRAININGS}
    return pd.concat([frame for frame, _ in found.values()]), found["free"][1]


# ---- same function, other density ----------------------------------------------------------------

WAYS = ("as it is", "denser", "flatter")


def searched(bench: Bench, prompt: Tensor, profile: Profile) -> pd.DataFrame:
    """Random, words' and a trained prompt (n, d), each with the densest and the flattest found.

    The embeddings of the base classes' names are held; those of others are not.
    """
    clip, (base, new, words) = bench.clip, bench.names
    seed = bench.run.seed
    starts = {
        "random": first_context(clip, "", len(prompt), seed),
        "words": clip.context(profile.context),
        "trained": prompt,
    }
    before = torch.stack([*starts.values()])
    upwards = torch.tensor([True] * len(starts) + [False] * len(starts), device=clip.device)
    search = Search(steps=SEARCH_STEPS * profile.epochs)
    after = same_function(clip, torch.cat([before, before]), base, upwards, search)
    every = torch.stack([before, *after.chunk(2)])  # (ways, starts, n, d)
    accuracy = _accuracies(bench, every.flatten(0, 1))
    moved = {
        kind: torch.stack([_drift(clip, each, before, names) for each in every]).flatten().tolist()
        for kind, names in (("base", base), ("new", new), ("words", words))
    }
    with torch.no_grad():
        plain = information_density(every).flatten().tolist()
        read = read_density(clip, every).flatten().tolist()
    places = [(way, start) for way in WAYS for start in starts]
    return pd.DataFrame(
        [
            {"dataset": bench.dataset, "start": start, "way": way, "id": plain[i]}
            | {"id_read": read[i], "base": accuracy[i]["base"], "new": accuracy[i]["new"]}
            | {f"drift_{kind}": values[i] for kind, values in moved.items()}
            for i, (way, start) in enumerate(places)
        ]
    )


@torch.no_grad()
def _accuracies(bench: Bench, prompts: Tensor) -> list[dict[str, Any]]:
    runs, (base, new, _) = bench.runs(), bench.names
    classify = runs.method.classifier(Learned((prompts,)), runs.frozen, (*base, *new))
    return accuracies(classify, bench.evaluation.base, bench.evaluation.new, len(prompts))


@torch.no_grad()
def _drift(clip: Backbone, after: Tensor, before: Tensor, names: Sequence[str]) -> Tensor:
    return centred_drift(*(clip.class_embeddings(each, names) for each in (after, before)))


# ---- the slider ----------------------------------------------------------------------------------


@torch.no_grad()
def slid(bench: Bench, prompt: Tensor) -> pd.DataFrame:
    """A prompt (n, d) with the same invisible direction added at every size of :data:`ADDED`.

    Columns: added; share1, ... of the singular values in their sum, and read1, ... of those as
    read; id and id_read; base and new accuracy; changed: how many of all test ``images`` are
    predicted otherwise than before.
    """
    clip, (base, new, _) = bench.clip, bench.names
    direction = prompt.std() * normal(bench.run.seed, (len(prompt), 1), 1).to(prompt)
    sizes = torch.tensor(ADDED, device=clip.device).view(-1, 1, 1)
    prompts = prompt + sizes * direction  # (sizes, n, d)
    shares = {"share": _shares(prompts), "read": _shares(centre(clip.as_read(prompts)))}
    runs = bench.runs()
    classify = runs.method.classifier(Learned((prompts,)), runs.frozen, (*base, *new))
    images = torch.cat([bench.evaluation.base.images, bench.evaluation.new.images])
    named = classify(images).argmax(-1)  # (sizes, M)
    changed = (named != named[:1]).sum(1).tolist()
    accuracy = _accuracies(bench, prompts)
    plain = information_density(prompts).tolist()
    read = read_density(clip, prompts).tolist()
    return pd.DataFrame(
        [
            {"dataset": bench.dataset, "added": added, "id": plain[i], "id_read": read[i]}
            | {f"{n}{k + 1}": v for n, each in shares.items() for k, v in enumerate(each[i])}
            | {half: cast(float, accuracy[i][half]) for half in ("base", "new")}
            | {"changed": changed[i], "images": len(images)}
            for i, added in enumerate(ADDED)
        ]
    )


def _shares(prompts: Tensor) -> list[list[float]]:
    """Singular values of each prompt as shares of their sum."""
    values = singular_values(prompts)
    shares: list[list[float]] = (values / values.sum(-1, keepdim=True)).tolist()
    return shares
