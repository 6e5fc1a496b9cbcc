"""Near-twins of test photographs among those that train: counted, and kept out of the web photos.

    python pretraining/photo_world/twins.py WORK --data DATA

Two photographs are called twins when the cosine of their trunk features exceeds a threshold. It was
calibrated for each dataset by looking at pairs: above it are the same photograph saved twice, or
one scene taken twice; below it other photographs that look alike. Test photographs stay; a web
photograph with a twin gives up its place (``make_splits.py web --twins``).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from encode_photos import OPEN, Files, encode_once, load_encoder, read
from torch import Tensor

from dip_lib.data.splits import few_shot
from dip_lib.files import write_atomic
from photo_world import datasets

THRESHOLD = {
    "photo-caltech101": 0.96,
    # tiles of sea or forest exceed 0.99 and are other places: only what is the same counts
    "photo-eurosat": 0.999,
    "photo-flowers102": 0.94,
    "photo-dtd10": 0.93,
    "photo-resisc14": 0.93,
    "photo-cub100": 0.92,
    "photo-grocery81": 0.92,
}
"""Cosine above which two photographs of a dataset are twins; looked at before any prompt."""
SEEDS, SHOTS = range(1, 6), (1, 2, 4, 8, 16)
"""The draws whose training photographs are compared."""
TWINS = datasets.HERE / "twins.json"


def compared(name: str, data: Path) -> dict[str, Files]:
    """The photographs compared: of the draws, of val with the web photos, of the test split."""
    about = datasets.declared(name)
    folder = data / about.folder / about.images
    _, files = datasets.field_split(name, data)
    labels = [label for _, label in files["train"]]
    rows = {row for seed in SEEDS for shots in SHOTS for row in few_shot(labels, shots, seed)}
    drawn = {
        "train": [files["train"][row] for row in sorted(rows)],
        "val": files["val"],
        "test": files["test"],
    }
    return {
        split: [(folder / path, label) for path, label in each] for split, each in drawn.items()
    }


def nearest(ours: Tensor, theirs: Tensor) -> Tensor:
    """(N,) the largest cosine of each of ``ours`` (N, d) with any of ``theirs`` (M, d)."""
    ours, theirs = F.normalize(ours, dim=-1), F.normalize(theirs, dim=-1)
    return torch.cat([(part @ theirs.T).amax(1) for part in ours.split(512)])


def about_twins(name: str, work: Path, data: Path) -> dict[str, Any]:
    """Threshold; how many photographs of each kind were compared, and how many have a twin; the
    validation photographs among these, by path."""
    files = compared(name, data)
    features = {split: read(work, f"{name}-plain-{split}")[0][:, 0] for split in files}
    above = {
        split: nearest(features[split], features["test"]) > THRESHOLD[name]
        for split in ("train", "val")
    }
    about = datasets.declared(name)
    root = data / about.folder / about.images
    paths = [path.relative_to(root).as_posix() for path, _ in files["val"]]
    web = {path.relative_to(root).as_posix() for path, _ in datasets.web_photos(name, 4, data)}
    twins = [path for path, twin in zip(paths, above["val"].tolist(), strict=True) if twin]
    return {
        "threshold": THRESHOLD[name],
        "compared": {
            "few-shot": len(files["train"]),
            "validation": len(paths) - len(web),
            "web": len(web),
            "test": len(files["test"]),
        },
        "twins": {
            "few-shot": int(above["train"].sum()),
            "validation": len({*twins} - web),
            "web": len({*twins} & web),
        },
        "paths": sorted(twins),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("work", type=Path, help="folder of the features")
    parser.add_argument("--data", type=Path, required=True, help="folder of the datasets")
    options = parser.parse_args()
    trunk = load_encoder(torch.bfloat16)
    found = {}
    for name in OPEN:
        for split, files in compared(name, options.data).items():
            encode_once(options.work, f"{name}-plain-{split}", trunk, files, 1)
        found[name] = about_twins(name, options.work, options.data)
        print(name, found[name]["twins"], "of", found[name]["compared"])
    lines = [f'"{name}": {json.dumps(about)}' for name, about in found.items()]
    write_atomic(TWINS, ("{\n" + ",\n".join(lines) + "\n}\n").encode())


if __name__ == "__main__":
    main()
