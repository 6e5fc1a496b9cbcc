"""The field's fifteen photo datasets, in the folders and with the split files everybody has.

``photos.toml`` declares them. The class names in ``split_zhou_*.json`` are the final ones
(EuroSAT's long names, years in front of cars, ...): CoOp renames when it makes such a file, and
changes nothing when it reads it. Nor does this reader, except that underscores become spaces, as
they do in every prompt of the peers.

Source: CoOp's ``datasets/*.py``.
"""

from __future__ import annotations

import os
import tomllib
import warnings
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Protocol

from dip_lib.data.class_tree import SPLITS, class_folders
from dip_lib.data.folders import TEMPLATE
from dip_lib.data.names import Twin, check_class_names, some
from dip_lib.data.pictures import Pictures
from dip_lib.data.repeats import told_of_repeats
from dip_lib.data.split_files import parse_split, read_text
from dip_lib.data.splits import Files
from dip_lib.data.walk import look
from dip_lib.errors import one_of


@dataclass(frozen=True)
class Photos:
    """Where a dataset lies and what it holds; ``photos.toml`` says what each field is."""

    name: str
    folder: str
    images: str
    listed: str
    classes: int
    counts: list[int]
    template: str = TEMPLATE
    layout: str = "split_zhou"

    @property
    def get(self) -> str:
        return f"`dip data get {self.name}` fetches it"


DECLARED = tomllib.loads(Path(__file__).with_name("photos.toml").read_text("utf-8"))
PHOTOS = {name: Photos(name, **values) for name, values in DECLARED.items()}
"""The fifteen by the names that profiles use."""


# ---- readers: (folder of the dataset, its declaration) -> class names and files -----------------

Found = tuple[list[str], Files]


def _text(path: Path, photos: Photos) -> str:
    """Text of a file that came with the dataset."""
    try:
        text = read_text(path)
    except (OSError, UnicodeError) as error:
        raise ValueError(f"{path} is missing or damaged ({error}); {photos.get}") from error
    if text.lstrip().startswith("<"):
        reason = "is a web page: a download saved the host's notice in place of the file. Delete it"
        raise ValueError(f"{path} {reason}; {photos.get}")
    return text


def _lines(path: Path, photos: Photos) -> list[tuple[str, str]]:
    """(first word, rest) of every line."""
    lines = [line.strip().partition(" ") for line in _text(path, photos).splitlines()]
    return [(first, rest) for first, _, rest in lines if first]


def split_zhou(folder: Path, photos: Photos) -> Found:
    """``{"train": [[path, label, class name], ...], "val": ..., "test": ...}``, in its order.

    See :func:`dip_lib.data.split_files.parse_split`.
    """
    path = folder / photos.listed
    return parse_split(_text(path, photos), path, folder / photos.images, photos.get)


def aircraft(folder: Path, photos: Photos) -> Found:
    """The official lists: ``variants.txt`` orders the names; a line is "number name"."""
    names = [" ".join(words).strip() for words in _lines(folder / photos.listed, photos)]
    place, files = {name: i for i, name in enumerate(names)}, dict[str, list[tuple[str, int]]]()
    for split in SPLITS:
        lines = _lines(folder / f"images_variant_{split}.txt", photos)
        if unknown := [f"{number} {name}" for number, name in lines if name not in place]:
            reason = f"images_variant_{split}.txt in {folder} names unknown variants"
            raise ValueError(f"{reason}, {some(unknown)}. {photos.get}")
        files[split] = [(f"{number}.jpg", place[name]) for number, name in lines]
    return names, files


def imagenet(folder: Path, photos: Photos) -> Found:
    """Class folders, sorted, with names from ``classnames.txt``; labels follow the folders found.

    ImageNet has train/ and val/, and val/ is both val and test, as in CoOp. CoOp takes a folder's
    files in the order of ``os.listdir``, so that its 16 shots depend on the file system; here they
    are sorted: one draw for everybody. The shifts are test sets; V2's folders are places in
    ``classnames.txt``. Where a shift lacks its copy of that file, ImageNet's own is read.
    """
    own, shared = folder / photos.listed, folder.parent / "imagenet" / photos.listed
    lines = _lines(shared if shared.is_file() and not own.is_file() else own, photos)
    known = dict(sorted(lines))
    if photos.layout == "numbered test folders":
        known = {str(i): name for i, (_, name) in enumerate(lines)}
    whole = photos.layout == "train and val folders"
    parts = {"train": "train/", "val": "val/", "test": "val/"} if whole else {"test": ""}
    images = folder / photos.images
    by_part = {part: class_folders(images / part) for part in set(parts.values())}
    present = set().union(*by_part.values())
    if odd := sorted(
        c for c in present if not known.get(c) or any(c not in f for f in by_part.values())
    ):
        lacks = f"{photos.listed} does not name, or one of train/ and val/ lacks"
        raise ValueError(f"class folders of {images} that {lacks}, {some(odd)}")
    classes = [c for c in known if c in present]
    files: dict[str, list[tuple[str, int]]] = {split: [] for split in SPLITS}
    for split, part in parts.items():
        each = ((c, label, file) for label, c in enumerate(classes) for file in by_part[part][c])
        files[split] = [(f"{part}{c}/{file}", label) for c, label, file in each]
    names = [known[c].replace("_", " ") for c in classes]
    return [Twin(name) if name in names[:i] else name for i, name in enumerate(names)], files


