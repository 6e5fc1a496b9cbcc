"""Split files and folders that nobody would write on purpose, and what must hold for all of them.

Whatever is read gives a dataset or one of the documented errors, ends, and opens nothing outside
its folder.
"""

from __future__ import annotations

import io
import json
import os
import signal
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from PIL import Image

from dip_lib.data.class_tree import class_tree
from dip_lib.data.folders import picture_folder
from dip_lib.data.pictures import Pictures
from dip_lib.data.split_files import parse_split, read_text
from dip_lib.data.vtab import listed_pictures
from dip_lib.data.walk import pictures_below

SECONDS = 60
"""Far more than any of these needs: what takes longer hangs."""

# ---- what is opened -----------------------------------------------------------------------------

_opened: list[str] | None = None


def _note(event: str, arguments: tuple[Any, ...]) -> None:
    looks = event in ("open", "os.listdir", "os.scandir")
    if looks and _opened is not None and isinstance(arguments[0], str | bytes | os.PathLike):
        _opened.append(os.fsdecode(arguments[0]))


sys.addaudithook(_note)


@contextmanager
def inside(root: Path) -> Iterator[None]:
    """What runs here ends, and opens no file and no folder of ``root``'s neighbours."""
    global _opened

    def hangs(*_: Any) -> None:
        raise AssertionError(f"no end after {SECONDS} s")

    before = signal.signal(signal.SIGALRM, hangs)
    signal.alarm(SECONDS)
    _opened = []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
        opened = [os.path.realpath(path) for path in _opened]
    finally:
        _opened = None
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    scratch, own = os.path.realpath(root.parent), os.path.realpath(root)
    beside = [path for path in opened if path != own and not path.startswith(f"{own}{os.sep}")]
    assert not [path for path in beside if path.startswith(scratch)]


# ---- split files --------------------------------------------------------------------------------

NAMES = st.sampled_from(["cat", "dog", "", " ", "_", "a b", "7", "é", "\ud800", "x" * 300])
PATHS = st.one_of(
    st.lists(st.sampled_from(["a", "..", ".", "", "é", "x.jpg", "\0", "C:"]), max_size=4).flatmap(
        lambda parts: st.sampled_from(["/", "\\"]).map(lambda slash: slash.join(parts))
    ),
    st.text(max_size=8),
)
LABELS = st.one_of(st.integers(-1, 3), st.sampled_from([0, 0, 0, 1, 1.5, True, None, "1", 10**30]))
GOOD = st.sampled_from(["a.jpg", "b/c.jpg", "d\\e.jpg", "./é.jpg", "1.jpg", "2.jpg"])
SOUND = st.builds(
    lambda path, label: [path, label, ("cat", "a_dog")[label]], GOOD, st.integers(0, 1)
)
ODD = st.one_of(
    st.tuples(PATHS, st.just(0), st.just("cat")).map(list),
    st.tuples(GOOD, LABELS, st.one_of(NAMES, st.none(), st.integers(0, 1))).map(list),
    st.lists(PATHS, max_size=4),
)
ANYTHING = st.recursive(
    st.one_of(st.none(), st.booleans(), st.floats(), st.integers(), st.text(max_size=5)),
    lambda each: (
        st.lists(each, max_size=3) | st.dictionaries(st.text(max_size=5), each, max_size=3)
    ),
    max_leaves=8,
)
SOUND_ROWS = st.lists(SOUND, min_size=1, max_size=6)
ODD_ROWS = st.builds(lambda rows, odd: [*rows, odd], SOUND_ROWS, ODD)
ROWS = st.one_of(SOUND_ROWS, ODD_ROWS, ANYTHING)
SPLITS = st.one_of(
    st.fixed_dictionaries({"train": SOUND_ROWS, "val": SOUND_ROWS, "test": SOUND_ROWS}),
    st.fixed_dictionaries({"train": SOUND_ROWS, "val": st.just([]), "test": ODD_ROWS}),
    st.dictionaries(st.sampled_from(["train", "val", "test", "Train"]), ROWS),
    ANYTHING,
)
TASKS = st.one_of(
    st.dictionaries(GOOD, st.integers(0, 1), min_size=2),
    st.dictionaries(st.one_of(GOOD, PATHS), LABELS),
    ANYTHING,
)
MARKS = st.sampled_from([b"", b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff"])
ENCODINGS = st.sampled_from(["utf-8", "utf-16", "utf-16-le", "latin-1"])


def _encode(text: str, encoding: str) -> bytes:
    return text.encode(encoding, "replace")


TEXT = st.text(max_size=40)
LINE = st.builds("{} {}".format, st.one_of(GOOD, GOOD, PATHS), st.one_of(st.integers(0, 1), LABELS))
SOUND_LINE = st.builds("{} {}".format, GOOD, st.integers(0, 1))
LINES = st.one_of(st.lists(SOUND_LINE, min_size=3), st.lists(LINE, max_size=5)).map("\n".join)


def _files(texts: st.SearchStrategy[str]) -> st.SearchStrategy[bytes]:
    """Texts as files: sound ones, and ones in other encodings or with other marks."""
    odd = st.builds(bytes.__add__, MARKS, st.builds(_encode, texts, ENCODINGS))
    return st.one_of(texts.map(lambda text: _encode(text, "utf-8")), odd, st.binary(max_size=60))


SPLIT_FILES = _files(st.one_of(SPLITS.map(json.dumps), SPLITS.map(json.dumps), TEXT))
JSON_LISTS = _files(st.one_of(TASKS.map(json.dumps), TEXT))
LINE_LISTS = _files(st.one_of(LINES, TEXT))
LISTS = st.one_of(
    st.tuples(st.just(True), st.tuples(JSON_LISTS, JSON_LISTS, JSON_LISTS)),
    st.tuples(st.just(False), st.tuples(LINE_LISTS, LINE_LISTS, LINE_LISTS)),
    st.tuples(st.just(False), LINES.map(lambda lines: (_encode(lines, "utf-8"),) * 3)),
)
"""Whether they are JSON, and the three lists."""


def check_below(root: Path, dataset_files: Any) -> None:
    """Every listed path lies below ``root``."""
    for entries in dataset_files.values():
        for path, label in entries:
            assert os.path.normpath(os.path.join(root, path)).startswith(f"{root}{os.sep}")
            assert isinstance(label, int)


def check_split_file(content: bytes) -> None:
    """A split file is read, or refused by ValueError."""
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch) / "data"
        root.mkdir()
        path = root / "split.json"
        path.write_bytes(content)
        with inside(root):
            try:
                names, files = parse_split(read_text(path), path, root, "Fetch it again")
            except ValueError:
                return
        assert names and all(name.strip() for name in names) and any(files.values())
        assert {y for entries in files.values() for _, y in entries} == {*range(len(names))}
        check_below(root, files)


def check_task(json_lists: bool, contents: tuple[bytes, bytes, bytes]) -> None:
    """The three lists of a VTAB-1k or FGVC folder are read, or refused by ValueError."""
    names = ("train.json", "val.json", "test.json")
    if not json_lists:
        names = ("train800.txt", "val200.txt", "test.txt")
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch) / "data"
        root.mkdir()
        for name, content in zip(names, contents, strict=True):
            (root / name).write_bytes(content)
        with inside(root):
            try:
                files = listed_pictures(root).files
            except ValueError:
                return
        check_below(root, files)


