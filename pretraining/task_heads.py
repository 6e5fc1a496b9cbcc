"""How far a linear head alone comes on each task for visual prompts: nothing else is trained.

Logistic regression on the standardised features that the frozen vision transformer hands to a head;
trained on the 800 images that tune, evaluated on the 200 that choose. The penalty is the best of
five on those 200, so that the head is not underrated. Test images are not read.

    python pretraining/task_heads.py        prints accuracy, %, and chance, on Glyph World's tasks

``photo_world/measure_vit.py`` does so on Photo World's.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dip_lib import load_backbone
from dip_lib.clip.backbone import Backbone
from dip_lib.clip.frozen_vision import frozen_vision_encoder
from dip_lib.data import Dataset
from dip_lib.methods.probe import SCALE, LinearProbe
from glyph_world.tasks import TASKS, TUNING, task_dataset

PENALTIES = (0.1, 0.03, 0.01, 0.003, 0.001)


@torch.no_grad()
def features(clip: Backbone, dataset: Dataset, split: str) -> Tensor:
    """What the head reads of every image, (N, w)."""
    tower = frozen_vision_encoder(clip.model, clip.name)
    images = dataset.batches(split, size=clip.image_size)
    parts = [tower.features(clip.normalise(each[0])) for each in images]
    return torch.cat(parts).float()


def head_accuracy(clip: Backbone, dataset: Dataset) -> float:
    """Accuracy on the images that choose, percent, of a linear head trained on the rest."""
    train, val = (features(clip, dataset, split) for split in ("train", "val"))
    mean, deviation = train.mean(0), train.std(0)
    train, val = ((each - mean) / deviation / SCALE for each in (train, val))  # the probe scales
    labels, truth = dataset.labels("train"), dataset.labels("val")
    right = []
    for penalty in PENALTIES:
        classify = LinearProbe(penalty=penalty).fit(train, labels, len(dataset.class_names))
        right.append(100 * float((classify(val).argmax(1) == truth).double().mean()))
    return max(right)


def main() -> None:
    torch.set_num_threads(1)
    clip = load_backbone("glyph-vit")
    for task in TASKS:
        dataset = task_dataset(task + TUNING)
        chance = 100 / len(dataset.class_names)
        print(f"{task:20}{head_accuracy(clip, dataset):6.1f} %   chance {chance:.1f} %", flush=True)


if __name__ == "__main__":
    main()
