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
from PIL import Image
from scipy.ndimage import label as label_of

from dip_lib import load_backbone
from dip_lib.data import Dataset, load_dataset
from dip_lib.errors import UnknownNameError
from glyph_world import letter_kinds, scenes, structured
from glyph_world.draw import SIZE
from glyph_world.tasks import IMAGES, TASKS, TUNING, task_dataset

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "pretraining"))  # as when one of its programs is run

from task_heads import head_accuracy  # noqa: E402

each_task = pytest.mark.parametrize("name", TASKS)


def test_tasks_of_three_groups_are_declared() -> None:
    groups = Counter(task["group"] for task in TASKS.values())
    assert groups == {"natural": 2, "specialised": 2, "structured": 15}


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
    def drawn(label: int) -> np.ndarray:
        random = np.random.default_rng(0)
        return np.stack([scenes.how_many(label, random) for _ in range(5)])

    masks = drawn(count - 1)
    assert masks.shape == (5, SIZE, SIZE)
    assert masks[:, 0].max() == masks[:, -1].max() == masks[..., 0].max() == 0  # all inside
    ink = (masks > 0).sum((1, 2))
    one = (drawn(0) > 0).sum((1, 2))
    assert 0.4 * count * one.mean() < ink.mean() < 1.6 * count * one.mean()


def inks(masks: np.ndarray) -> list[np.ndarray]:
    """The letters of a mask that touch no other, as their pixels (row, column), largest first."""
    labelled, count = label_of(masks > 0, structure=np.ones((3, 3)))
    parts = [np.argwhere(labelled == part) for part in range(1, count + 1)]
    return sorted(parts, key=len, reverse=True)


# the letter of which-font is as large as it is drawn, and one of twelve
@pytest.mark.parametrize("name", [n for n in structured.DRAWINGS if n != "which_font"])
def test_a_drawing_stays_inside_and_differs_from_draw_to_draw(name: str) -> None:
    names, one = structured.DRAWINGS[name]
    classes = TASKS[name.replace("_", "-")]["classes"]
    assert classes <= len(names)
    for label in range(classes):
        random = np.random.default_rng(label)
        masks = np.stack([one(label, random) for _ in range(4)])
        assert masks.shape == (4, SIZE, SIZE) and masks.dtype == np.uint8
        assert masks[:, 0].max() == masks[:, -1].max() == masks[..., 0].max() == 0
        assert len({mask.tobytes() for mask in masks}) == 4


def test_distances_directions_and_sizes_are_as_the_label_says() -> None:
    random = np.random.default_rng(0)
    for label in range(8):
        for _ in range(5):
            far = inks(structured.how_far(label, random))
            if len(far) == 2:  # letters of several parts, or that touch, are not told apart here
                first, second = (part.min(0) + np.ptp(part, 0) / 2 for part in far)
                assert abs(np.hypot(*(first - second)) - (14 + 4 * label)) < 3
            large = np.argwhere(structured.how_large(label, random) > 0)
            assert abs(np.ptp(large[:, 0]) + 1 - (10 + 3 * label)) <= 2
            aimed = inks(structured.where_from(label, random))
            if len(aimed) == 2:
                big, small = sorted(aimed, key=lambda part: -np.ptp(part[:, 0]))
                down, right = (small.min(0) + np.ptp(small, 0) / 2) - (
                    big.min(0) + np.ptp(big, 0) / 2
                )
                turn = np.arctan2(down, right) / (np.pi / 4) - label
                assert abs((turn + 4) % 8 - 4) < 0.5


def test_more_of_a_kind_change_the_ink_as_they_should() -> None:
    def ink(drawing: structured.Drawing, label: int) -> float:
        random = np.random.default_rng(1)
        return float(np.mean([drawing(label, random) / 255 for _ in range(20)]))

    for drawing in (structured.how_many_tall, structured.how_many_bold, structured.how_large):
        assert ink(drawing, 1) < ink(drawing, 4) < ink(drawing, 7)


def box(random: np.random.Generator) -> Image.Image:
    return Image.new("L", (6, letter_kinds.HEIGHT), 255)


def nothing(random: np.random.Generator) -> Image.Image:
    return Image.new("L", (6, letter_kinds.HEIGHT), 0)


@pytest.mark.parametrize("label", range(8))
def test_the_letter_of_another_kind_is_where_the_label_says(label: int) -> None:
    random = np.random.default_rng(label)
    (one,) = inks(letter_kinds.which(box, nothing)(label, random))
    down, right = one.mean(0) - letter_kinds.MIDDLE
    turn = np.arctan2(down, right) / (np.pi / 4) - label
    assert abs((turn + 4) % 8 - 4) < 0.2
    assert len(inks(letter_kinds.which(nothing, box)(label, random))) == 7


def test_kinds_of_letters_are_told_apart_by_their_ink() -> None:
    def drawn(kind: letter_kinds.Kind) -> list[np.ndarray]:
        random = np.random.default_rng(0)
        return [np.asarray(kind(random)) for _ in range(12)]

    thin, bold = drawn(letter_kinds.thin), drawn(letter_kinds.bold)
    assert max(each.max() for each in drawn(letter_kinds.pale)) <= 128 < thin[0].max()
    assert sum(map(np.sum, thin)) < sum(map(np.sum, bold))
    assert sum(map(np.sum, drawn(letter_kinds.hollow))) < 0.8 * sum(map(np.sum, bold))
    assert all(each[-1].min() == 255 for each in drawn(letter_kinds.underlined))
    assert {len(each) for each in drawn(letter_kinds.underlined)} == {letter_kinds.HEIGHT}
    shapes = [{each.tobytes() for each in found} for found in (thin, drawn(letter_kinds.digit))]
    assert not shapes[0] & shapes[1]


def test_as_many_kinds_are_drawn_and_digits_that_sum_up(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = list[str]()

    def noting(character: str, font: str, height: float) -> Image.Image:
        drawn.append(character)
        return scenes.ink(character, font, height)

    monkeypatch.setattr(structured, "ink", noting)
    random = np.random.default_rng(0)
    for label in range(5):
        drawn.clear()
        structured.how_many_kinds(label, random)
        assert len(drawn) == 8 and len(set(drawn)) == label + 1
    for label in range(10):
        drawn.clear()
        structured.sum_of_two(label, random)
        assert sum(map(int, drawn)) == label


def test_no_linear_head_reads_a_structured_task_off() -> None:
    """Halfway between chance and all right, at most; re-measured for one, declared for all."""
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