# ---- folder trees -------------------------------------------------------------------------------


def _png(colour: int) -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (2, 2), (colour, 0, 0)).save(data, "PNG")
    return data.getvalue()


PNGS = [_png(colour) for colour in range(0, 250, 10)]
PART = st.sampled_from(
    [
        *("cat", "dog", "train", "Val", "test", "valid", "animals", ".git", "__MACOSX", "@eaDir"),
        *("é", "e\u0301", "1.jpg", "2.jpg", "a.JSON", "Thumbs.db", "b", os.fsdecode(b"caf\xe9")),
    ]
)
CONTENT = st.one_of(
    st.sampled_from(PNGS),
    st.sampled_from(PNGS),
    st.sampled_from([b"", b"text", PNGS[0][:40], None]),  # None: a folder
    st.sampled_from([".", "..", "../cat", "cat", "train", "gone", "|"]),  # a link; |: a pipe
)
TREES = st.lists(st.tuples(st.lists(PART, min_size=1, max_size=4), CONTENT), max_size=12)
CLASSES = st.lists(st.sampled_from(PNGS), min_size=3, max_size=5, unique=True).map(
    lambda pngs: [(f"{i}.png", png) for i, png in enumerate(pngs)]
)


def grow(root: Path, tree: list[tuple[list[str], Any]]) -> None:
    """Make what can be made of a tree: a path through a file or a link is left out."""
    root.mkdir()
    for parts, content in tree:
        place = root.joinpath(*parts)
        if any((root.joinpath(*parts[:i])).is_symlink() for i in range(1, len(parts))):
            continue
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            if content is None:
                place.mkdir()
            elif content == "|":
                os.mkfifo(place)
            elif isinstance(content, str):
                place.symlink_to(content)
            elif not place.exists():
                place.write_bytes(content)
        except OSError:  # there is something else
            continue


def sort(tree: list[tuple[list[str], Any]], classes: list[list[tuple[str, bytes]]]) -> Any:
    """The tree with sound class folders in it."""
    names = ("cat", "dog", "train")
    sound = [([n, f], png) for n, files in zip(names, classes, strict=False) for f, png in files]
    return [*sound, *tree]


ALL_TREES = st.one_of(TREES, st.builds(sort, TREES, st.lists(CLASSES, min_size=2, max_size=3)))


def check_tree(tree: Any, skip: bool) -> None:
    """A folder is walked, read as classes, and a dataset, or refused by ValueError."""
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(os.path.realpath(scratch)) / "root"
        (root.parent / "neighbour").mkdir()
        (root.parent / "neighbour" / "1.png").write_bytes(PNGS[0])
        grow(root, tree)
        with inside(root):
            found, _ = pictures_below(root)
            try:
                read = class_tree(root)
                dataset = picture_folder(root, skip_unreadable=skip)
            except ValueError as error:
                assert not {"delete", "remove"} & {*str(error).lower().split()}
                dataset = None
            if dataset is not None:
                _walk(dataset)
        real = [os.path.realpath(path) for path in found if path.exists()]
        assert len(set(real)) == len(real) or any(path.is_symlink() for path in found)
        assert not any(part.startswith(".") for p in found for part in p.relative_to(root).parts)
        if dataset is not None:
            assert read.root == dataset.root
            check_below(dataset.root, dataset.files)
            assert {y for _, y in dataset.files["train"]} == {*range(len(dataset.class_names))}


def _walk(dataset: Pictures) -> None:
    """Hash and decode all pictures; what is damaged is named."""
    try:
        _ = dataset.fingerprint
        for split in dataset.files:
            for _ in dataset.batches(split, size=2):
                pass
    except ValueError as error:
        assert "cannot read the picture" in str(error)
