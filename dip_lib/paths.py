"""Where things lie: the checkout (when there is one), the live results, the committed results.

Notebooks are started from many folders (papermill: the caller's, nbval: the notebook's), so no
path in this library depends on the working directory.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent


def root() -> Path | None:
    """The checkout this package is imported from, or None when it was installed as a wheel."""
    parent = PACKAGE.parent
    return parent if (parent / "pyproject.toml").is_file() else None


def home() -> Path:
    """Where measurements go: ``$DIP_HOME``, else ``_build/run`` of the checkout, else the cache.

    The cache is ``dip-lib`` in ``$XDG_CACHE_HOME``, else in ``~/.cache``, else (a container's user
    without a home) in the folder of temporary files. The folder is not created here, but by the
    first write.
    """
    if chosen := os.environ.get("DIP_HOME"):
        return Path(chosen).expanduser().resolve()
    checkout = root()
    return checkout / "_build" / "run" if checkout else _cache()


def _cache() -> Path:
    """The cache folder of a user of the installed wheel: the first that can be written."""
    chosen, own = os.environ.get("XDG_CACHE_HOME", ""), os.path.expanduser("~")
    for parent in (Path(chosen), Path(own) / ".cache"):
        # not absolute: unset, or a user without a home, whose "~" stays as it is
        if parent.is_absolute() and writable(parent):
            return parent / "dip-lib"
    return Path(tempfile.gettempdir()) / f"dip-lib-{os.getuid()}"


def writable(folder: Path) -> bool:
    """Whether files can be written into a folder, which may not be there yet."""
    there = next(each for each in (folder, *folder.parents) if each.exists())
    return there.is_dir() and os.access(there, os.W_OK | os.X_OK)


def results_dir() -> Path:
    """The committed results: ``results/`` of the checkout, or the copy inside the wheel."""
    if chosen := os.environ.get("DIP_RESULTS"):
        return Path(chosen).expanduser().resolve()
    checkout = root()
    return checkout / "results" if checkout else PACKAGE / "results"
