"""Where things lie: the checkout (when there is one), the live results, the committed results.

Notebooks are started from many folders (papermill: the caller's, nbval: the notebook's), so no
path in this library depends on the working directory.
"""

from __future__ import annotations

import os
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent


def root() -> Path | None:
    """The checkout this package is imported from, or None when it was installed as a wheel."""
    parent = PACKAGE.parent
    return parent if (parent / "pyproject.toml").is_file() else None


def home() -> Path:
    """Where measurements go: ``$DIP_HOME``, else ``_build/run`` of the checkout, else the cache.

    The folder is not created here, but by the first write.
    """
    if chosen := os.environ.get("DIP_HOME"):
        return Path(chosen).expanduser().resolve()
    checkout = root()
    return checkout / "_build" / "run" if checkout else Path.home() / ".cache" / "dip-lib"


def results_dir() -> Path:
    """The committed results: ``results/`` of the checkout, or the copy inside the wheel."""
    if chosen := os.environ.get("DIP_RESULTS"):
        return Path(chosen).expanduser().resolve()
    checkout = root()
    return checkout / "results" if checkout else PACKAGE / "results"
