"""Trunk features of every photograph that pre-training sees, and of test photographs to measure on.

    python pretraining/photo_world/encode_photos.py WORK --imagenet PHOTOS --data DATA [--test]

``PHOTOS`` holds one photograph of each ImageNet class, named as in the repository
EliSchwartz/imagenet-sample-images (``n01440764_tench.JPEG``); ``DATA`` the datasets' folders. A set
of photographs is a file in ``WORK``; one that is there is not encoded again, so that a stopped
call resumes. Test photographs are encoded only with ``--test``, and nothing but ``measure.py``
reads them.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import timm.data
import torch
from PIL import Image
from safetensors.torch import load_file, save
from torch import Tensor, nn
from torchvision.transforms import InterpolationMode, RandomResizedCrop
from torchvision.transforms.v2 import functional as transforms
from tqdm import tqdm

from dip_lib.data.views import plain_view, rgb
from dip_lib.files import write_atomic
from photo_world import datasets
from photo_world.models import VISION, build, normalise
from photo_world.trunk import WIDTH, load_trunk

SIZE = VISION["image_size"]
BATCH = 8
OPEN = tuple(name for name, about in datasets.DECLARED.items() if not about.sealed)
"""Only these are opened here; of the sealed datasets pre-training reads names alone."""
MOST_WEB = 4
"""Web photographs of a class that any recipe uses."""
CROP_AREA = (0.3, 1.0)
"""Share of the picture that the second view shows."""

Files = Sequence[tuple[Path, int]]
"""Photographs with their labels."""


def crop_view(picture: Image.Image, seed: int) -> Tensor:
    """A random crop of the picture, flipped half the time: uint8 (3, S, S)."""
    random = np.random.default_rng(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        box = RandomResizedCrop.get_params(
            transforms.pil_to_tensor(picture), list(CROP_AREA), [3 / 4, 4 / 3]
        )
    view = transforms.resized_crop(picture, *box, [SIZE, SIZE], InterpolationMode.BICUBIC)
    image: Tensor = transforms.pil_to_tensor(view)
    return image.flip(-1) if random.random() < 0.5 else image


def views(files: Files, count: int) -> Iterator[Tensor]:
    """The plain view of every photograph, and with ``count`` 2 a crop: uint8 (3, S, S) each."""
    for row, (path, _) in enumerate(tqdm(files, mininterval=5)):
        with Image.open(path) as file:
            picture = rgb(file)
        yield plain_view(picture, SIZE)
        if count == 2:
            yield crop_view(picture, row)


def load_encoder(precision: torch.dtype) -> nn.Module:
    """The folded trunk: (B, 3, S, S) -> (B, 1280)."""
    trunk = load_trunk(build().visual.trunk)
    return trunk.to(precision).to(memory_format=torch.channels_last)


@torch.inference_mode()
def encode(trunk: nn.Module, files: Files, count: int) -> Tensor:
    """Features of ``files`` in ``count`` views: (N, V, 1280), half precision."""
    precision = next(trunk.parameters()).dtype
    parts, waiting = [], list[Tensor]()
    last = len(files) * count
    for done, view in enumerate(views(files, count), 1):
        waiting.append(view)
        if len(waiting) == BATCH or done == last:
            parts.append(trunk(normalise(torch.stack(waiting) / 255).to(precision)).half())
            waiting.clear()
    return torch.cat(parts).view(len(files), count, WIDTH)


def encode_once(work: Path, name: str, trunk: nn.Module, files: Files, count: int) -> None:
    """Write ``WORK/<name>.safetensors``, unless it is there for the same list of files."""
    listed = hashlib.sha256("\n".join(f"{path.name} {label}" for path, label in files).encode())
    target, digest = work / f"{name}.safetensors", torch.tensor(list(listed.digest()))
    if target.is_file() and torch.equal(load_file(target)["files"], digest):
        return
    labels = torch.tensor([label for _, label in files])
    tqdm.write(f"{name}: {len(files)} photographs, {len(labels.unique())} classes")
    features = encode(trunk, files, count)
    write_atomic(target, save({"features": features, "labels": labels, "files": digest}))


def read(work: Path, name: str) -> tuple[Tensor, Tensor]:
    """Features (N, V, 1280), float32, and labels (N,) of an encoded set."""
    stored = load_file(work / f"{name}.safetensors")
    return stored["features"].float(), stored["labels"]


def imagenet_files(folder: Path) -> list[tuple[Path, int]]:
    """The photographs whose file name begins with a synset of ImageNet-1k, and its class."""
    index = {synset: row for row, synset in enumerate(timm.data.ImageNetInfo().label_names())}
    files = sorted(path for path in folder.iterdir() if path.name.split("_")[0] in index)
    return [(path, index[path.name.split("_")[0]]) for path in files]


def test_files(name: str, data: Path) -> list[tuple[Path, int]]:
    pictures = datasets.pictures(name, data)
    return [(pictures.root / path, label) for path, label in pictures.files["test"]]


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("work", type=Path, help="folder of the features")
    parser.add_argument("--imagenet", type=Path, help="folder of ImageNet's sample photographs")
    parser.add_argument("--data", type=Path, help="folder of the datasets")
    parser.add_argument("--test", action="store_true", help="test photographs instead, in bf16")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    trunk = load_encoder(torch.bfloat16 if options.test else torch.float32)
    if options.imagenet and not options.test:
        encode_once(options.work, "imagenet", trunk, imagenet_files(options.imagenet), 2)
    for name in OPEN if options.data else ():
        if options.test:
            encode_once(options.work, f"{name}-test", trunk, test_files(name, options.data), 1)
        else:
            files = datasets.web_photos(name, MOST_WEB, options.data)
            encode_once(options.work, f"{name}-web", trunk, files, 2)


if __name__ == "__main__":
    main()
