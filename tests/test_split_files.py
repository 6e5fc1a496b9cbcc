"""Split files as editors and systems write them, and what they must not name."""

from __future__ import annotations

import json
import unicodedata
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from photo_archives import SPLIT_FILES, make, picture, write
from test_visual_tasks import write_task

from dip_lib.data.photos import load_photos
from dip_lib.data.split_files import below, parse_split, read_text
from dip_lib.data.vtab import listed_pictures

pytestmark = pytest.mark.filterwarnings("ignore:.*Do not compare its results")

FOLDER, FILE, _ = SPLIT_FILES["eurosat"]
SPLIT = f"eurosat/{FILE}"
ROWS = {
    "train": [["a.jpg", 0, "cat"], ["b.jpg", 1, "dog"]],
    "val": [],
    "test": [["c.jpg", 1, "dog"]],
}


def parse(split: Any, root: Path = Path("nowhere")) -> Any:
    return parse_split(json.dumps(split), root / "split.json", root, "Fetch it again")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    make("eurosat", tmp_path)
    return tmp_path


# ---- how they are written -----------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_byte_order_marks_are_read(data: Path, encoding: str) -> None:
    expected = load_photos("eurosat", data)
    mark = "\ufeff" if encoding in ("utf-16-le", "utf-16-be") else ""
    text = (data / SPLIT).read_text("utf-8")
    (data / SPLIT).write_bytes(f"{mark}{text}".encode(encoding))
    found = load_photos("eurosat", data)
    assert (found.class_names, found.files) == (expected.class_names, expected.files)


@pytest.mark.parametrize("name", ["fgvc_aircraft", "imagenet"])
def test_byte_order_marks_of_other_lists_are_read(tmp_path: Path, name: str) -> None:
    make(name, tmp_path)
    expected = load_photos(name, tmp_path)
    for path in (tmp_path / name).glob("*.txt"):
        text = path.read_text("utf-8").replace("\n", "\r\n")
        path.write_bytes(text.encode("utf-8-sig"))
    found = load_photos(name, tmp_path)
    assert (found.class_names, found.files) == (expected.class_names, expected.files)


def relist(data: Path, change: Callable[[str], str]) -> None:
    """Change every path of EuroSAT's split file."""
    split = json.loads((data / SPLIT).read_text("utf-8"))
    split = {s: [[change(p), y, c] for p, y, c in rows] for s, rows in split.items()}
    (data / SPLIT).write_text(json.dumps(split))


def test_windows_paths_and_whole_paths_are_read(data: Path) -> None:
    expected, original = load_photos("eurosat", data), (data / SPLIT).read_text()
    whole = (data / FOLDER).resolve().as_posix()
    for change in (
        lambda path: path.replace("/", "\\"),
        lambda path: f".\\{path}".replace("/", "\\"),
        lambda path: f"{whole}/{path}",
    ):
        (data / SPLIT).write_text(original)
        relist(data, change)
        found = load_photos("eurosat", data)
        assert [
            [(path.removeprefix("./"), y) for path, y in found.files[s]] for s in found.files
        ] == [*expected.files.values()]
        assert all((found.root / path).is_file() for path, _ in found.files["test"])


def test_a_backslash_in_a_name_stays(tmp_path: Path) -> None:
    picture(tmp_path / "a\\b.jpg", 1)
    assert below("a\\b.jpg", tmp_path) == "a\\b.jpg"
    assert below("c\\b.jpg", tmp_path) == "c/b.jpg"


def test_an_accented_path_is_found_in_either_unicode_form(tmp_path: Path) -> None:
    composed, decomposed = (
        unicodedata.normalize(form, "crème/brûlée.jpg") for form in ("NFC", "NFD")
    )
    for here, listed in ((composed, decomposed), (decomposed, composed)):
        root = picture(tmp_path / ascii(here).strip("'")[:4] / here, 1).parents[1]
        assert below(listed, root) == here
    assert below(composed, tmp_path) == composed  # where there is neither


# ---- what they must not hold --------------------------------------------------------------------

OUTSIDE = [
    "../a.jpg",
    "x/../../a.jpg",
    "..\\a.jpg",
    "/etc/passwd",
    "C:\\pictures\\a.jpg",
    "c:/pictures/a.jpg",
    "\\\\server\\share\\a.jpg",
    "",
    ".",
    "a\0.jpg",
]


@pytest.mark.parametrize("path", OUTSIDE)
def test_paths_that_lead_outside_are_refused_by_name(tmp_path: Path, path: str) -> None:
    with pytest.raises(ValueError, match="below"):
        below(path, tmp_path / "pictures")
    with pytest.raises(ValueError, match=r"split\.json"):
        parse({**ROWS, "val": [[path, 0, "cat"]]}, tmp_path)


