"""What a folder holds: classes or splits by names and contents, junk left out, links followed once.

No picture is read here: files are taken for pictures by their names.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from dip_lib.data.class_tree import class_tree
from dip_lib.data.walk import find_pictures, look, pictures_below, told


def tree(root: Path, *paths: str) -> Path:
    """Files below ``root``; a path that ends in a slash is an empty folder."""
    for path in paths:
        place = root / path
        (place if path.endswith("/") else place.parent).mkdir(parents=True, exist_ok=True)
        if not path.endswith("/"):
            place.write_text(path)
    return root


def below(root: Path) -> list[str]:
    return [path.relative_to(root).as_posix() for path in pictures_below(root)[0]]


def classes(root: Path) -> dict[str, list[str]]:
    """Split -> its classes."""
    return {split: [*found] for split, found in class_tree(root).by_split.items()}


TWO = ("cat/1.jpg", "dog/1.jpg")


# ---- what counts --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "hidden",
    [
        ".ipynb_checkpoints/x-checkpoint.png",
        ".git/config",
        ".thumbnails/1.png",
        "cat/._1.jpg",
        "cat/.DS_Store",
    ],
)
def test_hidden_files_and_folders_never_count(tmp_path: Path, hidden: str) -> None:
    before = below(tree(tmp_path, *TWO))
    tree(tmp_path, hidden)
    assert below(tmp_path) == before == [*TWO]
    assert classes(tmp_path) == {"train": ["cat", "dog"]}
    assert not pictures_below(tmp_path)[1]


@pytest.mark.parametrize(
    ("junk", "kind"),
    [
        ("cat/Thumbs.db", "Thumbs.db"),
        ("cat/desktop.ini", "desktop.ini"),
        ("cat/ehthumbs.db", "ehthumbs.db"),
        ("cat/IMG.jpg.json", "*.json"),
        ("cat/IMG.XMP", "*.xmp"),
        ("cat/IMG.txt", "*.txt"),
        ("cat/IMG.MOV", "*.mov"),
        ("cat/Icon\r", "Icon"),
        ("__MACOSX/cat/1.jpg", "__MACOSX/"),
        ("cat/@eaDir/1.jpg/SYNOPHOTO_THUMB_M.jpg", "@eaDir/"),
        ("$RECYCLE.BIN/1.jpg", "$RECYCLE.BIN/"),
    ],
)
def test_what_systems_and_tools_leave_is_left_out_and_counted(
    tmp_path: Path, junk: str, kind: str
) -> None:
    tree(tmp_path, *TWO, junk)
    found, left_out = pictures_below(tmp_path)
    assert [path.relative_to(tmp_path).as_posix() for path in found] == [*TWO]
    assert dict(left_out) == {kind: 1} and f"1 {kind}" in told(left_out)
    assert classes(tmp_path) == {"train": ["cat", "dog"]}
    assert class_tree(tmp_path).left_out == left_out


def test_a_file_of_an_unknown_kind_is_taken_for_a_picture(tmp_path: Path) -> None:
    assert below(tree(tmp_path, "a", "b.JPEG", "c.heic", "d.strange")) == [
        "a",
        "b.JPEG",
        "c.heic",
        "d.strange",
    ]


def test_what_is_left_out_is_one_short_line(tmp_path: Path) -> None:
    endings = ["json", "xmp", "txt", "csv", "xml", "md", "pdf", "mov", "zip", "npy", "db"]
    tree(tmp_path, "a.jpg", "b.json", *(f"a.{ending}" for ending in endings))
    line = told(pictures_below(tmp_path)[1])
    assert "\n" not in line and line.index("2 *.json") < line.index("1 *.") and line.endswith("…")
    assert told(pictures_below(tree(tmp_path / "sound", "a.jpg"))[1]) == ""


def test_a_given_file_is_never_left_out_and_order_is_kept(tmp_path: Path) -> None:
    tree(tmp_path, "b/2.jpg", "b/1.jpg", "notes.txt")
    asked = [tmp_path / "notes.txt", str(tmp_path / "b"), tmp_path / "none.jpg"]
    inside = [tmp_path / "b" / "1.jpg", tmp_path / "b" / "2.jpg"]
    assert find_pictures(asked).files == [asked[0], *inside, asked[2]]


@pytest.mark.parametrize("content", [(), ("Thumbs.db",), (".hidden.jpg", "a/", "b/c/x.json")])
def test_finding_nothing_is_an_error_that_names_the_folder(
    tmp_path: Path, content: tuple[str, ...]
) -> None:
    tree(tmp_path / "bare", "d/", *content)
    with pytest.raises(ValueError, match="bare"):
        find_pictures(tmp_path / "bare")
    tree(tmp_path / "full", "1.jpg")
    assert len(find_pictures([tmp_path / "bare", tmp_path / "full"]).files) == 1
    assert find_pictures([]).files == []


def test_pipes_and_sockets_are_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree(tmp_path, *TWO)
    os.mkfifo(tmp_path / "cat" / "pipe.jpg")
    monkeypatch.chdir(tmp_path)  # a socket's path is short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("dog/socket.jpg")
        found, left_out = pictures_below(tmp_path)
    assert len(found) == 2 and sum(left_out.values()) == 2


# ---- links --------------------------------------------------------------------------------------


def test_linked_folders_are_followed(tmp_path: Path) -> None:
    far = tree(tmp_path / "far", "1.jpg", "deep/2.jpg")
    links = tree(tmp_path / "links", "own.jpg")
    (links / "there").symlink_to(far)
    assert below(links) == ["own.jpg", "there/1.jpg", "there/deep/2.jpg"]


@pytest.mark.parametrize("name", ["a", "z"])
def test_a_folder_counts_once_at_its_own_place(tmp_path: Path, name: str) -> None:
    tree(tmp_path, "m/1.jpg", "m/n/2.jpg")
    (tmp_path / name).symlink_to("m")
    (tmp_path / f"{name}{name}").symlink_to("m/n")
    assert below(tmp_path) == ["m/1.jpg", "m/n/2.jpg"]


def test_of_two_links_to_one_folder_the_first_counts(tmp_path: Path) -> None:
    tree(tmp_path / "far", "1.jpg")
    for name in ("c", "b"):
        (tree(tmp_path / "links") / name).parent.mkdir(exist_ok=True)
        (tmp_path / "links" / name).symlink_to(tmp_path / "far")
    assert below(tmp_path / "links") == ["b/1.jpg"]


@pytest.mark.parametrize("target", [".", "..", "../..", "cat"])
def test_links_that_lead_back_are_not_followed(tmp_path: Path, target: str) -> None:
    root = tree(tmp_path / "over" / "root", *TWO)
    tree(tmp_path, "over/other.jpg")
    (root / "loop").symlink_to(target)
    (root / "cat" / "up").symlink_to("..")
    assert below(root) == [*TWO]


def test_links_to_each_other_end(tmp_path: Path) -> None:
    tree(tmp_path, "a/1.jpg", "b/2.jpg")
    (tmp_path / "a" / "x").symlink_to(tmp_path / "b")
    (tmp_path / "b" / "y").symlink_to(tmp_path / "a")
    assert below(tmp_path) == ["a/1.jpg", "b/2.jpg"]
    assert below(tmp_path / "a") == ["1.jpg", "x/2.jpg"]


def test_a_link_that_leads_nowhere_is_kept_to_be_named(tmp_path: Path) -> None:
    tree(tmp_path, "1.jpg")
    (tmp_path / "gone.jpg").symlink_to("nowhere")
    (tmp_path / "self.jpg").symlink_to("self.jpg")
    assert below(tmp_path) == ["1.jpg", "gone.jpg", "self.jpg"]


def test_linked_class_folders_are_classes(tmp_path: Path) -> None:
    far = tree(tmp_path / "far", "1.jpg")
    root = tree(tmp_path / "root", "cat/1.jpg")
    (root / "dog").symlink_to(far)
    (root / "self").symlink_to(root)
    assert class_tree(root).by_split == {"train": {"cat": ["cat/1.jpg"], "dog": ["dog/1.jpg"]}}
    assert "lead back" in told(class_tree(root).left_out)


# ---- classes and splits -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("train", "val", "test"),
    [
        ("train", "val", "test"),
        ("Train", "Val", "Test"),
        ("training", "validation", "testing"),
        ("TRAIN", "valid", "TEST"),
        ("Training", "dev", "test"),
    ],
)
def test_splits_have_their_usual_names_in_any_case(
    tmp_path: Path, train: str, val: str, test: str
) -> None:
    tree(tmp_path, *(f"{split}/{path}" for split in (train, val, test) for path in TWO))
    found = class_tree(tmp_path).by_split
    assert [*found] == ["train", "val", "test"]
    for split, folder in zip(found, (train, val, test), strict=True):
        assert found[split] == {"cat": [f"{folder}/cat/1.jpg"], "dog": [f"{folder}/dog/1.jpg"]}


@pytest.mark.parametrize("there", ["Valid", "testing"])
def test_one_of_val_and_test_is_both(tmp_path: Path, there: str) -> None:
    tree(tmp_path, *(f"{split}/{path}" for split in ("train", there) for path in TWO))
    found = class_tree(tmp_path).by_split
    (note,) = class_tree(tmp_path).notes
    assert f"{there}/" in note
    assert found["val"] == found["test"] == {c: [f"{there}/{c}/1.jpg"] for c in ("cat", "dog")}


@pytest.mark.parametrize(
    "names",
    [("aeroplane", "bus", "sheep", "train"), ("Test", "bus"), ("bus", "dev", "train", "van")],
)
def test_a_class_may_be_called_as_a_split(tmp_path: Path, names: tuple[str, ...]) -> None:
    tree(tmp_path, *(f"{name}/1.jpg" for name in names))
    assert classes(tmp_path) == {"train": [*names]}


def test_a_split_may_have_a_class_called_as_a_split(tmp_path: Path) -> None:
    tree(tmp_path, *(f"{s}/{c}/1.jpg" for s in ("train", "test") for c in ("bus", "train")))
    assert classes(tmp_path)["test"] == ["bus", "train"]


@pytest.mark.parametrize("wrapper", ["animals", "zip/animals", "zip/animals/pictures"])
def test_a_folder_around_all_others_is_entered_and_said(tmp_path: Path, wrapper: str) -> None:
    plain, split = tmp_path / "plain", tmp_path / "split"
    tree(plain, *(f"{wrapper}/{path}" for path in TWO), "README.md", "__MACOSX/x.jpg")
    tree(split, *(f"{wrapper}/{s}/{path}" for s in ("Train", "Test") for path in TWO))
    assert class_tree(plain).by_split == {"train": {"cat": ["cat/1.jpg"], "dog": ["dog/1.jpg"]}}
    assert [*classes(split)] == ["train", "val", "test"]
    for root in (plain, split):
        assert class_tree(root).root == root / wrapper
    assert class_tree(plain).left_out == {"__MACOSX/": 1, "*.md": 1}
    for root in (plain, split):
        assert any(str(root / wrapper) in note for note in class_tree(root).notes)


def test_what_is_beside_classes_and_splits_is_said(tmp_path: Path) -> None:
    tree(tmp_path / "plain", *TWO, "loose.jpg")
    (note,) = class_tree(tmp_path / "plain").notes
    assert "loose.jpg" in note
    splits = ("train", "dev", "test", "extra")
    tree(tmp_path / "split", *(f"{s}/{path}" for s in splits for path in TWO))
    (note,) = class_tree(tmp_path / "split").notes
    assert "extra/" in note
    sound = class_tree(tree(tmp_path / "sound", *TWO))
    assert sound.notes == () and not sound.left_out


REFUSED = {
    "nested": (("cat/indoor/1.jpg", "cat/outdoor/1.jpg", "dog/indoor/1.jpg"), "cat/indoor"),
    "nested in one": (("cat/1.jpg", "dog/1.jpg", "dog/puppies/2.jpg"), "dog/puppies"),
    "deep": (("cat/a/b/1.jpg", "dog/1.jpg"), "cat/a"),
    "images": (("n01/images/1.JPEG", "n02/images/1.JPEG"), "n01/images"),
    "a nested class train": (("bus/1.jpg", "train/steam/1.jpg"), "train"),
    "a nested class test": (("bus/1.jpg", "test/a/1.jpg", "van/1.jpg"), "test"),
    "wrapped beside another": (("zip/cat/1.jpg", "zip/dog/1.jpg", "docs/1.jpg"), "zip/cat"),
    "no class folders": (("1.jpg", "2.jpg"), "1.jpg"),
    "splits of loose pictures": (("train/1.jpg", "test/1.jpg"), "test/"),
    "unlabelled test": (("train/cat/1.jpg", "train/dog/1.jpg", "test/1.jpg"), "test/"),
    "an empty validation": (("train/cat/1.jpg", "test/cat/1.jpg", "Valid/"), "Valid/"),
    "one split twice": (("train/a/1.jpg", "val/a/1.jpg", "valid/a/1.jpg"), "valid"),
    "train alone": (("train/cat/1.jpg", "train/dog/1.jpg"), "val/"),
    "no train": (("val/cat/1.jpg", "test/cat/1.jpg"), "train/"),
    "an empty class": (("cat/1.jpg", "dog/"), "dog"),
    "a class of junk": (("cat/1.jpg", "dog/Thumbs.db", "dog/1.json"), "Thumbs.db"),
    "nothing": ((), "root"),
    "a class in two forms": (("cr\u00e8me/1.jpg", "cre\u0300me/1.jpg"), "Unicode"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_fits_no_reading_is_told_and_nobodys_pictures_are_to_be_deleted(
    tmp_path: Path, kind: str
) -> None:
    paths, named = REFUSED[kind]
    with pytest.raises(ValueError, match=named) as error:
        class_tree(tree(tmp_path / "root", "./", *paths))
    assert not {"remove", "delete", "skip"} & {*str(error.value).lower().split()}


def test_nested_folders_without_pictures_do_not_count(tmp_path: Path) -> None:
    assert classes(tree(tmp_path, *TWO, "cat/cubs/", "dog/x/y.json")) == {"train": ["cat", "dog"]}


def test_what_is_no_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nowhere"):
        look(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="1.jpg"):
        look(tree(tmp_path, "1.jpg") / "1.jpg")


# ---- one Unicode form ---------------------------------------------------------------------------


def test_names_in_either_unicode_form_are_one_class_in_one_order(tmp_path: Path) -> None:
    composed, decomposed = "\u00e9clair", "e\u0301clair"
    tree(tmp_path / "a", f"train/{composed}/1.jpg", f"val/{decomposed}/1.jpg")
    tree(tmp_path / "a", "train/zebra/1.jpg", "val/zebra/1.jpg")
    assert classes(tmp_path / "a")["val"] == ["zebra", composed]
    assert classes(tmp_path / "a")["train"] == ["zebra", composed]
    tree(tmp_path / "b", f"{decomposed}.jpg", "f.jpg")
    tree(tmp_path / "c", f"{composed}.jpg", "f.jpg")
    assert [path.startswith("f") for path in below(tmp_path / "b")] == [
        path.startswith("f") for path in below(tmp_path / "c")
    ]
