"""The photographs that photo-vit learns from, with what Photo World's image encoder says of each.

What it says is committed: the feature packs hold the encoder's embedding of every few-shot
photograph in three random crops, and of the validation photographs as they are. Here the same views
are cut from the photographs as thumbnails, so that the encoder itself is not needed. Left out are
the photographs of the tasks for visual prompts, and validation photographs with a near-twin among
the test photographs (``twins.json``); test photographs are not opened.

Symbols: N views of photographs, e embedding size.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import torch
from safetensors.torch import load_file, save
from torch import Tensor
from tqdm import tqdm

from dip_lib.data.pack_files import read_pack
from dip_lib.data.packs import FeaturePack
from dip_lib.data.pictures import Pictures
from dip_lib.files import write_atomic
from photo_world import datasets
from photo_world.models import image_fingerprint
from photo_world.tasks import TASKS

TWINS = datasets.HERE / "twins.json"


@dataclass(frozen=True)
class Photos:
    """What is learned from: views of photographs.

    Attributes:
        thumbs: (N, 3, side, side) uint8.
        targets: (N, e) the encoder's unit embeddings of the same views.
    """

    thumbs: Tensor
    targets: Tensor


def pack_of(name: str) -> FeaturePack:
    """The committed pack of a dataset by Photo World's image encoder."""
    packs = map(read_pack, sorted(datasets.PACKS.glob(f"{name}.*.safetensors")))
    ours = image_fingerprint()
    return next(each for each in packs if each.header.image_fingerprint == ours)


def kept_back(name: str) -> set[str]:
    """Paths that are not learned from: of tasks, and near-twins of test photographs."""
    tasks = (task.listed() for task in TASKS.values() if task.dataset == name)
    paths = {path for listed in tasks for path in chain(listed["train"], listed["test"])}
    return paths | {*json.loads(TWINS.read_text("utf-8"))[name]["paths"]}


def chosen_rows(name: str, pictures: Pictures, pack: FeaturePack) -> dict[str, list[int]]:
    """Rows of "train" and "val" whose embeddings the pack holds and that are not kept back.

    Raises:
        ValueError: photographs that are not the pack's.
    """
    if pictures.fingerprint != pack.header.fingerprint:
        raise ValueError(
            f"the photographs of {name} in {pictures.root} ({pictures.fingerprint}) are not those "
            f"of its pack ({pack.header.fingerprint})"
        )
    back, chosen = kept_back(name), dict[str, list[int]]()
    for split in ("train", "val"):
        paths = [path for path, _ in pictures.files[split]]
        chosen[split] = [row for row in pack.rows(split).tolist() if paths[row] not in back]
    return chosen


def views_of(name: str, data: Path, side: int) -> Photos:
    """All views of a dataset that are learned from: crops of "train", plain views of "val"."""
    pictures, pack = datasets.pictures(name, data), pack_of(name)
    thumbs, targets = list[Tensor](), list[Tensor]()
    for split, rows in chosen_rows(name, pictures, pack).items():
        views = [*range(pack.header.views)] if split == "train" else [None]
        parts = list(pictures.batches(split, views, rows, side))
        thumbs.append((255 * torch.cat(parts, 1)).round().to(torch.uint8).flatten(0, 1))
        targets.append(pack.features(split, views, rows).flatten(0, 1))
    return Photos(torch.cat(thumbs), torch.cat(targets))


def collect(names: list[str], data: Path, work: Path, side: int) -> tuple[Photos, dict[str, int]]:
    """All datasets together, and how many views each gave; kept in ``work``, a file a dataset."""
    work.mkdir(parents=True, exist_ok=True)
    thumbs, targets = list[Tensor](), list[Tensor]()
    counts = dict[str, int]()
    for name in tqdm(names, "photographs"):
        about = json.dumps([pack_of(name).header.sha256, sorted(kept_back(name)), side])
        kept = work / f"{name}-{hashlib.sha256(about.encode()).hexdigest()[:12]}.safetensors"
        if not kept.is_file():
            found = views_of(name, data, side)
            write_atomic(kept, save({"thumbs": found.thumbs, "targets": found.targets}))
        stored = load_file(kept)
        thumbs.append(stored["thumbs"])
        targets.append(stored["targets"])
        counts[name] = len(stored["thumbs"])
    return Photos(torch.cat(thumbs), torch.cat(targets)), counts
