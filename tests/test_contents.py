"""Identity is content: a changed picture is another picture, whatever its size, time and name."""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import open_clip
import pytest
import torch
from photo_archives import picture
from PIL import Image

from dip_lib import load_backbone
from dip_lib.clip.picture_features import encode_files
from dip_lib.data import contents
from dip_lib.data.contents import alike, digests, index_path
from dip_lib.data.folders import picture_folder, picture_list
from dip_lib.data.names import Twin, check_class_names, check_tokens
from dip_lib.data.pictures import Pictures
from dip_lib.data.repeats import repeated, told_of_repeats
from dip_lib.data.splits import read_draw, write_draw
from dip_lib.errors import UnreadablePictureError
from photo_world.datasets import DECLARED

CLASSES = ("cat", "dog", "fox")
TOKENIZER = open_clip.SimpleTokenizer()


def fill(folder: Path, count: int = 6, classes: tuple[str, ...] = CLASSES) -> Path:
    for label, name in enumerate(classes):
        for i in range(count):
            picture(folder / name / f"{i}.jpg", seed=1000 * label + i)
    return folder


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that were read to hash them."""
    paths, original = list[str](), contents._sha256

    def count(root: str, path: str) -> bytes:
        paths.append(path)
        return original(root, path)

    monkeypatch.setattr(contents, "_sha256", count)
    return paths


@pytest.fixture
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was written just now is kept at once: as if each test had waited."""
    monkeypatch.setattr(contents, "SETTLED", -(10**12))


# ---- the index ----------------------------------------------------------------------------------


def test_digests_are_those_of_the_bytes_and_unchanged_files_are_not_read_again(
    tmp_path: Path, _at_once: None, read: list[str]
) -> None:
    names = [f"{i}.bin" for i in range(20)]
    for name in names:
        (tmp_path / name).write_bytes(name.encode() * 1000)
    expected = {n: hashlib.sha256(n.encode() * 1000).digest() for n in names}
    assert digests(tmp_path, names) == expected and sorted(read) == sorted(names)
    assert digests(tmp_path, names[::-1]) == expected and len(read) == 20
    assert digests(tmp_path, names[:3]) == {n: expected[n] for n in names[:3]}
    assert digests(tmp_path, names) == expected and len(read) == 20  # a part forgets no other
    (tmp_path / "3.bin").write_bytes(b"3.bon" * 1000)
    assert digests(tmp_path, names)["3.bin"] == hashlib.sha256(b"3.bon" * 1000).digest()
    assert read[20:] == ["3.bin"]


def test_the_same_size_and_time_of_another_content_are_noticed(
    tmp_path: Path, _at_once: None
) -> None:
    path = tmp_path / "frame.bmp"
    path.write_bytes(b"one")
    before, about = digests(tmp_path, [path.name]), path.stat()
    path.write_bytes(b"two")
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))  # as rsync and cp -p do
    now = path.stat()
    assert (now.st_size, now.st_mtime_ns, now.st_ino) == (
        about.st_size,
        about.st_mtime_ns,
        about.st_ino,
    )
    assert digests(tmp_path, [path.name]) != before


def test_a_file_in_the_place_of_another_is_noticed(tmp_path: Path, _at_once: None) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(name.encode())
    before = digests(tmp_path, ["a", "b"])
    (tmp_path / "a").rename(tmp_path / "c")
    (tmp_path / "b").rename(tmp_path / "a")
    (tmp_path / "c").rename(tmp_path / "b")
    after = digests(tmp_path, ["a", "b"])
    assert (after["a"], after["b"]) == (before["b"], before["a"])


