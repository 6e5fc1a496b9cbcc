"""Own pictures: a folder of class folders, or a list, is a dataset in one call."""

from __future__ import annotations

import os
import shutil
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch
from photo_archives import closed, picture
from PIL import Image

from dip_lib import load_backbone
from dip_lib.clip.features import load_features
from dip_lib.data import protocols
from dip_lib.data.folders import picture_folder, picture_list
from dip_lib.data.protocols import Classes, draw

CLASSES = ("Red_fox", "arctic_hare", "wolf")
SPLITS = ("train", "val", "test")


def fill(folder: Path, count: int = 10, classes: tuple[str, ...] = CLASSES, seed: int = 0) -> Path:
    """One folder a class with ``count`` pictures each."""
    for label, name in enumerate(classes):
        for i in range(count):
            picture(folder / name / f"{i:02}.jpg", seed=1000 * label + i + seed)
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return fill(tmp_path / "animals")


# ---- folders ------------------------------------------------------------------------------------


def test_a_folder_of_class_folders_is_a_dataset(folder: Path) -> None:
    dataset = picture_folder(str(folder), template="a drawing of a {}.")
    assert dataset.name == "animals"
    assert dataset.class_names == ("Red fox", "arctic hare", "wolf")
    assert dataset.template == "a drawing of a {}."
    sizes = {split: torch.bincount(dataset.labels(split)).tolist() for split in SPLITS}
    assert sizes == {"train": [5] * 3, "val": [2] * 3, "test": [3] * 3}
    assert all(list(dataset.files[split]) == sorted(dataset.files[split]) for split in SPLITS)
    every = sorted(path for split in SPLITS for path, _ in dataset.files[split])
    assert every == sorted(f"{name}/{i:02}.jpg" for name in CLASSES for i in range(10))
    for path, label in (entry for split in SPLITS for entry in dataset.files[split]):
        assert path.split("/")[0] == CLASSES[label]


@pytest.mark.filterwarnings("ignore:.*have fewer than")
def test_own_pictures_go_through_features_and_base_to_new(tmp_path: Path) -> None:
    folder = fill(tmp_path / "animals", classes=(*CLASSES, "lynx"))
    clip, dataset = load_backbone("glyph-resnet"), picture_folder(folder)
    features = load_features(clip, dataset, views=1)
    base, new = protocols.evaluation_halves(dataset, features.test, Classes())
    assert (base.names, new.names) == (("Red fox", "arctic hare"), ("lynx", "wolf"))
    train, _ = draw(dataset.labels, 4, 1, Classes())
    assert features.pick("train", train).shape == (1, 8, 128)


def test_the_deal_is_the_same_everywhere_and_for_other_classes(
    folder: Path, tmp_path: Path
) -> None:
    dataset = picture_folder(folder)
    moved = picture_folder(shutil.copytree(folder, tmp_path / "elsewhere" / "copy"))
    assert moved.files == dataset.files
    assert moved.fingerprint == dataset.fingerprint
    shutil.rmtree(folder / "wolf")
    fewer = picture_folder(folder).files
    assert fewer == {s: [e for e in dataset.files[s] if e[1] < 2] for s in SPLITS}


