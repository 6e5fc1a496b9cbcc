"""How a prompt is judged: accuracies, calibration, and the spectrum of its matrix.

Symbols: R runs, M images, C classes, n context vectors, d width, e embedding size.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from dip_lib.accuracy import Row, accuracies, judge, percent
from dip_lib.datasets import Dataset
from dip_lib.density import information_density, singular_values
from dip_lib.methods import Learnt, Method, Setting
from dip_lib.prompt import low_rank_prompt
from dip_lib.protocols import Split, Task, tested

SHRUNK = (0.25, 0.5, 0.75)
"""Parts of a full-rank update at which the prompt is judged too."""


def spectrum(prompt: Tensor, start: Tensor) -> Row:
    """Information density and singular values of a prompt (n, d), and of its change.

    On the CPU in float64, where a matrix this small is exact. {} if an entry is not finite.
    """
    exact, update = prompt.double().cpu(), (prompt - start).double().cpu()
    if not torch.isfinite(exact).all():
        return {}
    values = singular_values(exact)
    return {
        "id": [float(information_density(exact, k)) for k in range(1, len(values) + 1)],
        "singular": values.tolist(),
        "update_singular": singular_values(update).tolist(),
        "update_norm": float(update.norm()),
    }


@torch.no_grad()
def evaluate(
    learnt: Learnt, start: Tensor, method: Method, setting: Setting, task: Task
) -> list[Row]:
    """One checkpoint of R runs: accuracies, information density, spectra, update norm.

    Args:
        learnt: what the runs have learnt so far.
        start: (R, n, d) the first prompt before training.
    """
    prompt, runs = learnt.prompts[0], len(start)
    names = (*task.base.names, *task.new.names)
    classify = method.classifier(learnt, setting, names)
    rows = accuracies(classify, task.base, task.new, runs)
    trained = method.trained_classifier(learnt, setting) if method.trained_classifier else classify
    if trained is not classify:
        right, _, _ = judge(trained, task.base, 0, runs, len(task.names))
        for row, share in zip(rows, percent(right), strict=True):
            row["base"] = share
    if task.val.names:
        right, _, _ = judge(trained, task.val, 0, runs, len(names))
        for row, share in zip(rows, percent(right), strict=True):
            row["val"] = share
    return [row | spectrum(prompt[r], start[r]) for r, row in enumerate(rows)]


@torch.no_grad()
def shrunk(
    prompt: Tensor, start: Tensor, method: Method, setting: Setting, task: Task
) -> list[Row]:
    """Full-rank prompts (R, n, d) made smaller after training: is DIP more than that?

    Returns:
        For each run "rank 1" (the update's first singular direction alone) and "x 0.25", ... (that
        part of the update), each with the base and new accuracy it has.
    """
    update = prompt - start
    u, s, v = torch.linalg.svd(update, full_matrices=False)
    ways = {"rank 1": low_rank_prompt(start, u[..., :1] * s[:, None, :1], v[:, :1])}
    ways |= {f"x {part}": start + part * update for part in SHRUNK}
    names = (*task.base.names, *task.new.names)
    rows: list[Row] = [{} for _ in prompt]
    for way, smaller in ways.items():
        classify = method.classifier(Learnt((smaller,)), setting, names)
        found = accuracies(classify, task.base, task.new, len(prompt))
        for row, each in zip(rows, found, strict=True):
            row[way] = {half: each[half] for half in ("base", "new")}
    return rows


@torch.no_grad()
def with_prompted_tower(
    found: Task, learnt: Learnt, method: Method, fixed: Setting, dataset: Dataset, protocol: str
) -> Task:
    """The task with test images encoded under the learnt image-side prompts, if there are any."""
    if method.encode is None:
        return found
    clip = fixed.clip
    parts = [
        method.encode(learnt, fixed, clip.normalise(part))
        for part in dataset.batches("test", (None,), None, clip.image_size, clip.device)
    ]
    base, new = tested(dataset, torch.cat(parts, 1), protocol)
    held = Split((), found.val.images, found.val.labels)  # nothing is selected by these
    return replace(found, base=base, new=new, val=held)
