"""Tiny trees of pictures in the exact folders and files of the fifteen published datasets.

Each has a few classes with the published folder names, file names and class names.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

NOBODY = 65534
"""Number of the user who owns nothing."""


@contextmanager
def closed(folder: Path) -> Iterator[None]:
    """Nobody may look into ``folder``; where root runs the tests, it is nobody meanwhile."""
    mode, user = folder.stat().st_mode, os.geteuid()
    folder.chmod(0)
    os.seteuid(user or NOBODY)
    try:
        yield
    finally:
        os.seteuid(user)
        folder.chmod(mode)


COUNTS = {"train": 3, "val": 1, "test": 2}
"""Pictures a class."""

WNIDS = {
    "n01440764": "tench",
    "n01530575": "brambling",
    "n03773504": "missile",
    "n04008634": "missile",
    "n04355933": "sunglasses",
}
"""Lines of ``classnames.txt``, with one of the two names that it gives twice."""

# dataset -> folder of the pictures, split file, and (class name, file) with {} for a number
SPLIT_FILES: dict[str, tuple[str, str, list[tuple[str, str]]]] = {
    "caltech101": (
        "caltech-101/101_ObjectCategories",
        "split_zhou_Caltech101.json",
        [
            ("face", "Faces/image_{:04}.jpg"),
            ("leopard", "Leopards/image_{:04}.jpg"),
            ("accordion", "accordion/image_{:04}.jpg"),
            ("yin_yang", "yin_yang/image_{:04}.jpg"),
        ],
    ),
    "oxford_pets": (
        "oxford_pets/images",
        "split_zhou_OxfordPets.json",
        [
            ("abyssinian", "Abyssinian_{}.jpg"),
            ("american_bulldog", "american_bulldog_{}.jpg"),
            ("basset_hound", "basset_hound_{}.jpg"),
        ],
    ),
    "stanford_cars": (
        "stanford_cars",
        "split_zhou_StanfordCars.json",
        [
            ("2000 AM General Hummer SUV", "cars_train/{:05}.jpg"),
            ("2012 Acura RL Sedan", "cars_train/1{:04}.jpg"),
            ("2012 Audi S5 Convertible", "cars_test/{:05}.jpg"),
        ],
    ),
    "flowers102": (
        "oxford_flowers/jpg",
        "split_zhou_OxfordFlowers.json",
        [
            ("pink primrose", "image_0{:04}.jpg"),
            ("colt's foot", "image_1{:04}.jpg"),
            ("passion flower", "image_2{:04}.jpg"),
            ("lotus", "image_3{:04}.jpg"),
        ],
    ),
    "food101": (
        "food-101/images",
        "split_zhou_Food101.json",
        [
            ("apple_pie", "apple_pie/10056{:02}.jpg"),
            ("baby_back_ribs", "baby_back_ribs/10056{:02}.jpg"),
            ("waffles", "waffles/10056{:02}.jpg"),
        ],
    ),
    "sun397": (
        "sun397/SUN397",
        "split_zhou_SUN397.json",
        [
            ("abbey", "a/abbey/sun_aaalbzqrimafwb{}.jpg"),
            ("airplane_cabin", "a/airplane_cabin/sun_aacqsbumiuidokeh{}.jpg"),
            ("indoor apse", "a/apse/indoor/sun_aabixowgkqmpvtfh{}.jpg"),
            ("outdoor athletic_field", "a/athletic_field/outdoor/sun_aaaikesjyz{}.jpg"),
        ],
    ),
    "dtd": (
        "dtd/images",
        "split_zhou_DescribableTextures.json",
        [
            ("banded", "banded/banded_{:04}.jpg"),
            ("blotchy", "blotchy/blotchy_{:04}.jpg"),
            ("dotted", "dotted/dotted_{:04}.jpg"),
            ("zigzagged", "zigzagged/zigzagged_{:04}.jpg"),
        ],
    ),
    "eurosat": (
        "eurosat/2750",
        "split_zhou_EuroSAT.json",
        [
            ("Annual Crop Land", "AnnualCrop/AnnualCrop_{}.jpg"),
            ("Forest", "Forest/Forest_{}.jpg"),
            ("Herbaceous Vegetation Land", "HerbaceousVegetation/HerbaceousVegetation_{}.jpg"),
            ("Highway or Road", "Highway/Highway_{}.jpg"),
            ("Sea or Lake", "SeaLake/SeaLake_{}.jpg"),
        ],
    ),
    "ucf101": (
        "ucf101/UCF-101-midframes",
        "split_zhou_UCF101.json",
        [
            ("Apply_Eye_Makeup", "Apply_Eye_Makeup/v_ApplyEyeMakeup_g{:02}_c01.jpg"),
            ("Archery", "Archery/v_Archery_g{:02}_c01.jpg"),
            ("Yo_Yo", "Yo_Yo/v_YoYo_g{:02}_c01.jpg"),
        ],
    ),
}
VARIANTS = ("707-320", "A300B4", "F/A-18", "Model B200")
SHIFTS = {
    "imagenetv2": ("imagenetv2/imagenetv2-matched-frequency-format-val", "{}d1f8a.jpeg"),
    "imagenet_sketch": ("imagenet-sketch/images", "sketch_{}.JPEG"),
    "imagenet_a": ("imagenet-adversarial/imagenet-a", "0.00{}_water _ water_0.9.jpg"),
    "imagenet_r": ("imagenet-rendition/imagenet-r", "art_{}.jpg"),
}
NAMES = (*SPLIT_FILES, "fgvc_aircraft", "imagenet", *SHIFTS)


def picture(path: Path, seed: int) -> Path:
    """A small JPEG of noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path, format="JPEG")
    return path


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")


