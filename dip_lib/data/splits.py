"""Which pictures train and which classes are new: exactly the draws of CoOp and Dassl.

Dassl's ``generate_fewshot_dataset`` and CoOp's ``subsample_classes``, with the standard library
alone: a draw depends on the labels, the shots and the seed, and on nothing else.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import random
import warnings
from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from dip_lib.checks import plain_labels, whole
from dip_lib.data.names import nfc
from dip_lib.files import write_atomic

Files = Mapping[str, Sequence[tuple[str, int]]]
"""Split -> (path, label) of every picture, in order."""
VAL_SHOTS = 4
"""Validation pictures a class are at most this many, and at most ``shots``."""
RANDOM_SPLITS = 10
"""Random halves of the classes beside the field's."""


@overload
def few_shot(
    labels: Iterable[Hashable], shots: int, seed: int, val_labels: None = None
) -> list[int]: ...
@overload
def few_shot(
    labels: Iterable[Hashable], shots: int, seed: int, val_labels: Iterable[Hashable]
) -> tuple[list[int], list[int]]: ...
def few_shot(
    labels: Iterable[Hashable],
    shots: int,
    seed: int,
    val_labels: Iterable[Hashable] | None = None,
) -> list[int] | tuple[list[int], list[int]]:
    """Indices of ``shots`` samples of each class, classes in order of first appearance.

    Draw before choosing base or new classes, as CoOp does: then both see the same pictures.

    Args:
        labels: the class of each training sample: a list, an array, a pandas column, a tensor or
            a generator.
        shots: samples a class; a class with fewer gives all (one warning says how many do; none
            where ``shots`` is more than the whole training split, which asks for all of it).
        seed: of Python's own generator.
        val_labels: if given, also draw min(shots, 4) validation samples a class, after the
            training samples and from the same random stream.

    Returns:
        The training indices, or (training indices, validation indices).

    Raises:
        ValueError: ``shots`` below 1, ``shots`` or ``seed`` no whole number, a label that is
            missing.
    """
    shots = whole("shots", shots, 1)
    rng, labels = random.Random(whole("seed", seed)), [*plain_labels(labels)]
    told = shots <= len(labels)
    train = _draw(rng, labels, shots, "training" if told else "")
    if val_labels is None:
        return train
    return train, _draw(rng, val_labels, min(shots, VAL_SHOTS), "validation" if told else "")


def _draw(rng: random.Random, labels: Iterable[Hashable], shots: int, told: str) -> list[int]:
    """Indices of the draw; where classes are short of samples a warning calls them as ``told``."""
    by_class: dict[Hashable, list[int]] = defaultdict(list)
    for index, label in enumerate(plain_labels(labels)):
        by_class[label].append(index)
    short = sum(len(items) < shots for items in by_class.values())
    if short and told:
        warnings.warn(
            f"{short} of {len(by_class)} classes have fewer than {shots} {told} samples; "
            "all of theirs are used",
            stacklevel=3,
        )
    drawn: list[int] = []
    for items in by_class.values():
        drawn += items if len(items) < shots else rng.sample(items, shots)
    return drawn