READERS = {"split_zhou": split_zhou, "aircraft lists": aircraft}
"""Layout -> reader of those that list their pictures; of the others the folders say it."""

# ---- the datasets -------------------------------------------------------------------------------


def data_root(data: str | os.PathLike[str] | None = None) -> Path:
    """The folder that holds all photo datasets: ``data``, else the variable ``DATA``.

    Raises:
        ValueError: neither is set.
    """
    if chosen := data or os.environ.get("DATA"):
        return Path(chosen).expanduser().resolve()
    raise ValueError(
        "no folder of photo datasets is given: set the variable DATA to the one that holds "
        "caltech-101/, eurosat/, ..., or pass data=. `dip data status` says what belongs there. "
        "Or fetch a feature pack (`dip features get`), which prompts on the text side can do with."
    )


def has_pictures(name: str, data: str | os.PathLike[str] | None = None) -> bool:
    """Whether a folder of photo datasets is given or set, and has one for this dataset."""
    chosen = data or os.environ.get("DATA")
    return bool(chosen) and (data_root(chosen) / PHOTOS[name].folder).is_dir()


class Published(Protocol):
    """What is published of a dataset."""

    @property
    def name(self) -> str: ...
    @property
    def classes(self) -> int: ...
    @property
    def counts(self) -> list[int]: ...


def warn_of_counts(known: Published, where: str, classes: int, counts: list[int]) -> None:
    """Warn of a dataset whose classes, or pictures of each split, are not the published ones."""
    if (classes, counts) != (known.classes, known.counts):
        warnings.warn(
            f"{known.name} in {where} has {classes} classes and {counts} training, validation and "
            f"test pictures; published: {known.classes} and {known.counts}. Do not compare its "
            "results with published ones.",
            stacklevel=3,
        )


def listed_pictures(name: str, data: str | os.PathLike[str]) -> list[str]:
    """Paths of all pictures that a dataset's list names, below the dataset's folder.

    [] where its folders say what it holds, as ImageNet's, and where the list is not there or is
    damaged, which :func:`load_photos` says.
    """
    photos = PHOTOS[one_of("photo dataset", name, PHOTOS)]
    if (read := READERS.get(photos.layout)) is None:
        return []
    try:
        _, files = read(data_root(data) / photos.folder, photos)
    except ValueError:
        return []
    images = "" if photos.images == "." else f"{photos.images}/"
    return [f"{images}{path}" for path in sorted({path for path, _ in chain(*files.values())})]


def load_photos(name: str, data: str | os.PathLike[str] | None = None) -> Pictures:
    """One of the fifteen datasets; warns where its counts are not the published ones.

    Args:
        name: a key of ``PHOTOS``.
        data: see :func:`data_root`.

    Raises:
        ValueError: a folder, list or picture that is missing or damaged (with the place and the
            command that fetches it), labels and names that do not match, duplicate names.
    """
    photos = PHOTOS[one_of("photo dataset", name, PHOTOS)]
    folder = data_root(data) / photos.folder
    if not folder.is_dir():
        remedy = (
            f"{photos.get}; `dip data status` says what is where. Prompts on the text side can do "
            "with a feature pack (`dip features get`), and `dip features list` shows none"
        )
        raise ValueError(f"{name} is expected in {folder}, which does not exist. {remedy}")
    read = READERS.get(photos.layout)
    names, files = (read or imagenet)(folder, photos)
    check_class_names(names)
    images = (folder / photos.images).resolve()
    if read:  # from a list of names: they may lack their pictures
        listed = sorted({path for path, _ in chain(*files.values())})
        if absent := [path for path in listed if not os.path.isfile(images / path)]:
            for at in (images, (images / absent[0]).parent):
                _ = os.path.isdir(at) and look(at)  # there, but not to be read: says so
            told = f"{images} lacks {len(absent)} of the {len(listed)} listed pictures"
            raise ValueError(f"{told}, {some(absent)}. {photos.get}")
    counts = [len(files[split]) for split in SPLITS]
    warn_of_counts(photos, str(folder), len(names), counts)
    same = {path: path for path, _ in chain(*files.values())}
    if told := told_of_repeats(f"{folder / photos.listed}", files, same):
        warnings.warn(told, stacklevel=2)
    return Pictures(name, tuple(names), images, files, photos.template)