def _numbers() -> list[tuple[str, int]]:
    """(split, number) of the pictures of a class."""
    splits = [split for split, count in COUNTS.items() for _ in range(count)]
    return [(split, number) for number, split in enumerate(splits, start=1)]


def _split_file(name: str, data: Path) -> None:
    folder, file, classes = SPLIT_FILES[name]
    split: dict[str, list[tuple[str, int, str]]] = {s: [] for s in COUNTS}
    for label, (class_name, pattern) in enumerate(classes):
        for part, number in _numbers():
            path = pattern.format(number)
            picture(data / folder / path, seed=100 * label + number)
            split[part].append((path, label, class_name))
    for entries in split.values():
        random.Random(name).shuffle(entries)  # published ones are not in the order of labels
    write(data / folder.split("/")[0] / file, json.dumps(split))


def _aircraft(data: Path) -> None:
    folder = data / "fgvc_aircraft"
    write(folder / "variants.txt", "\n".join(VARIANTS) + "\n")
    lines: dict[str, list[str]] = {split: [] for split in COUNTS}
    for label, variant in reversed([*enumerate(VARIANTS)]):
        for part, number in _numbers():
            image = f"{label:03}{number:04}"
            picture(folder / "images" / f"{image}.jpg", seed=100 * label + number)
            lines[part].append(f"{image} {variant}")
    for part, listed in lines.items():
        write(folder / f"images_variant_{part}.txt", "\n".join(listed) + "\n")


def _classnames(folder: Path) -> None:
    write(folder / "classnames.txt", "".join(f"{w} {name}\n" for w, name in WNIDS.items()))


def _imagenet(data: Path) -> None:
    _classnames(data / "imagenet")
    for label, wnid in enumerate(WNIDS):
        for number in range(COUNTS["train"]):
            path = data / "imagenet/images/train" / wnid / f"{wnid}_{10026 + number}.JPEG"
            picture(path, seed=100 * label + number)
        for number in range(COUNTS["test"]):
            path = (
                data / "imagenet/images/val" / wnid / f"ILSVRC2012_val_{label:04}{number:04}.JPEG"
            )
            picture(path, seed=100 * label + 50 + number)


def _shift(name: str, data: Path) -> None:
    folder, pattern = SHIFTS[name]
    _classnames(data / folder.split("/")[0])
    wnids = [*WNIDS]
    if name in ("imagenet_a", "imagenet_r"):  # a subset of the classes, and a file beside them
        wnids = wnids[1:]
        write(data / folder / "README.txt", "a note\n")
    for label, wnid in enumerate(wnids):
        for number in range(COUNTS["test"]):
            inside = str(label) if name == "imagenetv2" else wnid
            picture(data / folder / inside / pattern.format(number), seed=100 * label + number)


def make(name: str, data: Path) -> None:
    """Write a tiny dataset below the data folder, with some of the files beside its pictures."""
    if name in SPLIT_FILES:
        _split_file(name, data)
    elif name == "fgvc_aircraft":
        _aircraft(data)
    elif name == "imagenet":
        _imagenet(data)
    else:
        _shift(name, data)
    if name == "caltech101":
        picture(data / "caltech-101/101_ObjectCategories/BACKGROUND_Google/image_0001.jpg", seed=1)
    if name == "oxford_pets":
        write(data / "oxford_pets/annotations/README", "a note\n")
