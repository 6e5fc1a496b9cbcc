"""Pictures that a dataset has in two splits or under two labels.

A warning names them. It is no error: published lists have such pictures and are read as everybody
reads them, and photographs of an own folder may be alike on purpose.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Mapping

from dip_lib.data.names import by_name, some
from dip_lib.data.splits import Files


def repeated(files: Files, same: Mapping[str, Hashable]) -> tuple[list[str], list[str]]:
    """Pictures that are in two splits, and pictures that have two labels.

    Args:
        files: of a dataset. A "val" that is "test" counts once: either stands for both.
        same: path -> what is equal for equal pictures: their content, or the path itself. Paths
            that it lacks are like no other.

    Returns:
        Two lists of "a.jpg = b.jpg", or "a.jpg" where one file is listed twice; sorted.
    """
    splits = [split for split in files if split != "val" or files["val"] != files.get("test")]
    listed: dict[Hashable, list[tuple[str, str, int]]] = defaultdict(list)
    for split in splits:
        for path, label in files[split]:
            if path in same:
                listed[same[path]].append((split, path, label))
    in_two_splits, with_two_labels = list[str](), list[str]()
    for entries in listed.values():
        paths = " = ".join(sorted({path for _, path, _ in entries}, key=by_name))
        if len({split for split, _, _ in entries}) > 1:
            in_two_splits.append(paths)
        if len({label for _, _, label in entries}) > 1:
            with_two_labels.append(paths)
    return sorted(in_two_splits), sorted(with_two_labels)


def told_of_repeats(name: str, files: Files, same: Mapping[str, Hashable]) -> str:
    """A warning that names what :func:`repeated` finds; "" where nothing is."""
    in_two_splits, with_two_labels = repeated(files, same)
    said = []
    if in_two_splits:
        reason = "a test picture may be a training picture"
        said.append(f"pictures in two splits ({reason}), {some(in_two_splits)}")
    if with_two_labels:
        reason = "one of them counts as wrong"
        said.append(f"pictures under two labels ({reason}), {some(with_two_labels)}")
    return f"{name} has {'; and '.join(said)}" if said else ""