def _sha256(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def plain_files(files: Mapping[str, Iterable[tuple[Any, Any]]]) -> dict[str, list[tuple[str, int]]]:
    """Paths and labels of each split in plain values, whatever library they come from.

    Raises:
        ValueError: a label that is no whole number.
    """

    def plain(path: Any, label: Any) -> tuple[str, int]:
        number = label if type(label) is int else whole(f"the label of {path}", label)
        return os.fspath(path), number

    return {split: [plain(*entry) for entry in entries] for split, entries in files.items()}


def _one_form(files: Files) -> dict[str, list[tuple[str, int]]]:
    """Plain lists with paths in one Unicode form, which is that of a draw's file."""
    plain = plain_files(files)
    return {split: [(nfc(path), label) for path, label in plain[split]] for split in plain}


def write_draw(path: Path, files: Files, shots: int, seed: int) -> None:
    """Write which pictures a few-shot run trains on, as JSON: paths, labels, shots, seed, hashes.

    Peers keep their draws as pickles with absolute paths; this file can be read anywhere.

    Args:
        files: "train", "val" and "test" of the dataset, as :class:`Pictures` keeps them.
        shots, seed: as in :func:`few_shot`.
    """
    files, shots, seed = _one_form(files), whole("shots", shots, 1), whole("seed", seed)
    rows = few_shot(
        [label for _, label in files["train"]], shots, seed, [label for _, label in files["val"]]
    )
    drawn = {
        s: [files[s][i] for i in indices] for s, indices in zip(("train", "val"), rows, strict=True)
    }
    draw = {"shots": shots, "seed": seed, "split_sha256": _sha256(files), **drawn}
    text = json.dumps({**draw, "draw_sha256": _sha256(draw)}, indent=1)
    write_atomic(path, text.encode())


def read_draw(path: Path, files: Files) -> tuple[list[int], list[int]]:
    """Indices of the training and of the validation pictures of a draw.

    Args:
        files: of the dataset now: paths and labels of all its splits.

    Raises:
        ValueError: a damaged file, or one that was drawn from another split.
    """
    files = _one_form(files)
    try:
        draw = json.loads(path.read_text("utf-8"))
        told = draw.pop("draw_sha256")
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise ValueError(f"{path} is not a few-shot draw ({error!r}). Draw again.") from error
    if told != _sha256(draw):
        raise ValueError(f"{path} was changed after it was written. Draw again.")
    if draw["split_sha256"] != _sha256(files):
        raise ValueError(
            f"{path} was drawn from another split: paths, labels or their order differ. "
            "Use the split file that it was drawn from, or draw again."
        )
    rows = {s: {tuple(entry): i for i, entry in enumerate(files[s])} for s in ("train", "val")}
    train, val = ([index_of[tuple(entry)] for entry in draw[s]] for s, index_of in rows.items())
    return train, val


def base_new(labels: Iterable[Any], split: int = 0) -> tuple[list[Any], list[Any]]:
    """The base and the new classes, each in sorted order: ceil(n / 2) are base, the rest new.

    Args:
        labels: the class of each sample, or each class once.
        split: 0: the field's, the first half is base; 1 to 10: a random half is. The i-th of the n
            sorted classes, from 0, has the sha256 of "class {i} of {n}, split {split}", and base
            are those with the smallest: a function of n and split alone, on every machine. Of fewer
            than nine classes some splits are the same.

    Raises:
        ValueError: fewer than two classes, or a split that there is not.
    """
    check_class_split(split)
    classes = sorted(set(plain_labels(labels)))
    if (count := len(classes)) < 2:
        raise ValueError(f"base and new need at least two classes, got {classes}")
    order = list(range(count))
    if split:
        texts = [f"class {i} of {count}, split {split}".encode() for i in order]
        order.sort(key=lambda i: hashlib.sha256(texts[i]).digest())
    half = math.ceil(count / 2)
    base, new = ([classes[i] for i in sorted(part)] for part in (order[:half], order[half:]))
    return base, new


def check_class_split(split: int) -> None:
    """Raise ValueError for a number that names no base/new split of the classes."""
    if split not in range(RANDOM_SPLITS + 1):
        raise ValueError(
            f"class split {split!r} is not 0, the field's, or a random one from 1 to "
            f"{RANDOM_SPLITS}"
        )


@overload
def harmonic_mean(base: float, new: float) -> float: ...
@overload
def harmonic_mean(base: NDArray[Any], new: NDArray[Any] | float) -> NDArray[Any]: ...
def harmonic_mean(base: Any, new: Any) -> Any:
    """H = 2 base new / (base + new), element-wise; 0 where both are 0.

    The literature's average H is the H of the average base and the average new accuracy.
    """
    base, new = np.asarray(base, dtype=float), np.asarray(new, dtype=float)
    total = base + new
    h = 2 * base * new / np.where(total > 0, total, 1)
    return h if h.ndim else float(h)
