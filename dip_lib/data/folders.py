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
from dataclasses import replace
from itertools import chain
from pathlib import Path

from tqdm import tqdm

from dip_lib.data.class_tree import SPLITS, class_tree
from dip_lib.data.contents import alike
from dip_lib.data.decode import fault
from dip_lib.data.names import by_name, check_class_names, encoded, some
from dip_lib.data.pictures import Pictures
from dip_lib.data.repeats import told_of_repeats
from dip_lib.data.splits import Files

TEMPLATE = "a photo of a {}."
CAUSES = 3
"""An error says at most so many causes, each with its files."""


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
        order = sorted(paths, key=lambda path: (hashlib.sha256(encoded(path)).digest(), path))
        half, fifth = len(order) // 2, max(1, len(order) // 5)
        cuts = (0, half, half + fifth, len(order))
        for split, start, end in zip(SPLITS, cuts, cuts[1:], strict=False):
            files[split] += [(path, label) for path in sorted(order[start:end], key=by_name)]
    return files


def _faults(paths: Sequence[str], root: Path, name: str, whole: bool) -> dict[str, str]:
    """What is wrong with each picture that cannot be read; all pixels are read if ``whole``."""
    bar = tqdm(paths, desc=f"checking {name}", unit="picture", mininterval=1, delay=2)
    return {path: why for path in bar if (why := fault(root / path, whole))}


def _told_of_faults(root: Path, faults: dict[str, str]) -> str:
    """The unreadable pictures, those of one cause together."""
    by_cause: dict[str, list[str]] = defaultdict(list)
    for path, why in faults.items():
        by_cause[why].append(path)
    causes = [f"{some(paths)}: {why}" for why, paths in by_cause.items()]
    more = ["…"] if len(causes) > CAUSES else []
    return f"no readable pictures in {root}, {'. And '.join([*causes[:CAUSES], *more])}."


def _pictures(
    name: str,
    names: list[str],
    root: Path,
    listed: Files,
    template: str,
    skip: bool,
) -> Pictures:
    """The dataset of ``listed``: all three splits, or "train" alone, which is dealt."""
    check_class_names(names)
    paths = sorted({path for path, _ in chain(*listed.values())}, key=by_name)
    if faults := _faults(paths, root, name, whole=skip):
        told = _told_of_faults(root, faults)
        if not skip:
            remedy = "Or leave them out: `dip fit --skip-unreadable`, in Python"
            raise ValueError(f"{told} {remedy} picture_folder(..., skip_unreadable=True).")
        warnings.warn(f"left out: {told}", stacklevel=3)
    kept = {s: [e for e in entries if e[0] not in faults] for s, entries in listed.items()}
    if bare := sorted(set(range(len(names))) - {label for _, label in kept["train"]}):
        lost = some([names[label] for label in bare])
        raise ValueError(f"classes of {name} without a picture to train on, {lost}")
    files = kept if len(kept) > 1 else _deal(kept["train"])
    if told := told_of_repeats(name, files, alike(root, [p for p in paths if p not in faults])):
        warnings.warn(told, stacklevel=3)
    return Pictures(name, tuple(names), root, files, template)


def picture_folder(
    path: str | Path, template: str = TEMPLATE, skip_unreadable: bool = False
) -> Pictures:
    """Any folder of class folders as a dataset.

    Hidden files, what systems leave (``Thumbs.db``, ``__MACOSX``) and what is no picture (side-car
    JSON) are left out and counted in ``left_out``; links are followed (``dip_lib.data.walk``).
    ``notes`` of the dataset say how the folder was read. Pictures of equal content in two splits or
    classes are named in a warning.

    Args:
        path: holds one folder a class; or train/ and val/ or test/ (or both), each of which holds
            one folder a class. Other usual names ("Training", "valid") are known in any case, and
            a folder with such a name that holds pictures itself is a class. A folder that holds
            all others is entered. Where one of val/ and test/ is missing the other is both, as
            with ImageNet in the peers. Without train/ the pictures are dealt into splits.
        template: the zero-shot template, with {} for the class name. A class name is the name of
            its folder, with spaces for underscores; labels follow the sorted folder names.
        skip_unreadable: leave out, with a warning, what is not readable as a picture; this
            decodes every file once.

    Raises:
        ValueError: no, empty or nested class folders, files that are no pictures (unless skipped),
            two names that give the same prompt, a name that is blank or no UTF-8, a class that
            only val/ or test/ has.
    """
    tree = class_tree(Path(path).expanduser().resolve())
    classes = [*tree.by_split["train"]]
    if unknown := sorted(set().union(*tree.by_split.values()) - set(classes)):
        told = f"val/ or test/ of {tree.root} has classes that train/ lacks"
        raise ValueError(f"{told}, {some(unknown)}")
    listed = {
        split: [(file, classes.index(name)) for name, files in has.items() for file in files]
        for split, has in tree.by_split.items()
    }
    names = [c.replace("_", " ") for c in classes]
    found = _pictures(tree.root.name, names, tree.root, listed, template, skip_unreadable)
    return replace(found, left_out=dict(tree.left_out), notes=tree.notes)


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
