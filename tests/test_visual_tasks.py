"""VTAB-1k and FGVC folders, on made files, with a random timm tower."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from PIL import Image

from dip_lib.clip.timm_tower import TimmTower, timm_tower
from dip_lib.data.vtab import listed_pictures
from dip_lib.methods.vpt import VPT
from dip_lib.training.parts import Data, Tower, VisualSchedule
from dip_lib.training.run import Run
from dip_lib.training.vtab import tune_and_refit

RUN = Run(
    data=Data(dataset="task", views=1),
    tower=Tower(backbone="vit_tiny_patch16_224"),
    method=VPT(vectors=2, depth=2),
    schedule=VisualSchedule(epochs=4, batch=4, lr=0.01, weight_decay=5e-4),
    seed=1,
)
COUNTS = {"train": 4, "val": 2, "test": 3}
LABELS = (3, 7)
"""Labels may have gaps, as those of some classes of NABirds."""


def write_task(folder: Path, kind: str) -> Path:
    """Red and blue pictures of two classes, listed as VTAB-1k or FGVC have them."""
    for split, count in COUNTS.items():
        rows = []
        for i in range(count * 2):
            label, name = LABELS[i % 2], f"images/{split} {i}.png"
            colour = (255 - 9 * i, 0, 0) if i % 2 else (0, 0, 255 - 9 * i)
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (40, 36), colour).save(folder / name)
            rows.append((name, label))
        if kind == "fgvc":
            (folder / f"{split}.json").write_text(json.dumps(dict(rows)))
        else:
            name = {"train": "train800", "val": "val200", "test": "test"}[split]
            (folder / f"{name}.txt").write_text("".join(f"{p} {label}\n" for p, label in rows))
    return folder


@pytest.fixture(scope="module")
def tower() -> TimmTower:
    torch.manual_seed(0)
    return timm_tower("vit_tiny_patch16_224", img_size=32, depth=2)


@pytest.mark.parametrize("kind", ["vtab", "fgvc"])
def test_a_task_is_tuned_on_its_split_and_refitted_on_all(
    tmp_path: Path, tower: TimmTower, kind: str
) -> None:
    task = listed_pictures(write_task(tmp_path / kind, kind))
    assert task.class_names == ("3", "7")
    assert [len(task.labels(split)) for split in COUNTS] == [8, 4, 6]
    record, tensors = tune_and_refit(RUN, tower, task, (1e-9, 0.01))
    assert record["tried"].keys() == {1e-9, 0.01}
    assert record["tried"][0.01] == 100
    best = max(record["tried"], key=record["tried"].__getitem__)
    assert record["run"]["schedule"]["lr"] == best
    assert record["test_images"] == [6, 0]
    assert tensors["head.weight"].shape == (2, 192)
    if best == 0.01:
        assert record["checkpoints"][-1]["base"] == 100


def test_test_pictures_have_no_part_in_the_choice(tmp_path: Path, tower: TimmTower) -> None:
    folder = write_task(tmp_path / "task", "vtab")
    before, _ = tune_and_refit(RUN, tower, listed_pictures(folder), (1e-9, 0.01))
    for path in (folder / "images").glob("test *.png"):
        Image.new("RGB", (40, 36), (0, 255, 0)).save(path)
    after, _ = tune_and_refit(RUN, tower, listed_pictures(folder), (1e-9, 0.01))
    assert before["tried"] == after["tried"]
    assert before["run"]["schedule"]["lr"] == after["run"]["schedule"]["lr"]
    assert before["checkpoints"][-1]["base"] != after["checkpoints"][-1]["base"]


def test_pictures_are_normalised_as_the_tower_wants_them(tower: TimmTower) -> None:
    grey = torch.tensor(tower.mean).view(3, 1, 1).expand(3, 32, 32)
    assert tower.image_size == 32
    assert tower.normalise(grey[None]).abs().max() < 1e-6


def test_a_folder_that_is_no_task_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="train800.txt"):
        listed_pictures(tmp_path)
    folder = write_task(tmp_path / "task", "vtab")
    with (folder / "test.txt").open("a") as file:
        file.write("images/a.png 9\n")
    with pytest.raises(ValueError, match=r"\[9\]"):
        listed_pictures(folder)
    (folder / "val200.txt").write_text("images/a.png\n")
    with pytest.raises(ValueError, match="line 1"):
        listed_pictures(folder)
