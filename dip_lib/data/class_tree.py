"""Which folders below a folder are classes, and which are splits: by their names and contents.

A class is a folder with its pictures directly in it. A split is a folder with a usual name that
holds such folders, so that a class may be called "train". Pictures are never lost in silence: what
fits no reading is an error that says how the folder was read and what would make it fit.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dip_lib.data.names import nfc, some
from dip_lib.data.walk import Folder, look, pictures_below, told

SPLITS = ("train", "val", "test")
SPLIT_OF = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
"""Usual names of split folders, in lower case."""
WRAPPERS = 3
"""Folders around the class folders that are entered, where each holds the next alone."""

Classes = dict[str, list[str]]
"""Class name, in one Unicode form -> its files as paths below the folder that was asked for."""


@dataclass(frozen=True)
class ClassTree:
    """What a folder was read as.

    Attributes:
        root: the folder that holds the classes or the splits.
        by_split: split -> its classes; "train" alone where the folder has no splits.
        left_out: kind of what is no picture -> how many.
        notes: what else to tell the user: where it was entered, what is not read.
    """

    root: Path
    by_split: Mapping[str, Classes]
    left_out: Counter[str]
    notes: tuple[str, ...]


def class_tree(path: Path) -> ClassTree:
    """Read a folder of class folders, or of splits of them.

    Raises:
        ValueError: no class folders, empty ones, folders in class folders, splits that are
            incomplete or there twice, a folder that cannot be read.
    """
    top, children, notes, left_out = _unwrapped(path)
    root = top.path
    if top.files:
        notes.append(f"not read, beside the folders of {root}, {some(top.files)}")
    if not (parts := _split_folders(root, children)):
        by_split, left = {"train": _classes(root, "", top)}, [*children.values()]
    else:
        if others := [name for name in children if name not in parts.values()]:
            notes.append(f"not read, beside {parts['train']}/, {some([f'{o}/' for o in others])}")
        by_split, left = {}, [children[folder] for folder in parts.values()]
        for split in SPLITS:
            other = "test" if split == "val" else "val"
            if split not in parts:
                notes.append(f"{root} has no {split}/: {parts[other]}/ stands for both")
            folder = parts.get(split) or parts[other]
            by_split[split] = _classes(root, f"{folder}/", children[folder])
        left += [look(each.path / name) for each in left for name in each.folders]
    for each in left:
        left_out += each.left_out
    return ClassTree(root, by_split, left_out, tuple(notes))


def class_folders(path: Path) -> Classes:
    """Class folder -> the names of its files, both sorted.

    Raises:
        ValueError: no class folder, an empty one, one that holds folders of pictures, or one that
            cannot be read.
    """
    found = _classes(path, "", look(path))
    return {name: [file.split("/")[-1] for file in files] for name, files in found.items()}


def _unwrapped(path: Path) -> tuple[Folder, dict[str, Folder], list[str], Counter[str]]:
    """The folder that has more than one folder or holds classes, the folders in it, what to say of
    the way there, and what is left out in it and around it."""
    top, notes = look(path), list[str]()
    left_out = Counter(top.left_out)
    children = {name: look(path / name) for name in top.folders}
    for _ in range(WRAPPERS):
        inner = next(iter(children.values()), top)
        whole = len(children) == 1 and not top.files and not inner.files and inner.folders
        if not whole or inner.path.name.lower() in SPLIT_OF or not pictures_below(inner.path)[0]:
            break
        top, children = inner, {name: look(inner.path / name) for name in inner.folders}
        notes = [f"read the folders of {inner.path}"]
        left_out += inner.left_out
    return top, children, notes, left_out


def _split_folders(root: Path, children: Mapping[str, Folder]) -> dict[str, str]:
    """Split -> its folder; {} if the folders are classes."""
    found: dict[str, list[str]] = defaultdict(list)
    loose = list[str]()  # called like splits, but not of their shape
    for name, folder in children.items():
        if split := SPLIT_OF.get(name.lower()):
            shaped = any(look(folder.path / each).files for each in folder.folders)
            (found[split] if shaped else loose).append(name)
    if not found:
        if len(loose) > 1 and len(loose) == len(children):
            raise ValueError(
                f"{', '.join(f'{each}/' for each in loose)} of {root} hold no class folders: put "
                "the pictures of each class in a folder of its own, in each of them"
            )
        return {}
    if twice := [names for names in found.values() if len(names) > 1]:
        raise ValueError(f"{' and '.join(twice[0])} of {root} are the same split: keep one there")
    others = [name for name in children if not any(name in names for names in found.values())]
    if "train" not in found or (len(found) == 1 and others and not loose):
        if others:
            _refuse_nested(root, [f"{names[0]}/" for names in found.values()])
        raise ValueError(
            f"{root} has {', '.join(each[0] for each in found.values())}/ but no train/"
        )
    if loose:
        raise ValueError(
            f"{', '.join(f'{each}/' for each in loose)} of {root} has no class folders as "
            f"{found['train'][0]}/ has: sort its pictures into them, or move it elsewhere"
        )
    if len(found) == 1:
        raise ValueError(
            f"{root} has {found['train'][0]}/ but neither val/ nor test/: add one of them, or give "
            f"{root / found['train'][0]}, whose pictures are then split"
        )
    return {split: names[0] for split, names in found.items()}


def _classes(root: Path, part: str, folder: Folder) -> Classes:
    """The classes in ``part`` of ``root``, "" or a split's folder with a slash."""
    if not folder.folders:
        instead = f", but pictures, such as {folder.files[0]}" if folder.files else ""
        raise ValueError(
            f"{folder.path} holds no class folders{instead}: put the pictures of each class in one"
        )
    found, empty, nested = Classes(), list[str](), list[str]()
    for name in folder.folders:
        about = look(folder.path / name)
        inner = [each for each in about.folders if pictures_below(about.path / each)[0]]
        nested += [f"{name}/{each}" for each in inner]
        if not about.files and not inner:
            empty.append(f"{name} ({told(about.left_out)})" if about.left_out else name)
        if (one := nfc(name)) in found:
            raise ValueError(
                f"{folder.path} has the class folder {name!r} twice, in two Unicode forms: "
                f"{name!a} and another. Put their pictures together"
            )
        found[one] = [f"{part}{name}/{file}" for file in about.files]
    if nested:
        _refuse_nested(folder.path, nested)
    if empty:
        raise ValueError(
            f"empty class folders in {folder.path}, {some(empty)}. Fill them, or move them "
            "elsewhere"
        )
    return found


def _refuse_nested(root: Path, nested: Sequence[str]) -> None:
    """Raise ValueError for folders of pictures in class folders."""
    outer = nested[0].split("/")[0]
    raise ValueError(
        f"class folders of {root} hold folders of pictures, {some(nested)}. A class is one folder "
        f"with its pictures directly in it. If {outer} is a class, move the pictures up into "
        f"{outer}/; if the folders in it are the classes, give {root / outer}; or leave all where "
        "it is and list each picture with its class in Python: picture_list([(path, class), ...])"
    )
