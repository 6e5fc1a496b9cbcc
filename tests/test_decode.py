"""One picture file: read as PIL reads it, or told what is wrong with it and what to do."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from photo_archives import picture
from PIL import Image, ImageFile

from dip_lib.data.decode import cause, fault, read_picture
from dip_lib.data.folders import picture_folder
from dip_lib.data.pictures import Pictures
from dip_lib.data.views import plain_view

HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100)


@pytest.mark.parametrize(
    ("content", "remedy"),
    [
        (HEIC, "pillow-heif"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0" + bytes(50), "pillow-heif"),
        (b"\0\0\0\x18ftyphevx\0\0\0\0" + bytes(50), "pillow-heif"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
        (b"", "empty"),
        (b"\n<!DOCTYPE html><html>", "web page"),
        (b"<HTML><body>404", "web page"),
        (b"\xff\x0a" + bytes(50), "JPEG XL"),
        (b"\0\0\0\x0cJXL \r\n" + bytes(50), "JPEG XL"),
        (b"%PDF-1.7", "PDF"),
        (b"PK\3\4" + bytes(50), "zip"),
        (b"notes", "identify"),
    ],
)
def test_a_file_that_is_no_picture_is_told_with_what_to_do(
    tmp_path: Path, content: bytes, remedy: str
) -> None:
    path = tmp_path / "IMG_1.jpg"
    path.write_bytes(content)
    for whole in (False, True):
        assert remedy in fault(path, whole)
        assert str(path) not in fault(path, whole)  # pictures of one cause are told together


def test_what_is_no_file_is_told_and_nothing_waits_for_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name in ("pipe", ".", "gone", "bad\0name"):
        assert fault(tmp_path / name)
    assert "No such file" in fault(tmp_path / "gone")


def test_a_sound_picture_has_no_fault_and_a_cut_one_only_as_a_whole(tmp_path: Path) -> None:
    path = picture(tmp_path / "a.jpg", 1)
    assert fault(path) == fault(path, whole=False) == ""
    path.write_bytes(path.read_bytes()[:-300])
    assert fault(path, whole=False) == "" != fault(path)


@pytest.mark.parametrize("factor", [3, 100])
def test_too_many_pixels_are_told_with_a_remedy_that_exists(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, factor: int
) -> None:
    path = picture(tmp_path / "map.jpg", 1)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 24 * 32 // factor)
    assert "smaller copy" in fault(path)
    dataset = Pictures("one", ("x",), tmp_path, {"train": [(path.name, 0)]})
    with pytest.raises(ValueError, match=r"map\.jpg.*smaller copy"):
        next(dataset.batches("train", size=8))


def test_a_message_without_a_file_is_the_errors(tmp_path: Path) -> None:
    assert cause(tmp_path / "gone", FileNotFoundError(2, "No such file")).startswith("No such file")


# ---- HEIC ---------------------------------------------------------------------------------------


class HeifFile(ImageFile.ImageFile):
    """Stands for the reader that pillow-heif brings: one green picture."""

    format = "HEIF"

    def _open(self) -> None:
        self._mode, self._size = "RGB", (4, 4)

    def load(self) -> None:
        self.im = Image.new("RGB", (4, 4), (0, 255, 0)).im


@pytest.fixture
def heif(monkeypatch: pytest.MonkeyPatch) -> None:
    """pillow-heif is installed."""
    Image.init()
    monkeypatch.setattr(Image, "OPEN", dict(Image.OPEN))
    monkeypatch.setattr(Image, "ID", list(Image.ID))

    def register() -> None:
        Image.register_open("HEIF", HeifFile, lambda start: start[4:12] == b"ftypheic")

    package = SimpleNamespace(register_heif_opener=register)
    monkeypatch.setitem(sys.modules, "pillow_heif", package)


def heic_folder(root: Path) -> Path:
    for name in ("cat", "dog"):
        for i in range(4):
            (root / name).mkdir(parents=True, exist_ok=True)
            (root / name / f"IMG_{i}.HEIC").write_bytes(HEIC + f"{name}{i}".encode())
    return root


def test_a_folder_of_heic_says_pillow_heif_once(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="pillow-heif") as error:
        picture_folder(heic_folder(tmp_path))
    assert str(error.value).count("pillow-heif") == 1 and "8: cat/IMG_0.HEIC" in str(error.value)
    assert "--skip-unreadable" in str(error.value)


def test_heic_is_read_where_pillow_heif_is_installed(tmp_path: Path, heif: None) -> None:
    dataset = picture_folder(heic_folder(tmp_path), skip_unreadable=True)
    assert sum(map(len, dataset.files.values())) == 8
    assert fault(tmp_path / "cat" / "IMG_0.HEIC") == ""


def test_causes_are_told_together_and_a_few_of_many(tmp_path: Path) -> None:
    heic_folder(tmp_path)
    for i, content in enumerate((b"", b"<html>", b"%PDF", b"PK\3\4")):
        (tmp_path / "cat" / f"{i}.jpg").write_bytes(content)
    picture(tmp_path / "dog" / "1.jpg", 1)
    with pytest.raises(ValueError, match="pillow-heif|empty") as error:
        picture_folder(tmp_path)
    assert "\n" not in str(error.value) and "…" in str(error.value)
    assert "dog/1.jpg" not in str(error.value)


# ---- strips -------------------------------------------------------------------------------------


def test_pixels_beside_the_crop_do_not_count(tmp_path: Path) -> None:
    pixels = np.zeros((1, 30_000, 3), np.uint8)
    pixels[:, 15_000 - 40 : 15_000 + 40] = 200
    Image.fromarray(pixels).save(tmp_path / "line.png")
    shown = plain_view(read_picture(tmp_path / "line.png"), 224)
    assert shown.shape == (3, 224, 224) and (shown == 200).all()