def test_what_was_written_just_now_is_not_trusted(tmp_path: Path, read: list[str]) -> None:
    (tmp_path / "a").write_bytes(b"a")
    for _ in range(2):  # a second write may have the same times
        digests(tmp_path, ["a"])
    assert read == ["a", "a"]
    assert not index_path(tmp_path).exists()


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[:-1],
        lambda data: data[:-80],
        lambda data: data[:40] + bytes([data[40] ^ 1]) + data[41:],
        lambda data: b"{}" * 100,
    ],
)
def test_a_damaged_index_is_made_again(
    tmp_path: Path, _at_once: None, read: list[str], damage: Callable[[bytes], bytes]
) -> None:
    for name in "ab":
        (tmp_path / name).write_bytes(name.encode())
    expected, path = digests(tmp_path, ["a", "b"]), index_path(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    assert digests(tmp_path, ["a", "b"]) == expected and len(read) == 4
    assert path.read_bytes() == whole


def test_a_home_that_cannot_be_written_only_costs_time(
    tmp_path: Path, _at_once: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").write_bytes(b"a")
    monkeypatch.setenv("DIP_HOME", str(tmp_path / "a" / "no folder"))
    assert digests(tmp_path, ["a"]) == {"a": hashlib.sha256(b"a").digest()}


def test_an_index_belongs_to_a_folder_whatever_its_name(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "there").symlink_to("here")
    assert index_path(tmp_path / "there") == index_path(tmp_path / "here")
    assert index_path(tmp_path) != index_path(tmp_path / "here")


@pytest.mark.parametrize("name", ["gone.jpg", "folder", "pipe", "bad\0name"])
def test_what_cannot_be_hashed_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UnreadablePictureError, match=name):
        digests(tmp_path, [name])


def test_names_that_are_no_utf_8_are_hashed(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.jpg")
    (tmp_path / name).write_bytes(b"a")
    assert digests(tmp_path, [name]) == {name: hashlib.sha256(b"a").digest()}
    listed = {"train": [(name, 0)]}
    assert len(Pictures("one", ("x",), tmp_path, listed).fingerprint) == 12


# ---- features -----------------------------------------------------------------------------------


def test_features_never_answer_for_a_changed_picture(tmp_path: Path) -> None:
    """Frames of one size, all of them overwritten in place with their times restored."""
    clip, frames = load_backbone("glyph-resnet"), [tmp_path / f"{i:03}.bmp" for i in range(8)]
    colours = [(i, 30 * i, 7 * i) for i in range(8)]
    for path, colour in zip(frames, colours, strict=True):
        Image.new("RGB", (4, 4), colour).save(path)
    before, _ = encode_files(clip, frames)
    for path, colour in zip(frames, colours[::-1], strict=True):
        about = path.stat()
        with open(path, "r+b") as file:
            Image.new("RGB", (4, 4), colour).save(file, "BMP")
        os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))
    after, _ = encode_files(clip, frames)
    torch.testing.assert_close(after, before.flip(0))


def test_one_changed_picture_of_many_changes_the_fingerprint(tmp_path: Path) -> None:
    frames = fill(tmp_path / "own", 120)
    before = picture_folder(frames).fingerprint
    path = frames / "dog" / "77.jpg"
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)
    assert picture_folder(frames).fingerprint != before
    data[-3] ^= 1
    path.write_bytes(data)
    assert picture_folder(frames).fingerprint == before


def test_unchanged_pictures_are_neither_read_nor_encoded_again(
    tmp_path: Path, _at_once: None, read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clip, paths = load_backbone("glyph-resnet"), sorted(fill(tmp_path / "own").rglob("*.jpg"))
    before, _ = encode_files(clip, paths)
    monkeypatch.setattr(Pictures, "batches", None)
    monkeypatch.chdir(tmp_path)
    again, _ = encode_files(clip, [path.relative_to(tmp_path) for path in paths])
    assert torch.equal(again, before) and len(read) == len(paths)


def test_committed_packs_keep_the_name_of_their_pictures(tmp_path: Path) -> None:
    dataset = picture_folder(fill(tmp_path / "own"))
    known = {dataset.fingerprint: "of the pack"}
    same = replace(dataset, known=known)
    changed = {**dataset.files, "test": dataset.files["test"][::-1]}
    other = replace(dataset, known=known, files=changed)
    assert same.fingerprint == "of the pack" != other.fingerprint


def test_every_dataset_of_photo_world_says_which_photographs_its_pack_is_of() -> None:
    declared = [about.photographs for about in DECLARED.values()]
    assert len({*declared}) == len(declared)
    assert all(re.fullmatch("[0-9a-f]{12}", each) for each in declared)


# ---- one Unicode form ---------------------------------------------------------------------------


def spelled(folder: Path, form: str) -> Pictures:
    names = tuple(unicodedata.normalize(form, name) for name in ("crème brûlée", "éclair", "flan"))
    fill(folder, 12, names)
    for path in folder.glob("*/*.jpg"):
        path.rename(path.with_name(unicodedata.normalize(form, f"à {path.name}")))
    return picture_folder(folder)


def test_a_deal_is_the_same_in_either_unicode_form(tmp_path: Path) -> None:
    ours, macs = (spelled(tmp_path / form, form) for form in ("NFC", "NFD"))
    assert macs.class_names == ours.class_names == ("crème brûlée", "flan", "éclair")
    for split in ("train", "val", "test"):
        entries = [(unicodedata.normalize("NFC", path), y) for path, y in macs.files[split]]
        assert entries == list(ours.files[split])
    assert macs.fingerprint == ours.fingerprint
    write_draw(tmp_path / "draw.json", ours.files, 2, 1)
    assert read_draw(tmp_path / "draw.json", macs.files) == read_draw(
        tmp_path / "draw.json", ours.files
    )
    assert torch.equal(
        next(macs.batches("test", (0,), size=8)), next(ours.batches("test", (0,), size=8))
    )


def test_a_class_name_in_two_forms_is_a_duplicate_whose_spellings_are_shown() -> None:
    with pytest.raises(ValueError, match=r"\\u0301"):
        check_class_names(["\u00e9clair", "e\u0301clair"])


# ---- class names by their tokens ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("rock & roll", "rock &amp; roll"),
        ("bird\u2019s nest", "bird's nest"),
        ("a  b", "a b"),
        ("caf\u00e9", "cafe\u0301"),
        ("pug&nbsp;dog", "pug dog"),
        ("\u201cpug\u201d", '"pug"'),
    ],
)
def test_names_of_the_same_tokens_are_refused_by_name(one: str, other: str) -> None:
    names = (one, "third", other)
    tokens = [TOKENIZER.encode(f"{name}.") for name in names]
    with pytest.raises(ValueError, match="duplicate") as error:
        check_tokens(names, tokens)
    assert "third" not in str(error.value)
    check_tokens([one, "third", Twin(other)], tokens)


