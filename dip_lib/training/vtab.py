"""VTAB's protocol for visual prompts: tuned on a part of the images, refitted on all.

Source: VPT's ``tune_vtab.py``. Unlike there, images are normalised as the encoder wants them, and
cropped unless the task says otherwise (:attr:`dip_lib.data.pictures.Pictures.squeezed`); training
views are random crops, with ``views=0`` the images themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

from dip_lib.clip.backbone import Backbone
from dip_lib.clip.timm_tower import TimmTower
from dip_lib.data.pictures import Pictures
from dip_lib.data.vtab import refitted, tuning_part
from dip_lib.training.record import Result
from dip_lib.training.run import Run, VisualSchedule
from dip_lib.training.visual import train_visual

EVERY_IMAGE = 10**6
"""As many images of a class as there are."""


def tune_and_refit(
    run: Run, tower: Backbone | TimmTower, task: Pictures, rates: Sequence[float]
) -> Result:
    """VTAB's protocol: the learning rate on the 800/200 split, then a fit on all 1,000.

    Test images are read once, by the run that is returned.

    Args:
        run: the run; its classes, images and learning rate are set here.
        tower: of :func:`dip_lib.clip.timm_tower.timm_tower` or :func:`dip_lib.load_backbone`.
        rates: the learning rates to try; of equal ones the first wins.

    Returns:
        The result of the fit on all images; ``tried`` in its record is rate -> accuracy.
    """
    small, whole = tuning_part(task), refitted(task)
    data = replace(
        run.data, dataset=task.name, protocol="all-classes", class_split=0, shots=EVERY_IMAGE
    )
    schedule = cast(VisualSchedule, run.schedule)

    def fit(lr: float, images: Pictures) -> Result:
        with_rate = replace(
            run,
            data=replace(data, fingerprint=images.fingerprint),
            schedule=replace(schedule, lr=lr),
        )
        (result,) = train_visual([with_rate], tower, images)
        return result

    checkpoints = {lr: fit(lr, small).record["checkpoints"][-1] for lr in rates}
    tried = {lr: checkpoint.get("base", 0.0) for lr, checkpoint in checkpoints.items()}
    record, tensors = fit(max(tried, key=tried.__getitem__), whole)
    return Result(record | {"tried": tried}, tensors)
