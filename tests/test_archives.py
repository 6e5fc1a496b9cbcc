"""Archives are unpacked whole or not at all, and nothing is written outside their folder."""

import gzip
import io
import os
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from dip_lib.errors import DamagedFileError, OutOfDiskError
from dip_lib.fetch.archives import present, require, unpack

PICTURES = {"images/cat/1.jpg": b"one", "images/dog/2.jpg": b"two" * 5000, "readme.txt": b"text"}


def tarred(path: Path, files: dict[str, bytes], mode: str = "w:gz") -> Path:
    with tarfile.open(path, mode) as file:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            file.addfile(member, io.BytesIO(data))
    return path


def zipped(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in files.items():
            file.writestr(name, data)
    return path


def special(path: Path, kind: bytes, name: str, target: str = "") -> Path:
    """A tar of a good picture and a member that is not a file."""
    tarred(path, {"images/1.jpg": b"one"}, "w")
    with tarfile.open(path, "a") as file:
        member = tarfile.TarInfo(name)
        member.type, member.linkname = kind, target
        file.addfile(member)
    return path


def tree(folder: Path) -> dict[str, bytes]:
    """Every file under a folder, scratch included."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def process(first: str, archive: Path, folder: Path) -> subprocess.CompletedProcess[bytes]:
    """Unpack in a process of its own, after a statement."""
    code = f"""
import os, resource, sys, tarfile
from pathlib import Path
from dip_lib.fetch.archives import unpack
{first}
unpack(Path(sys.argv[1]), Path(sys.argv[2]))
"""
    return subprocess.run([sys.executable, "-c", code, archive, folder], capture_output=True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "data" / "set").mkdir(parents=True)
    return tmp_path / "data" / "set"


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_a_tar_is_unpacked_whatever_its_compression_and_name(folder: Path, mode: str) -> None:
    unpack(tarred(folder.parent / "photos.tar.gz", PICTURES, mode), folder)
    assert tree(folder) == PICTURES


def test_a_zip_is_unpacked(folder: Path) -> None:
    unpack(zipped(folder.parent / "photos.zip", PICTURES | {"empty/": b""}), folder)
    assert tree(folder) == PICTURES and (folder / "empty").is_dir()


def test_of_an_archive_the_wanted_folder_is_taken_and_renamed(folder: Path) -> None:
    archive = zipped(folder.parent / "photos.zip", PICTURES)
    unpack(archive, folder, take="images")
    unpack(archive, folder, take="images", into="renamed")
    found = {"cat/1.jpg": b"one", "dog/2.jpg": b"two" * 5000}
    assert tree(folder) == found | {f"renamed/{name}": data for name, data in found.items()}


def test_an_archive_in_an_archive_is_unpacked(folder: Path) -> None:
    inner = tarred(folder.parent / "inner.tgz", PICTURES).read_bytes()
    outer = zipped(folder.parent / "outer.zip", {"set/inner.tgz": inner, "set/notes": b"x"})
    unpack(outer, folder, inner="set/inner.tgz")
    assert tree(folder) == PICTURES


def test_what_is_there_already_is_kept(folder: Path) -> None:
    (folder / "readme.txt").write_bytes(b"mine")
    (folder / "images").mkdir()  # empty: not there
    unpack(tarred(folder.parent / "photos.tgz", PICTURES), folder)
    assert tree(folder) == PICTURES | {"readme.txt": b"mine"}


@pytest.mark.parametrize("pack", [tarred, zipped])
@pytest.mark.parametrize("name", ["../evil", "images/../../evil", "{outside}/evil", "..\\evil"])
def test_nothing_is_written_outside_whatever_a_name_says(
    folder: Path, tmp_path: Path, pack: Callable[[Path, dict[str, bytes]], Path], name: str
) -> None:
    files = {"images/1.jpg": b"one", name.format(outside=tmp_path / "data"): b"evil"}
    archive, before = pack(tmp_path / "photos", files), tree(tmp_path)
    try:
        unpack(archive, folder)  # zipfile, and tarfile for an absolute name, keep the file inside
    except DamagedFileError:
        assert pack is tarred and tree(tmp_path) == before
    assert tree(tmp_path) == before | {
        f"data/set/{path}": content for path, content in tree(folder).items()
    }


@pytest.mark.parametrize("name", ["../evil", "images/../../evil"])
def test_a_tar_that_leads_outside_is_refused(folder: Path, tmp_path: Path, name: str) -> None:
    archive = tarred(tmp_path / "photos", {"images/1.jpg": b"one", name: b"evil"})
    with pytest.raises(DamagedFileError, match="evil") as caught:
        unpack(archive, folder)
    assert caught.value.path == str(archive)
    assert tree(tmp_path / "data") == {}


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
@pytest.mark.parametrize("target", ["../../secret", "{outside}/secret", "nothing", "images/link"])
def test_a_link_that_leads_outside_to_nothing_or_to_itself_is_refused(
    folder: Path, tmp_path: Path, kind: bytes, target: str
) -> None:
    (tmp_path / "secret").write_text("secret")
    archive = special(tmp_path / "photos", kind, "images/link", target.format(outside=tmp_path))
    with pytest.raises(DamagedFileError, match="photos"):
        unpack(archive, folder)
    assert tree(folder) == {}


def test_a_link_to_a_folder_is_refused(folder: Path, tmp_path: Path) -> None:
    archive = special(tmp_path / "photos", tarfile.SYMTYPE, "link", "images")
    with pytest.raises(DamagedFileError, match="link"):
        unpack(archive, folder)
    assert tree(folder) == {}


def test_files_behind_a_link_to_a_folder_outside_are_not_written_there(
    folder: Path, tmp_path: Path
) -> None:
    archive = special(tmp_path / "photos", tarfile.SYMTYPE, "images/link", str(tmp_path))
    with tarfile.open(archive, "a") as file:
        file.addfile(tarfile.TarInfo("images/link/evil"))
    with pytest.raises(DamagedFileError, match="link"):
        unpack(archive, folder)
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize(
    ("kind", "target"), [(tarfile.SYMTYPE, "1.jpg"), (tarfile.LNKTYPE, "images/1.jpg")]
)
def test_a_link_inside_becomes_a_copy(
    folder: Path, tmp_path: Path, kind: bytes, target: str
) -> None:
    unpack(special(tmp_path / "photos", kind, "images/link.jpg", target), folder)
    assert tree(folder) == {"images/1.jpg": b"one", "images/link.jpg": b"one"}
    assert not (folder / "images/link.jpg").is_symlink()


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_a_device_is_refused(folder: Path, tmp_path: Path, kind: bytes) -> None:
    with pytest.raises(DamagedFileError, match="images/null"):
        unpack(special(tmp_path / "photos", kind, "images/null"), folder)
    assert tree(folder) == {}


def test_a_link_in_a_zip_stays_the_text_it_is(folder: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as file:
        member = zipfile.ZipInfo("link")
        member.external_attr = 0o120777 << 16
        file.writestr(member, "/etc/passwd")
    unpack(tmp_path / "photos.zip", folder)
    assert not (folder / "link").is_symlink() and tree(folder) == {"link": b"/etc/passwd"}


def damaged(path: Path, how: str) -> Path:
    noise = {f"images/{i}.jpg": os.urandom(5000) for i in range(9)}
    if how == "encrypted":
        data = bytearray(zipped(path, noise).read_bytes())
        data[6] |= 1  # of the first member, in its own header and in the directory
        data[data.rindex(b"PK\x01\x02\x14", 0, data.index(b"PK\x01\x02") + 9) + 8] |= 1
        path.write_bytes(data)
        return path
    mode = f"w:{how.split()[-1]}" if how.endswith(("bz2", "xz")) else "w:gz"
    data = bytearray(
        (zipped(path, noise) if "zip" in how else tarred(path, noise, mode)).read_bytes()
    )
    if "cut" in how:
        data = data[: len(data) // 2]
    elif "flipped" in how:
        data[len(data) // 2] ^= 255
    elif how == "page":
        data = bytearray(b"<html>not here</html>")
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    "how",
    [
        *("cut tar", "flipped tar", "flipped tar bz2", "flipped tar xz"),
        *("cut zip", "flipped zip", "encrypted", "page"),
    ],
)
def test_a_damaged_archive_is_named_and_leaves_nothing(folder: Path, how: str) -> None:
    archive = damaged(folder.parent / "photos.bin", how)
    with pytest.raises(DamagedFileError) as caught:
        unpack(archive, folder)
    assert caught.value.path == str(archive) and caught.value.reason
    assert tree(folder) == {} and archive.exists()


def test_an_empty_file_is_no_archive(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "photos.tgz").write_bytes(gzip.compress(b""))
    with pytest.raises(DamagedFileError, match="photos.tgz"):
        unpack(tmp_path / "photos.tgz", folder, take="images")


def test_what_a_killed_unpacking_left_is_swept(folder: Path, tmp_path: Path) -> None:
    archive = tarred(tmp_path / "photos.tgz", PICTURES)
    killed = process("tarfile.copyfileobj = lambda *_: os.kill(os.getpid(), 9)", archive, folder)
    assert killed.returncode == -9 and [path.name for path in folder.iterdir()] == [".dip"]
    assert tree(folder) != {}
    unpack(archive, folder)
    assert tree(folder) == PICTURES


def test_a_disk_that_gets_full_leaves_nothing(folder: Path, tmp_path: Path) -> None:
    archive = zipped(tmp_path / "photos.zip", PICTURES | {"images/big.jpg": b"0" * 100_000})
    limit = "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))"
    full = process(limit, archive, folder)
    assert b"OSError: [Errno 27] File too large" in full.stderr
    assert tree(folder) == {}


def test_what_cannot_fit_is_not_begun(tmp_path: Path) -> None:
    require(tmp_path, 1)
    with pytest.raises(OutOfDiskError) as caught:
        require(tmp_path, 10**18)
    assert (caught.value.folder, caught.value.needs) == (str(tmp_path), "1.00EB")


def test_present_means_with_something_in_it(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "nothing").touch()
    (tmp_path / "some").write_text("x")
    (tmp_path / "dangling").symlink_to(tmp_path / "gone")
    (tmp_path / "link").symlink_to(tmp_path)
    names = ("empty", "nothing", "gone", "dangling", "some", "link")
    assert [present(tmp_path / name) for name in names] == [False] * 4 + [True] * 2