def test_a_backbone_refuses_them_before_pictures_are_encoded() -> None:
    clip = load_backbone("glyph-resnet")
    with pytest.raises(ValueError, match="small&#32;alpha"):
        clip.encoder(("small alpha", "small&#32;alpha"), 4)
    assert clip.encoder(("small alpha", Twin("small alpha")), 4)


def test_published_names_are_told_apart() -> None:
    names = open_clip.IMAGENET_CLASSNAMES
    ours = [Twin(name) if name in names[:i] else name for i, name in enumerate(names)]
    check_tokens(ours, [TOKENIZER.encode(f"{name}.") for name in ours])


# ---- a picture in two splits or under two labels ------------------------------------------------

LISTED = {"train": [("a", 0), ("b", 1)], "val": [("c", 0)], "test": [("d", 1), ("e", 0)]}


@pytest.mark.parametrize(
    ("same", "in_two_splits", "with_two_labels"),
    [
        ({}, [], []),
        ({"a": 1, "b": 2, "c": 3, "d": 4, "e": 5}, [], []),
        ({"a": 1, "c": 1}, ["a = c"], []),
        ({"a": 1, "b": 1}, [], ["a = b"]),
        ({"a": 1, "d": 1, "e": 2, "c": 2}, ["a = d", "c = e"], ["a = d"]),
        ({"d": 1, "e": 1}, [], ["d = e"]),
    ],
)
def test_repeats_are_those_of_other_splits_or_labels(
    same: dict[str, int], in_two_splits: list[str], with_two_labels: list[str]
) -> None:
    assert repeated(LISTED, same) == (in_two_splits, with_two_labels)
    assert bool(told_of_repeats("x", LISTED, same)) == bool(in_two_splits or with_two_labels)


def test_val_that_is_test_is_no_repeat_and_one_file_listed_twice_is() -> None:
    both = {"train": [("a", 0)], "val": [("b", 0)], "test": [("b", 0)]}
    assert repeated(both, {"a": 1, "b": 2}) == ([], [])
    assert repeated({**both, "train": [("b", 1)]}, {"b": 2}) == (["b"], ["b"])


def test_copies_in_a_folder_are_named(tmp_path: Path) -> None:
    for split in ("train", "test"):
        fill(tmp_path / "own" / split, 2, ("cat", "dog"))  # train and test alike
    picture(tmp_path / "own" / "train" / "dog" / "own.jpg", 7)
    with pytest.warns(UserWarning, match="train/cat/0.jpg") as said:
        picture_folder(tmp_path / "own")
    assert "own.jpg" not in str(said[0].message)


def test_a_copy_under_another_label_is_named(tmp_path: Path) -> None:
    folder = fill(tmp_path / "own")
    copy = folder / "dog" / "again.jpg"
    copy.write_bytes((folder / "cat" / "3.jpg").read_bytes())
    with pytest.warns(UserWarning, match="cat/3.jpg = dog/again.jpg"):
        picture_folder(folder)
    with pytest.warns(UserWarning, match="again.jpg"):
        picture_list([(path, path.parent.name) for path in folder.rglob("*.jpg")])


def test_only_files_of_one_size_are_compared(tmp_path: Path, read: list[str]) -> None:
    for name, size in {"a": 5, "b": 6, "c": 5, "d": 7}.items():
        (tmp_path / name).write_bytes(name.encode() * size)
    assert sorted(alike(tmp_path, ["a", "b", "c", "d"])) == sorted(read) == ["a", "c"]
