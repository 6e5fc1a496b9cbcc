"""Own pictures as a dataset: a folder of class folders, or a list of (path, label).

Pictures that come without splits are dealt within each class, in the order of a hash of their
path: half train, a fifth val, the rest test, the shares of the peers. The deal is the same on
every machine, and does not change when the folder moves.
"""

from __future__ import annotations

import hashlib
import os
import warnings
from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

from PIL import Image
from tqdm import tqdm

from dip_lib.data.pictures import BROKEN, Pictures
from dip_lib.data.splits import Files, check_class_names
from dip_lib.data.views import rgb

SPLITS = ("train", "val", "test")
TEMPLATE = "a photo of a {}."
NAMED = 10
"""An error names at most so many files."""


def some(what: Sequence[str]) -> str:
    """The first ten, with the count of all."""
    return f"{len(what)}: {', '.join(what[:NAMED])}{', …' * (len(what) > NAMED)}"


def listing(folder: Path) -> list[str]:
    """Sorted names of what a folder holds, without hidden files.

    Raises:
        ValueError: a folder that is not there or cannot be read.
    """
    try:
        return sorted(name for name in os.listdir(folder) if not name.startswith("."))
    except OSError as error:
        raise ValueError(
            f"cannot read the folder {folder}: {error.strerror}. Check the path and its permissions"
        ) from error


def class_folders(path: Path) -> dict[str, list[str]]:
    """Class folder -> its files, both sorted by name; hidden files and loose files do not count.

    Raises:
        ValueError: no class folder, an empty one, or one that cannot be read.
    """
    files_of = {name: listing(path / name) for name in listing(path) if (path / name).is_dir()}
    if not files_of:
        raise ValueError(f"{path} holds no class folders: put the pictures of each class in one")
    if empty := [name for name, files in files_of.items() if not files]:
        raise ValueError(f"empty class folders in {path}, {some(empty)}. Fill or remove them.")
    return files_of


def _fault(path: Path, whole: bool) -> str:
    """What is wrong with a picture file, or ""; its pixels are read only if ``whole``."""
    try:
        with Image.open(path) as picture:
            _ = rgb(picture) if whole else None
    except BROKEN as error:
        return str(error)
    return ""


def _deal(entries: Sequence[tuple[str, int]]) -> Files:
    """Each class's pictures in three splits; see the top of this file."""
    by_class: dict[int, list[str]] = defaultdict(list)
    for path, label in entries:
        by_class[label].append(path)
    files: dict[str, list[tuple[str, int]]] = {split: [] for split in SPLITS}
    for label, paths in sorted(by_class.items()):
        if len(paths) < 3:
            remedy = "Add some, or sort the pictures into train/, val/ and test/ yourself"
            raise ValueError(f"{paths}: to be split, a class needs three pictures. {remedy}")
        order = sorted(paths, key=lambda path: hashlib.sha256(path.encode()).digest())
        half, fifth = len(order) // 2, max(1, len(order) // 5)
        cuts = (0, half, half + fifth, len(order))
        for split, start, end in zip(SPLITS, cuts, cuts[1:], strict=False):
            files[split] += [(path, label) for path in sorted(order[start:end])]
    return files


def _pictures(
    name: str, names: list[str], root: Path, listed: Files, template: str, skip: bool
) -> Pictures:
    """The dataset of ``listed``: all three splits, or "train" alone, which is dealt."""
    check_class_names(names)
    paths = sorted({path for path, _ in chain(*listed.values())})
    bar = tqdm(paths, desc=f"checking {name}", unit="picture", mininterval=1, delay=2)
    if faults := {path: fault for path in bar if (fault := _fault(root / path, whole=skip))}:
        told = f"no readable pictures in {root}, {some([*faults])}: {next(iter(faults.values()))}"
        if not skip:
            raise ValueError(f"{told}. Remove them, or leave them out with skip_unreadable=True.")
        warnings.warn(f"left out: {told}", stacklevel=3)
    kept = {s: [e for e in entries if e[0] not in faults] for s, entries in listed.items()}
    if bare := sorted(set(range(len(names))) - {label for _, label in kept["train"]}):
        lost = some([names[label] for label in bare])
        raise ValueError(f"classes of {name} without a picture to train on, {lost}")
    files = kept if len(kept) > 1 else _deal(kept["train"])
    return Pictures(name, tuple(names), root, files, template)


