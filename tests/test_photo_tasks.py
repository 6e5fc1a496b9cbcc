"""Photo World's tasks for visual prompts: even, apart, and known without their photographs."""

from __future__ import annotations

import io
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dip_lib.data import load_dataset
from dip_lib.data.dataset import dataset_title
from dip_lib.data.pictures import Pictures
from dip_lib.errors import MissingDownloadError, UnknownNameError
from dip_study import commands
from dip_study.profiles import load_profile
from dip_study.visual_grid import Grid
from dip_study.visual_tasks import visual_tasks
from photo_world.datasets import declared
from photo_world.tasks import TASKS, TRAIN, TUNING, VAL, ListedTask, load, task_of

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "pretraining" / "photo_world"))  # as when one of its programs is run

from make_photo_tasks import listed  # noqa: E402

each_task = pytest.mark.parametrize("name", TASKS)


@pytest.fixture(autouse=True)
def no_photographs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATA", raising=False)


def test_the_tasks_that_glyph_world_announced_are_declared() -> None:
    assert {task.dataset: task.group for task in TASKS.values()} == {
        "photo-caltech101": "natural",
        "photo-eurosat": "specialised",
    }


@each_task
def test_labels_are_evenly_split_in_every_part(name: str) -> None:
    for part in ("", TUNING):
        dataset = load_dataset(name + part)
        assert isinstance(dataset, ListedTask)
        assert len(set(dataset.class_names)) == len(dataset.class_names) == TASKS[name].classes
        sizes = {split: len(dataset.labels(split)) for split in ("train", "val", "test")}
        assert sizes["train"] == (TRAIN if part else TRAIN + VAL)
        assert sizes["val"] == VAL
        assert sizes["test"] == VAL if part else 700 <= sizes["test"] <= 2000
        for split in sizes:
            counts = dataset.labels(split).bincount()
            assert len(counts) == TASKS[name].classes
            assert counts.min() == counts.max()


@each_task
def test_what_chooses_never_reads_a_test_photo_and_the_refit_trains_on_what_tuned(
    name: str,
) -> None:
    tuning, whole = TASKS[name].files(True), TASKS[name].files(False)
    assert whole["train"] == [*tuning["train"], *tuning["val"]]
    assert tuning["test"] == tuning["val"]
    paths = [path for split in ("train", "test") for path, _ in whole[split]]
    assert len(paths) == len(set(paths))


def test_without_photographs_a_task_says_what_it_is_and_how_to_get_them() -> None:
    dataset = load_dataset("natural-caltech")
    assert dataset.fingerprint == TASKS["natural-caltech"].photographs
    assert load_dataset("natural-caltech-800").fingerprint == TASKS["natural-caltech"].tuning
    assert set(dataset.groups("val")) == {"all"}
    assert dataset_title("natural-caltech-800") == TASKS["natural-caltech"].title
    with pytest.raises(MissingDownloadError, match="dip data get caltech101"):
        dataset.batches("train")
    with pytest.raises(UnknownNameError, match="natural-caltec"):
        load("natural-caltec")
    with pytest.raises(UnknownNameError, match="dev"):
        dataset.labels("dev")
    with pytest.raises(ValueError, match="blur"):
        load_dataset("natural-caltech", "blur")


def test_photographs_below_data_are_read_and_others_have_another_hash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = task_of("natural-caltech-800")
    about, files = declared(task.dataset), task.files(False)
    root = tmp_path / about.folder / about.images
    root.mkdir(parents=True)
    monkeypatch.setenv("DATA", str(tmp_path))
    with pytest.raises(MissingDownloadError, match="1760 of the 1760"):
        load_dataset(task.name)
    made = io.BytesIO()
    Image.fromarray(np.full((20, 30, 3), 200, np.uint8)).save(made, "PNG")
    for path, _ in [*files["train"], *files["test"]]:
        (root / path).parent.mkdir(exist_ok=True)
        (root / path).write_bytes(made.getvalue())
    dataset = load_dataset(task.name + TUNING)
    assert isinstance(dataset, Pictures)
    assert dataset.fingerprint != task.tuning
    assert dataset.files == task.files(True)
    (images,) = dataset.batches("val", rows=[0, 3], size=64)
    assert images.shape == (1, 2, 3, 64, 64)


def test_photographs_that_are_not_there_are_one_line_of_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    about = declared("photo-caltech101")
    (tmp_path / about.folder / about.images).mkdir(parents=True)
    monkeypatch.setenv("DATA", str(tmp_path))
    for command in ("plan", "measure"):
        with pytest.raises(SystemExit, match="dip: .*dip data get caltech101"):
            commands.run([command, "--profile", "visual-photos", "--study", "visual_tasks"])


def test_a_list_is_made_of_the_classes_with_most_test_photos(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of three classes of a made split the two with most test photos; labels go round."""
    sizes = {"ant": (900, 3), "bee": (900, 5), "cat": (900, 4)}
    entries = {
        split: [
            [f"{name}/{split}-{i}.jpg", label, name]
            for label, (name, counts) in enumerate(sizes.items())
            for i in range(counts[split == "test"])
        ]
        for split in ("train", "test")
    }
    names = [*sizes]
    made = {split: [(path, label) for path, label, _ in rows] for split, rows in entries.items()}
    monkeypatch.setattr("make_photo_tasks.field_split", lambda name, data: (names, made))
    task = TASKS["natural-caltech"].__class__(
        "two", "Two", "natural", "photo-caltech101", "two.json", 2, "", ""
    )
    found = listed(task, tmp_path)
    assert found["names"] == ["bee", "cat"]
    assert len(found["train"]) == TRAIN + VAL
    assert Counter(path.split("/")[0] for path in found["train"]) == {"bee": 500, "cat": 500}
    assert [path.split("/")[0] for path in found["test"]] == ["bee", "cat"] * 4
    assert listed(task, tmp_path) == found


def test_the_profile_asks_for_both_tasks_on_every_block_of_photo_vit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("dip_study.runs.weights_of", lambda *about: "any")  # whatever they are
    profile = load_profile("visual-photos")
    (grid,) = Grid.each(profile)
    assert (grid.tower, [*grid.datasets]) == ("photo-vit", [*TASKS])
    runs = visual_tasks(profile)
    assert {run.data.dataset for run in runs} == {task + TUNING for task in TASKS}
    drawn = next(iter(Grid.each(load_profile("visual-tasks"))))
    for name in ("deep", "shallow", "epochs", "batch", "rates", "chosen_at", "condensing"):
        assert getattr(grid, name) == getattr(drawn, name), name
