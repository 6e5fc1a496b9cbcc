"""Features of loose picture files, of which some may not be readable."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from torch import Tensor

from dip_lib.clip.backbone import Backbone
from dip_lib.clip.features import encode_split
from dip_lib.data.contents import index_path
from dip_lib.data.decode import faults
from dip_lib.data.pictures import Pictures
from dip_lib.errors import UnreadablePictureError
from dip_lib.files import write_atomic


def encode_files(
    backbone: Backbone, paths: Sequence[str | Path], skip_unreadable: bool = False
) -> tuple[Tensor, dict[int, str]]:
    """Unit features of picture files, kept on disk as those of a dataset are.

    Args:
        paths: of the files.
        skip_unreadable: whether a file that is no readable picture is left out. Otherwise it is an
            error. Which files were is remembered, and these are looked at first next time.

    Returns:
        Features (M, e) of the readable files, in order, and for the others their place in ``paths``
        with what is wrong.

    Raises:
        ValueError: a file that is no readable picture, by name, with a remedy.
    """
    whole = [os.path.abspath(path) for path in paths]
    root = Path(os.path.commonpath([os.path.dirname(path) for path in whole]) if whole else "")
    names = [os.path.relpath(path, root) for path in whole]
    remembered = index_path(root).with_suffix(".unreadable")
    suspects = set(names) & _read(remembered) if skip_unreadable else set()
    wrong = _faults(root, suspects)
    while True:
        good = [name for name in names if name not in wrong]
        files = {"test": [(name, 0) for name in good]}
        try:
            features = encode_split(backbone, Pictures("pictures", ("",), root, files), "test")
        except UnreadablePictureError:
            if not skip_unreadable or not (new := _faults(root, {*good})):
                raise
            wrong |= new
            _write(remembered, {*wrong})
        else:
            return features, {i: wrong[name] for i, name in enumerate(names) if name in wrong}


def _faults(root: Path, names: set[str]) -> dict[str, str]:
    """What is wrong with each file that is no readable picture; decodes all of them."""
    found = faults(root / name for name in sorted(names))
    return {os.path.relpath(path, root): why for path, why in found.items()}


def _read(path: Path) -> set[str]:
    try:
        return set(json.loads(path.read_text("utf-8")))
    except (OSError, ValueError, TypeError):
        return set()


def _write(path: Path, names: set[str]) -> None:
    with suppress(OSError):
        write_atomic(path, json.dumps(sorted(names)).encode())