@pytest.mark.parametrize(
    ("split", "named"),
    [
        ({"train": [], "val": [], "test": []}, "no pictures"),
        ({**ROWS, "test": [["c.jpg", 2, ""]]}, "2"),
        ({**ROWS, "test": [["c.jpg", 2, None]]}, "2"),
        ({**ROWS, "test": [["c.jpg", 2, "_ _"]]}, "2"),
        ({**ROWS, "test": [["c.jpg", 2, "\ud800"]]}, "2"),
        ({**ROWS, "test": [["c.jpg", 1, None]]}, "several"),
        ({**ROWS, "test": [["c.jpg", 1.5, "dog"]]}, "1.5"),
        ({**ROWS, "test": [["c.jpg", True, "dog"]]}, "True"),
        ({**ROWS, "test": [["c.jpg", None, "dog"]]}, "None"),
        ({**ROWS, "test": [["c.jpg", float("inf"), "dog"]]}, "inf"),
        ({**ROWS, "test": [["c.jpg", -1, "bird"]]}, "-1"),
        ({**ROWS, "test": [[7, 1, "dog"]]}, "7"),
        ({**ROWS, "test": [["c.jpg", 1, ["dog"]]]}, "dog"),
        ({**ROWS, "test": [["c.jpg", 1]]}, "class name"),
        ({**ROWS, "test": ["c1d"]}, "c1d"),
        ({**ROWS, "test": None}, "train"),
        ([], "train"),
        (3, "train"),
    ],
)
def test_a_split_file_of_another_kind_is_refused(split: Any, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        parse(split)


def test_a_deep_nest_is_no_split_file() -> None:
    with pytest.raises(ValueError, match="train"):
        parse_split("[" * 10**5, Path("split.json"), Path(), "")


def test_names_may_be_numbers_and_labels_text() -> None:
    names, files = parse({"train": [["a", "0", 7], ["b", 1.0, "x_y"]], "val": [], "test": []})
    assert names == ["7", "x y"] and files["train"] == [("a", 0), ("b", 1)]


def test_text_of_no_encoding_is_told(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"caf\xe9")
    with pytest.raises(UnicodeDecodeError):
        read_text(tmp_path / "a")


# ---- a picture in two splits or under two labels ------------------------------------------------


@pytest.mark.parametrize(
    ("add", "said"),
    [
        (lambda split: split["test"].append(split["train"][0]), "two splits"),
        (lambda split: split["val"].append(split["test"][0]), "two splits"),
        (
            lambda split: split["train"].append([split["train"][0][0], *split["train"][1][1:]]),
            "two labels",
        ),
    ],
)
def test_a_picture_listed_twice_is_named(
    data: Path, add: Callable[[dict[str, Any]], Any], said: str
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", ".*Do not compare")
        load_photos("eurosat", data)
    split = json.loads((data / SPLIT).read_text("utf-8"))
    split["train"].sort(key=lambda entry: entry[1])
    split["train"][1:2] = [entry for entry in split["train"] if entry[1] == 1][:1]
    add(split)
    (data / SPLIT).write_text(json.dumps(split))
    with pytest.warns(UserWarning, match=said):
        assert load_photos("eurosat", data).files


# ---- VTAB-1k and FGVC ---------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["vtab", "fgvc"])
def test_a_task_is_read_as_systems_write_it(tmp_path: Path, kind: str) -> None:
    folder = write_task(tmp_path / "task", kind)
    expected = listed_pictures(folder)
    for path in [*folder.glob("*.txt"), *folder.glob("*.json")]:
        slash = "\\\\" if kind == "fgvc" else "\\"
        text = path.read_text("utf-8").replace("images/", f"images{slash}")
        path.write_bytes(text.replace("\n", "\r\n").encode("utf-8-sig"))
    found = listed_pictures(folder)
    assert (found.files, found.class_names) == (expected.files, expected.class_names)


@pytest.mark.parametrize("kind", ["vtab", "fgvc"])
@pytest.mark.parametrize("path", ["../a.png", "/etc/passwd", "C:\\a.png"])
def test_a_task_names_nothing_outside(tmp_path: Path, kind: str, path: str) -> None:
    folder = write_task(tmp_path / "task", kind)
    name = "test.txt" if kind == "vtab" else "test.json"
    write(folder / name, f"{path} 3\n" if kind == "vtab" else json.dumps({path: 3}))
    with pytest.raises(ValueError, match=name):
        listed_pictures(folder)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("train.json", "[]"),
        ("train.json", "{}"),
        ("train.json", '{"a.png": "x"}'),
        ("train.json", '{"a.png": null}'),
        ("train.json", "{"),
        ("test.json", "3"),
    ],
)
def test_a_damaged_task_is_told(tmp_path: Path, name: str, text: str) -> None:
    folder = write_task(tmp_path / "task", "fgvc")
    write(folder / name, text)
    with pytest.raises(ValueError, match=name):
        listed_pictures(folder)


def test_a_task_that_tests_what_it_trained_says_so(tmp_path: Path) -> None:
    folder = write_task(tmp_path / "task", "vtab")
    with open(folder / "test.txt", "a") as file:
        file.write((folder / "train800.txt").read_text().splitlines()[0] + "\n")
    with pytest.warns(UserWarning, match="two splits"):
        listed_pictures(folder)