@pytest.mark.parametrize("count", range(3, 25))
def test_every_split_has_its_share_of_each_class(tmp_path: Path, count: int) -> None:
    files = picture_folder(fill(tmp_path / "own", count, ("wolf", "lynx"))).files
    train, val, test = (len(files[split]) // 2 for split in SPLITS)
    assert (train, val) == (count // 2, max(1, count // 5))
    assert train + val + test == count
    assert test >= 1


def test_given_splits_are_kept(tmp_path: Path) -> None:
    for split, count in zip(SPLITS, (3, 1, 2), strict=True):
        fill(tmp_path / split, count, seed=100 * count)
    files = picture_folder(tmp_path).files
    assert {split: len(entries) for split, entries in files.items()} == {
        "train": 9,
        "val": 3,
        "test": 6,
    }
    for split, entries in files.items():
        assert list(entries) == sorted(entries)
        assert all(path.startswith(f"{split}/") for path, _ in entries)


@pytest.mark.parametrize(("there", "stands_in"), [("val", "test"), ("test", "val")])
def test_one_of_val_and_test_stands_for_both(tmp_path: Path, there: str, stands_in: str) -> None:
    fill(tmp_path / "train", 2)
    fill(tmp_path / there, 1, CLASSES[:2], seed=100)
    files = picture_folder(tmp_path).files
    assert files[there] == files[stands_in]
    assert len(files[there]) == 2


def test_hidden_and_loose_files_do_not_count(folder: Path) -> None:
    before = picture_folder(folder).fingerprint
    (folder / "wolf" / ".DS_Store").write_text("")
    (folder / "wolf" / "Thumbs.db").write_text("")
    (folder / "wolf" / "03.jpg.json").write_text("{}")
    (folder / ".cache").mkdir()
    (folder / "notes.txt").write_text("")
    after = picture_folder(folder)
    assert after.fingerprint == before
    assert after.left_out == {"Thumbs.db": 1, "*.json": 1, "*.txt": 1}


def test_a_folder_around_the_class_folders_is_the_same_dataset(
    folder: Path, tmp_path: Path
) -> None:
    wrapped = shutil.copytree(folder, tmp_path / "zip" / "animals").parent
    (wrapped / "__MACOSX" / "animals").mkdir(parents=True)
    found, expected = picture_folder(wrapped), picture_folder(folder)
    assert (found.files, found.fingerprint) == (expected.files, expected.fingerprint)
    assert found.name == "animals" and "animals" in found.notes[0]


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    names = ("aeroplane", "bus", "sheep", "train")
    assert picture_folder(fill(tmp_path, 3, names)).class_names == names


# ---- what is wrong with them --------------------------------------------------------------------


def test_files_that_are_no_pictures_are_named_or_left_out(folder: Path) -> None:
    (folder / "wolf" / "notes.jpg").write_text("grey")
    with pytest.raises(ValueError, match="wolf/notes.jpg") as error:
        picture_folder(folder)
    assert "--skip-unreadable" in str(error.value)
    with pytest.warns(UserWarning, match="wolf/notes.jpg"):
        dataset = picture_folder(folder, skip_unreadable=True)
    (folder / "wolf" / "notes.jpg").unlink()
    assert dataset.files == picture_folder(folder).files


def test_a_truncated_picture_is_left_out_when_asked(folder: Path) -> None:
    path = folder / "wolf" / "03.jpg"
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.warns(UserWarning, match="wolf/03.jpg"):
        dataset = picture_folder(folder, skip_unreadable=True)
    assert sum(len(dataset.files[split]) for split in SPLITS) == 29
    for split in SPLITS:
        list(dataset.batches(split, size=8))
    whole = picture_folder(folder)
    with pytest.raises(ValueError, match="03.jpg"):
        for split in SPLITS:
            list(whole.batches(split, size=8))


def test_pixels_of_unknown_range_are_left_out_when_asked(folder: Path) -> None:
    Image.new("F", (9, 9)).save(folder / "wolf" / "heights.tif")
    with pytest.warns(UserWarning, match="wolf/heights.tif"):
        dataset = picture_folder(folder, skip_unreadable=True)
    assert sum(len(dataset.files[split]) for split in SPLITS) == 30


def test_sound_folders_give_no_warning(folder: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        picture_folder(folder, skip_unreadable=True)


def test_bad_folders_are_told(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nowhere"):
        picture_folder(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="wolf"):
        picture_folder(folder / "wolf")
    (folder / "lynx").mkdir()
    with pytest.raises(ValueError, match="lynx"):
        picture_folder(folder)
    picture(folder / "lynx" / "0.jpg", 1)
    with pytest.raises(ValueError, match="lynx/0.jpg"):
        picture_folder(folder)
    (folder / "lynx").rename(folder / "Arctic_Hare")
    with pytest.raises(ValueError, match="Arctic Hare"):
        picture_folder(folder)


def test_an_unreadable_folder_is_told() -> None:
    with TemporaryDirectory() as public:  # pytest's own folders are closed to others
        Path(public).chmod(0o755)
        folder = fill(Path(public) / "animals", 3)
        for bad in (folder, folder / "wolf"):
            with (
                closed(bad),
                pytest.raises(ValueError, match=f"{bad}"),
            ):
                picture_folder(folder)


def test_bad_splits_are_told(tmp_path: Path) -> None:
    fill(tmp_path / "train", 2)
    with pytest.raises(ValueError, match="val/"):
        picture_folder(tmp_path)
    fill(tmp_path / "test", 1, (*CLASSES, "lynx"))
    with pytest.raises(ValueError, match="lynx"):
        picture_folder(tmp_path)


def test_class_folders_whose_names_are_no_utf_8_are_told(folder: Path) -> None:
    (folder / "wolf").rename(folder / os.fsdecode(b"caf\xe9"))
    with pytest.raises(ValueError, match=r"caf\\udce9"):
        picture_folder(folder)


def test_a_class_that_loses_all_its_pictures_is_told(tmp_path: Path) -> None:
    fill(tmp_path / "train", 2)
    fill(tmp_path / "test", 1)
    for path in (tmp_path / "train" / "wolf").iterdir():
        path.write_text("no picture")
    with (
        pytest.warns(UserWarning, match="wolf"),
        pytest.raises(ValueError, match="wolf"),
    ):
        picture_folder(tmp_path, skip_unreadable=True)


# ---- lists --------------------------------------------------------------------------------------


def test_a_list_is_the_dataset_of_its_folder(folder: Path) -> None:
    expected = picture_folder(folder)
    named = [(path, path.parent.name) for path in sorted(folder.rglob("*.jpg"), reverse=True)]
    numbered = [(str(path), CLASSES.index(name)) for path, name in named]
    for dataset in (picture_list(named), picture_list(numbered, CLASSES)):
        assert dataset.class_names == expected.class_names
        assert dataset.files == expected.files
        assert dataset.fingerprint == expected.fingerprint


def test_a_list_may_hold_relative_paths(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    names = ("wolf", "Red_fox")
    entries = [(f"{name}/{i:02}.jpg", name) for name in names for i in range(3)]
    dataset = picture_list(entries, names, "two", "{}!")
    assert (dataset.name, dataset.template) == ("two", "{}!")
    assert dataset.class_names == ("wolf", "Red fox")
    monkeypatch.chdir("/")
    assert dataset.root == folder
    assert next(dataset.batches("test", size=8)).shape == (1, 2, 3, 8, 8)


def test_bad_lists_are_told(folder: Path) -> None:
    paths = sorted(folder.rglob("*.jpg"))
    with pytest.raises(ValueError, match="class_names"):
        picture_list([(path, 3) for path in paths])
    with pytest.raises(ValueError, match="lynx"):
        picture_list([(paths[0], 3), (paths[1], "lynx")], CLASSES)
    again = [(path, path.parent.name) for path in [*paths, *paths[:12]]]
    with pytest.raises(ValueError, match=r"(\w+/\d+.jpg, ){10}…$"):
        picture_list(again)
    with pytest.raises(ValueError, match="00.jpg"):  # by another name
        picture_list([(paths[0], "fox"), (paths[0].parent / ".." / CLASSES[0] / "00.jpg", "cat")])
    with pytest.raises(ValueError, match="empty"):
        picture_list([])
    with pytest.raises(ValueError, match="99.jpg"):
        picture_list([(folder / "wolf" / "99.jpg", "wolf")])
    with pytest.raises(ValueError, match="Red fox"):
        picture_list([(path, "wolf") for path in paths], CLASSES)
