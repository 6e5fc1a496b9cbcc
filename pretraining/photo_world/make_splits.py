"""Write the split files of Photo World's declared subsets, and reserve its web photos.

    python pretraining/photo_world/make_splits.py splits --data /photos
    python pretraining/photo_world/make_splits.py web --data /photos --twins photo_world/twins.json

The field has no split file for these subsets: RESISC45, CUB, Grocery Store, Clothing, Food101 at 64
pixels and PACS follow the rules below, chosen before anything was measured. DTD's ten classes and
the three complete datasets keep the field's split. Dealing is by the hash of a photo's path within
its class, so that it is the same everywhere.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from dip_lib.files import write_atomic
from photo_world.datasets import DECLARED, SPLITS, field_split

Listed = dict[str, list[tuple[str, int, str]]]
"""Split -> (path, label, class name), as the field's split files hold them."""
VAL = 8
"""Validation photos a class where a rule of ours makes them: four for draws, four for the web."""
WEB = 4
"""Web photos a class at most, and validation photos a class that stay at least."""


def _by_hash(paths: Iterable[str]) -> list[str]:
    return sorted(paths, key=lambda path: hashlib.sha256(path.encode()).digest())


def _cut(paths: Iterable[str], sizes: Sequence[int]) -> list[list[str]]:
    """The paths in the order of their hashes, cut into parts of these sizes."""
    order, parts, start = _by_hash(paths), [], 0
    for size in sizes:
        parts.append(sorted(order[start : start + size]))
        start += size
    return parts


def _listed(classes: Sequence[tuple[str, dict[str, list[str]]]]) -> Listed:
    return {
        split: [
            (path, label, name) for label, (name, of) in enumerate(classes) for path in of[split]
        ]
        for split in ("train", "val", "test")
    }


def _deal(folder: Path, sizes: Sequence[int]) -> dict[str, list[str]]:
    """A class folder's photos: train, val and test of these sizes."""
    paths = [f"{folder.name}/{path.name}" for path in folder.iterdir()]
    return dict(zip(("train", "val", "test"), _cut(paths, sizes), strict=True))


def dtd(root: Path) -> Listed:
    """The field's split, restricted to the classes whose photos are here."""
    split = json.loads((root / "split_zhou_DescribableTextures.json").read_text("utf-8"))
    here = sorted(path.name for path in (root / "images").iterdir() if path.is_dir())
    return {
        name: [(path, here.index(c), c) for path, _, c in entries if c in here]
        for name, entries in split.items()
    }


def resisc(root: Path) -> Listed:
    """Half train, a fifth val, the rest test: 350, 140 and 210 of 700 photos a class."""
    folders = sorted((root / "NWPU-RESISC45").iterdir())
    return _listed([(f.name.replace("_", " "), _deal(f, (350, 140, 210))) for f in folders])


def cub(root: Path) -> Listed:
    """The published test photos; of the published training photos eight a class are val.

    This copy's ``train_test_split.txt`` marks the *test* photos with 1 (its README counts 2,999
    training and 2,903 test photos, which is what the zeros and ones are).
    """

    def column(name: str) -> dict[str, str]:
        lines = (root / f"{name}.txt").read_text("utf-8").splitlines()
        return dict(line.split(", ", 1) for line in lines if line)

    paths, labels, names = (column(n) for n in ("images", "image_class_labels", "classes"))
    tests = column("train_test_split")
    members: dict[int, list[str]] = defaultdict(list)
    for each in paths:
        members[int(labels[each])].append(each)
    classes = []
    for label, photos in sorted(members.items()):
        pool = [paths[i] for i in photos if tests[i] == "0"]
        val, train = _cut(pool, (VAL, len(pool) - VAL))
        test = sorted(paths[i] for i in photos if tests[i] == "1")
        name = names[str(label)].replace("_", " ").lower()
        classes.append((name, {"train": train, "val": val, "test": test}))
    return _listed(classes)


def _grocery_name(fine: str, coarse: str) -> str:
    """ "golden delicious apple": the kind is added where the name does not say it."""
    fine, coarse = (text.replace("-", " ").lower() for text in (fine, coarse))
    return fine if coarse in fine or fine in coarse else f"{fine} {coarse}"


