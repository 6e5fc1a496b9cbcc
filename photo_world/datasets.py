"""The datasets of Photo World: real photographs, some of whose names pre-training has seen.

``datasets.toml`` declares them. Three are datasets of the field, complete, with its split files;
the others are declared subsets with the committed split files in ``splits/``. A few validation
photos of each, the *web photos* that ``web.json`` lists, were shown to the text encoder with their
names; they are no part of any split here. Training and test photos are untouched.
"""

from __future__ import annotations

import json
import os
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from dip_lib.data import Dataset
from dip_lib.data.pack_files import read_header
from dip_lib.data.packed import packed_dataset
from dip_lib.data.photos import PHOTOS, Found, Photos, split_zhou
from dip_lib.data.pictures import Pictures
from dip_lib.errors import one_of

HERE = Path(__file__).parent
SPLITS = HERE / "splits"
PACKS = HERE / "packs"


@dataclass(frozen=True)
class Declared:
    """A dataset of Photo World; ``datasets.toml`` says what each field is."""

    name: str
    title: str
    licence: str
    source: str
    field: str = ""
    folder: str = ""
    images: str = ""
    split: str = ""
    template: str = ""
    subset: str = ""
    sealed: str = ""
    opened: str = ""
    photographs: str = ""

    @property
    def closed(self) -> str:
        """The claim that it is kept for until that opens it; "" where it is open."""
        return "" if self.opened == self.sealed else self.sealed

    @property
    def pictures(self) -> str:
        """The dataset of the field that it is or is a part of, or how to get its photographs."""
        same = (name for name, photos in PHOTOS.items() if photos.folder == self.folder)
        if whole := self.field or next(same, ""):
            return whole
        return (
            f"Get {self.title} from {self.source} and lay its files as {self.folder}/{self.images} "
            f"below the data folder, with the paths that photo_world/splits/{self.split} lists"
        )

    @classmethod
    def of(cls, name: str, values: dict[str, str]) -> Declared:
        """The declaration; of a dataset of the field, with that one's folders and template."""
        if whole := PHOTOS.get(values.get("field", "")):
            place = {"folder": whole.folder, "images": whole.images, "template": whole.template}
            values = place | values
        return cls(name, **values)


DECLARED = {
    name: Declared.of(name, values)
    for name, values in tomllib.loads((HERE / "datasets.toml").read_text("utf-8")).items()
}
"""The datasets by name, in the order of the pages."""


def declared(name: str) -> Declared:
    """The declaration of a dataset. Raises ValueError: an unknown name, with the nearest."""
    return DECLARED[one_of("dataset of Photo World", name, DECLARED)]


def field_split(name: str, data: Path) -> Found:
    """Class names and the photos of each split, web photos among the validation photos.

    Args:
        data: the folder that holds the photo datasets; the field's split files lie in it.
    """
    about = declared(name)
    if about.field:
        whole = PHOTOS[about.field]
        return split_zhou(data / whole.folder, whole)
    own = Photos(name, about.folder, about.images, about.split, 0, [], about.template)
    return split_zhou(SPLITS, own)


@cache
def _web() -> dict[str, dict[str, list[list[str]]]]:
    """Dataset -> class label -> its web photos, as [path, sha256]."""
    found: dict[str, dict[str, list[list[str]]]] = json.loads(
        (HERE / "web.json").read_text("utf-8")
    )
    return found


def web_photos(name: str, k: int, data: Path) -> list[tuple[Path, int]]:
    """(file, label) of the first ``k`` web photos of each class; [] for a sealed dataset."""
    about = declared(name)
    folder = data / about.folder / about.images
    return [
        (folder / path, int(label))
        for label, photos in _web().get(name, {}).items()
        for path, _ in photos[:k]
    ]


def pictures(name: str, data: Path) -> Pictures:
    """The dataset's photographs, without its web photos.

    Args:
        data: the folder that holds the photo datasets.

    Raises:
        ValueError: a folder, split file or photo that is missing, with where it can be had.
    """
    about = declared(name)
    folder = (data / about.folder / about.images).resolve()
    names, files = field_split(name, data)
    listed = [path for entries in files.values() for path, _ in entries]
    if absent := [path for path in listed if not (folder / path).is_file()]:
        raise ValueError(
            f"{folder} lacks {len(absent)} of the {len(listed)} photos of {name}, first "
            f"{absent[0]}. They are {about.title}, to be had from {about.source}; without DATA the "
            "committed features are used instead"
        )
    shown = {path for photos in _web().get(name, {}).values() for path, _ in photos}
    kept = {
        split: [entry for entry in entries if split != "val" or entry[0] not in shown]
        for split, entries in files.items()
    }
    pack = next(map(read_header, PACKS.glob(f"{name}.*.safetensors")), None)
    known = {about.photographs: pack.fingerprint} if pack else {}
    return Pictures(name, tuple(names), folder, kept, about.template, known=known)


def load(name: str, style: str = "default") -> Dataset:
    """A dataset of Photo World: its photographs where the variable DATA says they are, else packed.

    Raises:
        ValueError: an unknown name or a style; photographs that are incomplete; neither photographs
            nor a pack, with how to get one.
    """
    about = declared(name)
    if style != "default":
        raise ValueError(f"{name} is photographs and has no style {style!r}; leave the style out")
    data = os.environ.get("DATA")
    if data and (Path(data).expanduser() / about.folder).is_dir():
        return pictures(name, Path(data).expanduser().resolve())
    if packed := packed_dataset(name):
        return packed
    raise ValueError(
        f"no features of {name} are here: its pack is missing from {PACKS} and the variable DATA "
        f"names no folder that holds {about.folder}/. Restore the pack (git checkout), fetch one "
        f"with `dip features get`, or make it from the photographs ({about.source}) with "
        f"`dip features pack --backbone photo-lite0 --dataset {name}`"
    )