def picture_folder(
    path: str | Path, template: str = TEMPLATE, skip_unreadable: bool = False
) -> Pictures:
    """Any folder of class folders as a dataset.

    Args:
        path: holds one folder a class; or train/ and val/ or test/ (or both), each of which holds
            one folder a class. Where one of val/ and test/ is missing the other is both, as with
            ImageNet in the peers. Without train/ the pictures are dealt into splits.
        template: the zero-shot template, with {} for the class name. A class name is the name of
            its folder, with spaces for underscores; labels follow the sorted folder names.
        skip_unreadable: leave out, with a warning, what is not readable as a picture; this
            decodes every file once.

    Raises:
        ValueError: no or empty class folders, files that are no pictures (unless skipped), two
            names that give the same prompt, a class that only val/ or test/ has.
    """
    root = Path(path).expanduser().resolve()
    there = [split for split in SPLITS if os.path.isdir(root / split)]
    parts = {"train": ""}
    if "train" in there:
        if len(there) == 1:
            raise ValueError(f"{root} has train/ but neither val/ nor test/: add one of them")
        parts = {split: f"{split if split in there else there[-1]}/" for split in SPLITS}
    by_split = {split: class_folders(root / part) for split, part in parts.items()}
    classes = [*by_split["train"]]
    if unknown := sorted(set().union(*by_split.values()) - set(classes)):
        raise ValueError(f"val/ or test/ of {root} has classes that train/ lacks, {some(unknown)}")
    listed = {
        split: [(f"{parts[split]}{c}/{file}", classes.index(c)) for c in has for file in has[c]]
        for split, has in by_split.items()
    }
    names = [c.replace("_", " ") for c in classes]
    return _pictures(root.name, names, root, listed, template, skip_unreadable)


def picture_list(
    entries: Sequence[tuple[str | Path, int | str]],
    class_names: Sequence[str] = (),
    name: str = "pictures",
    template: str = TEMPLATE,
    skip_unreadable: bool = False,
) -> Pictures:
    """A list of (path, label or class name) as a dataset; the pictures are dealt into splits.

    For splits of your own make a :class:`Pictures` of three lists.

    Args:
        entries: paths, and class names or places in ``class_names``.
        class_names: in the order of the labels; default the sorted names of the entries.
        name: of the dataset.
        template, skip_unreadable: as in :func:`picture_folder`.

    Raises:
        ValueError: an empty list, a file listed twice (it could train and test), a label or name
            that is not in ``class_names``, and what :func:`picture_folder` raises.
    """
    names_in_order = [*class_names] or sorted(
        {label for _, label in entries if isinstance(label, str)}
    )
    place: dict[int | str, int] = {each: i for i, each in enumerate(names_in_order)}
    place |= {i: i for i in range(len(class_names))}
    if unknown := sorted({str(label) for _, label in entries if label not in place}):
        remedy = "Give class_names for numbers, which count from 0"
        raise ValueError(f"labels without a class name, {some(unknown)}. {remedy}")
    if not entries:
        raise ValueError("the list of pictures is empty")
    paths = [Path(os.path.abspath(Path(path).expanduser())) for path, _ in entries]
    root = Path(os.path.commonpath([path.parent for path in paths]))
    below = [path.relative_to(root).as_posix() for path in paths]
    if twice := sorted(path for path, count in Counter(below).items() if count > 1):
        raise ValueError(f"pictures listed more than once in {root}, {some(twice)}")
    listed = [(path, place[label]) for path, (_, label) in zip(below, entries, strict=True)]
    names = [each.replace("_", " ") for each in names_in_order]
    return _pictures(name, names, root, {"train": listed}, template, skip_unreadable)