def grocery(root: Path) -> Listed:
    """The published test photos; of the other published photos eight a class are val."""
    with (root / "classes.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))[1:]
    names = [_grocery_name(row[0], row[2]) for row in rows]
    of_part: dict[str, dict[int, list[str]]] = {}
    for part in ("train", "val", "test"):
        of_part[part] = defaultdict(list)
        for line in (root / f"{part}.txt").read_text("utf-8").splitlines():
            path, number, _ = line.split(",")
            of_part[part][int(number)].append(path.strip())
    classes = []
    for label, name in enumerate(names):
        pool = of_part["train"][label] + of_part["val"][label]
        val, train = _cut(pool, (VAL, len(pool) - VAL))
        test = sorted(of_part["test"][label])
        classes.append((name, {"train": train, "val": val, "test": test}))
    return _listed(classes)


CLOTHES = {
    "Blazer": "blazer",
    "Body": "bodysuit",
    "Dress": "dress",
    "Hat": "hat",
    "Hoodie": "hoodie",
    "Longsleeve": "long sleeve shirt",
    "Outwear": "outerwear",
    "Pants": "pants",
    "Polo": "polo shirt",
    "Shirt": "shirt",
    "Shoes": "shoes",
    "Shorts": "shorts",
    "Skirt": "skirt",
    "T-Shirt": "t-shirt",
    "Undershirt": "undershirt",
}
"""The labels with 60 photos or more that name a garment."""


def clothing(root: Path) -> Listed:
    """At most 40 train, 8 val and 100 test photos a class, a third of the class being test."""
    members = defaultdict(list)
    with (root / "images.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if (root / "images" / f"{row['image']}.jpg").is_file():
                members[row["label"]].append(f"{row['image']}.jpg")
    classes = []
    for label, name in CLOTHES.items():
        test = min(100, len(members[label]) // 3)
        parts = _cut(members[label], (test, VAL, min(40, len(members[label]) - test - VAL)))
        classes.append((name, dict(zip(("test", "val", "train"), parts, strict=True))))
    return _listed(classes)


def food(root: Path) -> Listed:
    """At most 32 train and 8 val of the published training photos, 20 of the published test's."""
    classes = [line for line in (root / "meta" / "classes.txt").read_text("utf-8").split() if line]
    published = {
        part: {f"{line}.jpg" for line in (root / "meta" / f"{part}.txt").read_text("utf-8").split()}
        for part in ("train", "test")
    }
    listed = []
    for each in classes:
        here = [f"{each}/{path.name}" for path in (root / "images" / each).iterdir()]
        pool, test = ([p for p in here if p in published[part]] for part in ("train", "test"))
        train, val = _cut(pool, (32, VAL))
        (test,) = _cut(test, (20,))
        listed.append((each.replace("_", " "), {"train": train, "val": val, "test": test}))
    return _listed(listed)


def pacs(root: Path, style: str) -> Listed:
    """The photos: half train, eight val, the rest test; another style: 100 test a class."""
    classes = []
    for folder in sorted((root / style).iterdir()):
        paths = [f"{folder.name}/{path.name}" for path in folder.iterdir()]
        half = len(paths) // 2 if style == "photo" else 0
        val = VAL if half else 0
        train, held, test = _cut(paths, (half, val, min(100, len(paths) - half - val)))
        classes.append((folder.name, {"train": train, "val": held, "test": test}))
    return _listed(classes)


RULES = {
    "photo-dtd10": dtd,
    "photo-resisc14": resisc,
    "photo-cub100": cub,
    "photo-grocery81": grocery,
    "photo-clothing": clothing,
    "photo-food101": food,
    "photo-pacs": lambda root: pacs(root, "photo"),
    "photo-pacs-art": lambda root: pacs(root, "art_painting"),
    "photo-pacs-cartoon": lambda root: pacs(root, "cartoon"),
    "photo-pacs-sketch": lambda root: pacs(root, "sketch"),
}


def write_splits(data: Path) -> None:
    for name, rule in RULES.items():
        listed = rule(data / DECLARED[name].folder)
        lines = [
            f'"{split}": [\n' + ",\n".join(json.dumps(entry) for entry in listed[split]) + "\n]"
            for split in ("train", "val", "test")
        ]
        text = "{\n" + ",\n".join(lines) + "\n}\n"
        write_atomic(SPLITS / DECLARED[name].split, text.encode())
        print(name, {split: len(entries) for split, entries in listed.items()})


def reserve(name: str, data: Path, twins: set[str]) -> dict[str, list[list[str]]]:
    """Class label -> its web photos as [path, sha256], from the validation photos by file hash.

    At least four validation photos a class stay. A photo that has a twin among the test photos,
    or whose bytes occur elsewhere in the split, is passed over.
    """
    declared, (_, files) = DECLARED[name], field_split(name, data)
    images = data / declared.folder / declared.images
    digest = {
        path: hashlib.sha256((images / path).read_bytes()).hexdigest()
        for entries in files.values()
        for path, _ in entries
    }
    elsewhere = {digest[p] for split in ("train", "test") for p, _ in files[split]}
    members: dict[int, list[str]] = defaultdict(list)
    for path, label in files["val"]:
        members[label].append(path)
    web = {}
    for label, paths in sorted(members.items()):
        free = [p for p in paths if digest[p] not in elsewhere and p not in twins]
        count = max(0, min(WEB, len(paths) - WEB))
        web[str(label)] = [[p, digest[p]] for p in sorted(free, key=digest.__getitem__)[:count]]
    return web


def write_web(data: Path, twins: dict[str, dict[str, list[str]]]) -> None:
    names = [name for name, each in DECLARED.items() if not each.sealed]
    lines = []
    for name in names:
        web = reserve(name, data, set(twins.get(name, {}).get("paths", ())))
        lines.append(f'"{name}": {json.dumps(web)}')
        counts = [len(each) for each in web.values()]
        print(name, f"{sum(counts)} web photos, {min(counts)} to {max(counts)} a class")
    text = "{\n" + ",\n".join(lines) + "\n}\n"
    write_atomic(SPLITS.parent / "web.json", text.encode())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("splits", "web"))
    parser.add_argument("--data", type=Path, required=True, help="holds caltech-101/, cub/, ...")
    parser.add_argument("--twins", type=Path, help="what twins.py wrote")
    chosen = parser.parse_args()
    if chosen.what == "splits":
        write_splits(chosen.data)
    else:
        twins = json.loads(chosen.twins.read_text("utf-8")) if chosen.twins else {}
        write_web(chosen.data, twins)


if __name__ == "__main__":
    main()
