"""Our way of training at ImageNet's size; ``end_to_end.py --imagenet`` runs it."""

from __future__ import annotations

from typing import Any

from bench import clock
from made_up import MadeUp
from steps import settings, vit_b_16

from dip_lib.clip.backbone import Backbone
from dip_lib.methods import CoOp
from dip_lib.training.parts import Data, LowRank, Schedule, Tower
from dip_lib.training.run import Run
from dip_lib.training.trainer import train

SHOTS, BATCH, EPOCHS = 16, 32, 50


def dip(clip: Backbone, shots: int, epochs: int, batch: int) -> Run:
    """A DIP at the peers' learning rate, evaluated at the end alone."""
    return Run(
        data=Data(dataset="made-up", shots=shots, views=1),
        tower=Tower(backbone=clip.name),
        method=CoOp(),
        low_rank=LowRank(rank=1, dropout=0.5),
        schedule=Schedule(epochs=epochs, batch=batch, lr=0.002, checkpoints=1),
        seed=1,
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
        train([dip(clip, shots, epochs, batch)], clip, dataset, features)
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
