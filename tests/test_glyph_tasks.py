"""Glyph World's tasks for visual prompts: even, apart, the same everywhere, and hard for a head."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from dip_lib import load_backbone
from dip_lib.data import Dataset, load_dataset
from dip_lib.errors import UnknownNameError
from glyph_world import scenes
from glyph_world.draw import SIZE
from glyph_world.tasks import IMAGES, TASKS, TUNING, task_dataset

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "pretraining"))  # as when one of its programs is run

from task_heads import head_accuracy  # noqa: E402

each_task = pytest.mark.parametrize("name", TASKS)


def test_three_groups_of_two_tasks_are_declared() -> None:
    assert Counter(task["group"] for task in TASKS.values()) == dict.fromkeys(
        ("natural", "specialised", "structured"), 2
    )


@each_task
def test_labels_are_evenly_split_in_every_part(name: str) -> None:
    for part, sizes in (("", (1000, 200, 2000)), (TUNING, (800, 200, 200))):
        dataset = load_dataset(name + part)
        assert len(set(dataset.class_names)) == len(dataset.class_names) == TASKS[name]["classes"]
        for split, size in zip(("train", "val", "test"), sizes, strict=True):
            counts = dataset.labels(split).bincount()
            assert counts.sum() == size
            assert len(counts) == len(dataset.class_names)
            assert counts.min() == counts.max()


def test_what_chooses_never_reads_a_test_image_and_the_refit_trains_on_what_tuned() -> None:
    tuning, whole = task_dataset("how-many-800"), task_dataset("how-many")

    def pixels(dataset: Dataset, split: str) -> torch.Tensor:
        return torch.cat(list(dataset.batches(split)), 1)[0]

    both = torch.cat([pixels(tuning, "train"), pixels(tuning, "val")])
    assert torch.equal(pixels(whole, "train"), both)
    assert torch.equal(pixels(tuning, "test"), pixels(tuning, "val"))
    tested = {image.numpy().tobytes() for image in pixels(whole, "test")}
    assert len(tested) == IMAGES["test"]
    assert not tested & {image.numpy().tobytes() for image in both}


def test_rows_are_those_of_the_whole_split_at_any_size() -> None:
    dataset = task_dataset("which-font-800")
    whole = torch.cat(list(dataset.batches("train")), 1)
    rows = [0, 3, 255, 256, 799]
    assert torch.equal(torch.cat(list(dataset.batches("train", rows=rows)), 1), whole[:, rows])
    (larger,) = dataset.batches("train", (None, None), rows[:2], 96)
    assert larger.shape == (2, 2, 3, 96, 96)


def test_another_process_draws_the_same_pixels() -> None:
    code = (
        "import hashlib; from glyph_world.tasks import task_dataset as t\n"
        "print(hashlib.sha256(next(t('how-many').batches('train')).numpy().tobytes()).hexdigest())"
    )
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    here = next(task_dataset("how-many").batches("train")).numpy().tobytes()
    assert other.stdout.strip() == hashlib.sha256(here).hexdigest()


@pytest.mark.parametrize("count", [1, 4, 8])
def test_as_many_letters_are_drawn_as_the_label_says(count: int) -> None:
    masks = scenes.how_many(np.full(5, count - 1), np.random.default_rng(0))
    assert masks.shape == (5, SIZE, SIZE)
    assert masks[:, 0].max() == masks[:, -1].max() == masks[..., 0].max() == 0  # all inside
    ink = (masks > 0).sum((1, 2))
    one = (scenes.how_many(np.zeros(5, int), np.random.default_rng(0)) > 0).sum((1, 2))
    assert 0.4 * count * one.mean() < ink.mean() < 1.6 * count * one.mean()


def test_no_linear_head_reads_a_structured_task_off() -> None:
    """Halfway between chance and all right, at most; re-measured for one, declared for both."""
    clip = load_backbone("glyph-vit")
    for name, task in TASKS.items():
        if task["group"] == "structured":
            assert task["head"] < (100 / task["classes"] + 100) / 2, name
    measured = head_accuracy(clip, task_dataset("how-many-800"))
    assert abs(measured - TASKS["how-many"]["head"]) <= 2


def test_what_a_task_does_not_have_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="how-manny"):
        task_dataset("how-manny")
    with pytest.raises(ValueError, match="blur"):
        load_dataset("how-many", "blur")
    with pytest.raises(ValueError, match="views=0"):
        next(task_dataset("how-many").batches("train", (0,)))
    with pytest.raises(ValueError, match="ascending"):
        next(task_dataset("how-many").batches("train", rows=[3, 1]))
    with pytest.raises(UnknownNameError, match="dev"):
        task_dataset("how-many").labels("dev")
