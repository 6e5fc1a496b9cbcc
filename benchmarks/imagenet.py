"""Our way of training at ImageNet's size; ``end_to_end.py --imagenet`` runs it."""

from __future__ import annotations

from typing import Any

from bench import clock
from made_up import MadeUp
from steps import settings, vit_b_16

from dip_lib.clip.backbone import Backbone
from dip_lib.training.run import RunSpec
from dip_lib.training.trainer import train

SHOTS, BATCH, EPOCHS = 16, 32, 50


def spec(clip: Backbone, shots: int, epochs: int, batch: int) -> RunSpec:
    """A DIP at the peers' learning rate, evaluated at the start and at the end alone."""
    return RunSpec(
        dataset="made-up",
        method="dip",
        seed=1,
        backbone=clip.name,
        rank=1,
        dropout=0.5,
        shots=shots,
        epochs=epochs,
        batch=batch,
        lr=0.002,
        views=1,
        checkpoints=1,
    )


def imagenet(device: str) -> dict[str, Any]:
    """Our way with 1,000 trained classes; on a CPU two steps, multiplied."""
    on_gpu = device != "cpu"
    clip = vit_b_16(device, "bf16" if on_gpu else "fp32")
    (names,) = settings([1000], datasets=False).values()
    # a CPU takes one step an epoch: the number of images hardly counts, that of classes does
    shots, batch = (SHOTS, BATCH) if on_gpu else (1, len(names))
    # the trainer trains the first half of a dataset's classes: the second half is other names
    dataset = MadeUp((*names, *(f"other {name}" for name in names)), shots)
    features, tick = dataset.features(clip), clock(device)
    steps = EPOCHS * (SHOTS * len(names) // BATCH)

    def seconds(epochs: int) -> float:
        began = tick()
        train([spec(clip, shots, epochs, batch)], clip, dataset, features)
        return tick() - began

    if on_gpu:
        total = seconds(EPOCHS)
    else:
        seconds(1)
        total = (seconds(3) - seconds(1)) / 2 * steps
    return {
        "classes": len(names),
        "shots": SHOTS,
        "epochs": EPOCHS,
        "batch": BATCH,
        "steps": steps,
        "seconds": total,
        "seconds_of_a_step": total / steps,
        "extrapolated_from_steps": None if on_gpu else 2,
    }
