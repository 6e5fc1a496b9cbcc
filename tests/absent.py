"""An environment in which what ``make site`` does without cannot be imported."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ABSENT = (
    *("torch", "torchvision", "open_clip", "timm", "safetensors", "sklearn", "numpy", "scipy"),
    *("pandas", "matplotlib", "seaborn", "tqdm", "papermill", "nbval"),
)


def without_packages(folder: Path) -> dict[str, str]:
    """Variables under which Python finds, for each of ABSENT, a module that refuses to load."""
    folder.mkdir(parents=True)
    for name in ABSENT:
        refusal = (
            f"raise ModuleNotFoundError('{name} is not in requirements-site.lock', name={name!r})"
        )
        (folder / f"{name}.py").write_text(refusal)
    return {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (folder, ROOT)))}
