"""Worlds plug in by entry points, so that anybody adds datasets or backbones without editing this.

A package declares, for example, in its ``pyproject.toml``::

    [project.entry-points."dip_lib.datasets"]
    toy = "toy_world:DATASETS"

    [project.entry-points."dip_lib.backbones"]
    toy = "toy_world:BACKBONES"

    [project.entry-points."dip_lib.packs"]
    toy = "toy_world:PACKS"

The objects are a :class:`dip_lib.data.DatasetSource`, a :class:`dip_lib.clip.BackboneSource` and
the ``pathlib.Path`` of a folder of feature packs (:mod:`dip_lib.data.pack_files`).
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import entry_points
from typing import Any


@cache
def plugins(group: str) -> tuple[Any, ...]:
    """The objects that installed packages declare for ``group``, sorted by their declared names.

    Raises:
        RuntimeError: an object that cannot be imported; names its package.
    """
    declared = {(each.name, each.value): each for each in entry_points(group=group)}
    loaded = []
    for (name, value), each in sorted(declared.items()):
        try:
            loaded.append(each.load())
        except (ImportError, AttributeError) as error:
            package = each.dist.name if each.dist else "an unknown package"
            raise RuntimeError(
                f"{package} declares {group}: {name} = {value}, and that cannot be imported "
                f"({error}). Install it again, or remove it with: pip uninstall {package}"
            ) from error
    return tuple(loaded)
