"""The fifteen photo datasets: read as CoOp reads them, drawn as CoOp draws them."""

from __future__ import annotations

import json
import math
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import open_clip
import photo_archives
import pytest
import torch
from PIL import Image

from dip_lib import base_new, few_shot, load_backbone
from dip_lib.clip.features import load_features
from dip_lib.data import load_dataset, protocols
from dip_lib.data.names import Twin, check_class_names
from dip_lib.data.photos import PHOTOS, load_photos
from dip_lib.data.pictures import Pictures
from dip_lib.data.protocols import Classes, draw
from dip_lib.data.splits import read_draw, write_draw
from dip_lib.errors import UnknownNameError
from dip_study.profiles import load_profile

# the trees are tiny, and loading says so
pytestmark = pytest.mark.filterwarnings("ignore:.*published. [0-9]+ and:UserWarning")

IMAGENET = [*photo_archives.WNIDS.values()]
CLASSES = {
    **{
        name: [each.replace("_", " ") for each, _ in classes]
        for name, (_, _, classes) in photo_archives.SPLIT_FILES.items()
    },
    "fgvc_aircraft": [*photo_archives.VARIANTS],
    **{name: IMAGENET for name in ("imagenet", "imagenetv2", "imagenet_sketch")},
    **{name: IMAGENET[1:] for name in ("imagenet_a", "imagenet_r")},
}
A_PHOTO = "a photo of a {}."
TEMPLATES = {
    "oxford_pets": "a photo of a {}, a type of pet.",
    "flowers102": "a photo of a {}, a type of flower.",
    "fgvc_aircraft": "a photo of a {}, a type of aircraft.",
    "dtd": "{} texture.",
    "eurosat": "a centered satellite photo of {}.",
    "food101": "a photo of {}, a type of food.",
    "ucf101": "a photo of a person doing {}.",
}
"""CoOp's ``CUSTOM_TEMPLATES``, where they are not the plain one."""


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("data")
    for name in photo_archives.NAMES:
        photo_archives.make(name, data)
    return data


@pytest.fixture
def data(trees: Path, tmp_path: Path) -> Path:
    """A copy of some datasets, to damage."""
    for name in ("eurosat", "fgvc_aircraft", "imagenet", "imagenetv2", "imagenet-rendition"):
        shutil.copytree(trees / name, tmp_path / "data" / name)
    return tmp_path / "data"


def load(name: str, data: Path) -> Pictures:
    return load_photos(name, data)


# ---- the published layouts ----------------------------------------------------------------------


@pytest.mark.parametrize("name", photo_archives.NAMES)
def test_every_published_layout_is_read(trees: Path, name: str) -> None:
    dataset = load(name, trees)
    assert dataset.name == name
    assert list(dataset.class_names) == CLASSES[name]
    assert dataset.template == TEMPLATES.get(name, A_PHOTO)
    classes, counts = len(dataset.class_names), photo_archives.COUNTS
    shift = name in photo_archives.SHIFTS
    expected = [0 if shift else counts["train"], 0 if shift else counts["val"], counts["test"]]
    if name == "imagenet":
        expected[1] = counts["test"]  # its val pictures are both
    for split, count in zip(("train", "val", "test"), expected, strict=True):
        found = torch.bincount(dataset.labels(split), minlength=classes)
        assert found.tolist() == [count] * classes
        assert all((dataset.root / path).is_file() for path, _ in dataset.files[split])
    assert next(dataset.batches("test", size=8)).shape == (1, 2 * classes, 3, 8, 8)
    assert not any("README" in path or "BACKGROUND" in path for path, _ in dataset.files["test"])


@pytest.mark.parametrize("name", photo_archives.SPLIT_FILES)
def test_a_split_file_is_read_in_its_own_order(trees: Path, name: str) -> None:
    dataset, (folder, file, _) = load(name, trees), photo_archives.SPLIT_FILES[name]
    split = json.loads((trees / folder.split("/")[0] / file).read_text())
    assert dataset.root == (trees / folder).resolve()
    for part, entries in split.items():
        assert list(dataset.files[part]) == [(path, label) for path, label, _ in entries]
        assert all(dataset.class_names[i] == n.replace("_", " ") for _, i, n in entries)


@pytest.mark.parametrize("name", ["imagenet", "imagenet_sketch", "imagenet_a", "imagenet_r"])
def test_class_folders_are_labelled_in_sorted_order_with_their_own_names(
    trees: Path, name: str
) -> None:
    dataset = load(name, trees)
    for split, entries in dataset.files.items():
        assert list(entries) == sorted(entries)
        for path, label in entries:
            wnid = path.split("/")[-2]
            assert dataset.class_names[label] == photo_archives.WNIDS[wnid], split


def test_numbered_folders_are_places_in_the_list_of_names(trees: Path) -> None:
    dataset = load("imagenetv2", trees)
    assert all(int(path.split("/")[0]) == label for path, label in dataset.files["test"])


def test_an_unsorted_list_of_names_changes_labels_in_v2_alone(data: Path) -> None:
    before = load("imagenet", data)
    for folder in ("imagenet", "imagenetv2"):
        path = data / folder / "classnames.txt"
        path.write_text("\n".join(path.read_text().splitlines()[::-1]))
    assert load("imagenet", data).class_names == before.class_names
    assert load("imagenet", data).files == before.files
    assert load("imagenetv2", data).class_names == before.class_names[::-1]


def test_aircraft_labels_follow_the_list_of_variants(trees: Path) -> None:
    dataset = load("fgvc_aircraft", trees)
    assert all(int(path[:3]) == label for path, label in dataset.files["train"])
    assert dataset.files["train"][0][1] == len(photo_archives.VARIANTS) - 1  # in the file's order


def test_published_counts_add_up_to_the_published_archives() -> None:
    archives = {
        **{"caltech101": 9144 - 467 - 435, "oxford_pets": 7349, "stanford_cars": 16185},
        **{"flowers102": 8189, "food101": 101000, "fgvc_aircraft": 10000, "sun397": 39700},
        **{"dtd": 47 * 120, "eurosat": 27000, "ucf101": 13320},
    }
    assert {name: sum(PHOTOS[name].counts) for name in archives} == archives
    assert set(load_profile("paper").datasets) | set(photo_archives.SHIFTS) == set(PHOTOS)
    halves = {name: math.ceil(photos.classes / 2) for name, photos in PHOTOS.items()}
    sizes = {"imagenet": 500, "caltech101": 50, "oxford_pets": 19, "stanford_cars": 98}
    sizes |= {"flowers102": 51, "food101": 51, "fgvc_aircraft": 50, "sun397": 199}
    sizes |= {"dtd": 24, "eurosat": 5, "ucf101": 51}
    assert halves.items() >= sizes.items()


@pytest.mark.filterwarnings("default")
def test_a_dataset_of_another_size_than_the_published_one_is_told(trees: Path) -> None:
    with pytest.warns(UserWarning, match="13500"):
        load("eurosat", trees)


# ---- where they lie -----------------------------------------------------------------------------


def test_the_data_folder_is_an_argument_or_a_variable(
    trees: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DATA", raising=False)
    with pytest.raises(ValueError, match="DATA"):
        load_dataset("eurosat")
    given = load_dataset("eurosat", data=str(trees))
    monkeypatch.setenv("DATA", str(trees))
    assert load_dataset("eurosat").fingerprint == given.fingerprint
    monkeypatch.setenv("DATA", str(trees / "nowhere"))
    with pytest.raises(ValueError, match="nowhere"):
        load_dataset("eurosat")
    with pytest.raises(UnknownNameError, match="euro_sat"):
        load_dataset("euro_sat")
    with pytest.raises(ValueError, match="bold"):
        load_dataset("eurosat", "bold", trees)


def test_a_missing_dataset_says_where_it_belongs_and_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="caltech-101"):
        load("caltech101", tmp_path)


def test_a_linked_dataset_is_read(trees: Path, tmp_path: Path) -> None:
    (tmp_path / "eurosat").symlink_to(trees / "eurosat")
    assert load("eurosat", tmp_path).fingerprint == load("eurosat", trees).fingerprint


# ---- damage -------------------------------------------------------------------------------------

V2 = "imagenetv2-matched-frequency-format-val"
SPLIT = "eurosat/split_zhou_EuroSAT.json"


def relabel(change: Callable[[list[Any]], Any]) -> Callable[[Path], None]:
    """Change every entry of EuroSAT's split file."""

    def damage(data: Path) -> None:
        split = json.loads((data / SPLIT).read_text())
        for entries in split.values():
            for entry in entries:
                change(entry)
        (data / SPLIT).write_text(json.dumps(split))

    return damage


def twice(entry: list[Any]) -> None:
    entry[2] = "forest" if entry[1] == 3 else entry[2]


def gap(entry: list[Any]) -> None:
    entry[1] += entry[1] > 2


def torn(entry: list[Any]) -> None:
    entry[1] -= entry[1] == 1


@pytest.mark.parametrize(
    ("name", "damage", "told"),
    [
        ("eurosat", lambda d: (d / SPLIT).unlink(), "get eurosat"),
        ("eurosat", lambda d: (d / SPLIT).write_text("\n<!DOCTYPE html>"), "web page"),
        ("eurosat", lambda d: (d / SPLIT).write_text('{"train": ['), "train"),
        (
            "eurosat",
            lambda d: (d / SPLIT).write_text('{"train": []}'),
            "'val'",
        ),
        ("eurosat", lambda d: (d / SPLIT).write_text("[1, 2]"), "train"),
        (
            "eurosat",
            lambda d: (d / SPLIT).write_bytes(b"\xff\xfe\x00"),
            "decode",
        ),
        ("eurosat", relabel(twice), "forest"),
        ("eurosat", relabel(gap), "3, 5"),
        ("eurosat", relabel(torn), "Annual Crop Land"),
        (
            "eurosat",
            lambda d: shutil.rmtree(d / "eurosat/2750"),
            "AnnualCrop/AnnualCrop_1.jpg",
        ),
        (
            "eurosat",
            lambda d: [path.unlink() for path in (d / "eurosat/2750/Forest").iterdir()],
            r"(Forest/Forest_\d.jpg(, |\. )){6}",
        ),
        (
            "eurosat",
            lambda d: shutil.rmtree(d / "eurosat/2750"),
            r"(\w+/\w+_\d.jpg, ){10}…",  # the first ten and no more
        ),
        (
            "fgvc_aircraft",
            lambda d: next((d / "fgvc_aircraft/images").iterdir()).unlink(),
            "get fgvc_aircraft",
        ),
        (
            "eurosat",
            lambda d: (d / "eurosat/2750/Forest/Forest_2.jpg").unlink(),
            "Forest/Forest_2.jpg",
        ),
        (
            "fgvc_aircraft",
            lambda d: (d / "fgvc_aircraft/images_variant_val.txt").unlink(),
            "images_variant_val.txt",
        ),
        (
            "fgvc_aircraft",
            lambda d: (d / "fgvc_aircraft/images_variant_val.txt").write_text("1 A380\n7\n"),
            "A380",
        ),
        (
            "imagenet",
            lambda d: shutil.rmtree(d / "imagenet/images/val/n01440764"),
            "n01440764",
        ),
        (
            "imagenet",
            lambda d: shutil.rmtree(d / "imagenet/images/train"),
            "train",
        ),
        (
            "imagenet",
            lambda d: (d / "imagenet/classnames.txt").write_text("n01440764 tench\nn0\n"),
            "n01530575",
        ),
        (
            "imagenet_r",
            lambda d: (d / "imagenet-rendition/classnames.txt").write_text("n01440764 tench"),
            "n01530575",
        ),
        (
            "imagenetv2",
            lambda d: next((d / "imagenetv2").glob("*/3")).rename(d / "imagenetv2" / V2 / "5"),
            "classnames.txt",
        ),
    ],
)
def test_damage_is_told_with_place_and_remedy(
    data: Path, name: str, damage: Callable[[Path], Any], told: str
) -> None:
    damage(data)
    with pytest.raises(ValueError, match=told):
        load(name, data)


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("imagenet", "imagenet/images/val"),
        ("imagenet", "imagenet/images/train/n01440764"),
        ("eurosat", "eurosat/2750"),  # not "lacks 30 pictures": they may well be there
        ("eurosat", "eurosat/2750/AnnualCrop"),
    ],
)
def test_an_unreadable_folder_is_told(trees: Path, name: str, folder: str) -> None:
    with TemporaryDirectory() as public:  # pytest's own folders are closed to others
        Path(public).chmod(0o755)
        data = Path(public) / "data"
        top = folder.split("/")[0]
        shutil.copytree(trees / top, data / top)
        assert load(name, data).files
        with (
            photo_archives.closed(data / folder),
            pytest.raises(ValueError, match=folder),
        ):
            load(name, data)


def test_a_file_in_place_of_a_folder_is_told(data: Path) -> None:
    shutil.rmtree(data / "imagenet/images/val")
    (data / "imagenet/images/val").write_text("")
    with pytest.raises(ValueError, match="val"):
        load("imagenet", data)


def test_unsorted_validation_pictures_are_told(data: Path) -> None:
    shutil.rmtree(data / "imagenet/images/val")
    photo_archives.picture(data / "imagenet/images/val/ILSVRC2012_val_00000001.JPEG", 0)
    with pytest.raises(ValueError, match="val"):
        load("imagenet", data)


def test_hidden_files_and_what_systems_leave_do_not_count(data: Path) -> None:
    before = load("imagenet", data)
    (data / "imagenet/images/train/.DS_Store").write_text("")
    (data / "imagenet/images/train/n01440764/._n01440764_10026.JPEG").write_text("")
    (data / "imagenet/images/val/.cache").mkdir()
    (data / "imagenet/images/val/@eaDir").mkdir()
    (data / "imagenet/images/val/n01440764/Thumbs.db").write_text("")
    assert load("imagenet", data).fingerprint == before.fingerprint


def test_the_shifts_read_imagenets_names_where_their_copy_is_missing(data: Path) -> None:
    before = load("imagenet_r", data)
    (data / "imagenet-rendition/classnames.txt").unlink()
    assert load("imagenet_r", data).fingerprint == before.fingerprint
    (data / "imagenet/classnames.txt").unlink()
    with pytest.raises(ValueError, match="imagenet-rendition/classnames.txt"):
        load("imagenet_r", data)


# ---- two classes of one name --------------------------------------------------------------------


def test_imagenets_own_list_is_let_through_and_others_are_not(data: Path) -> None:
    names = open_clip.IMAGENET_CLASSNAMES
    with pytest.raises(ValueError, match="sunglasses"):
        check_class_names(names)
    shutil.rmtree(data / "imagenetv2")
    wnids = [f"n{i:08}" for i in range(1000)]
    for i in range(1000):
        path = data / "imagenetv2" / V2 / str(i) / "a.jpeg"
        path.parent.mkdir(parents=True)
        path.touch()
    lines = [f"{wnid} {name}\n" for wnid, name in zip(wnids, names, strict=True)]
    (data / "imagenetv2/classnames.txt").write_text("".join(lines))
    found = load("imagenetv2", data).class_names
    assert found == tuple(names)
    check_class_names(found)
    assert [i for i, name in enumerate(found) if isinstance(name, Twin)] == [744, 837]


def test_twins_have_one_text_and_the_first_is_always_named() -> None:
    names = ("small alpha", "capital beta", Twin("small alpha"), "small gamma")
    clip = load_backbone("glyph-vit")
    text = clip.class_embeddings(clip.context("a photo of a"), names)
    assert torch.equal(text[0], text[2])
    assert not torch.equal(text[0], text[1])
    noise = torch.randn(200, 128, generator=torch.Generator().manual_seed(0))
    images = torch.nn.functional.normalize(noise + 8 * text[2], dim=1)
    assert set((images @ text.T).argmax(1).tolist()) == {0}


# ---- the draw -----------------------------------------------------------------------------------


def coops_draw(split: dict[str, Any], shots: int, seed: int, half: str) -> dict[str, list[str]]:
    """CoOp's pipeline in the words of its source: the draw over all classes, then half of these.

    Source: CoOp's datasets/oxford_pets.py, Dassl's generate_fewshot_dataset.
    """
    random.seed(seed)
    drawn: dict[str, list[Any]] = {}
    for part, count in (("train", shots), ("val", min(shots, 4))):
        tracker: dict[int, list[Any]] = {}
        for item in split[part]:
            tracker.setdefault(item[1], []).append(item)
        drawn[part] = []
        for items in tracker.values():
            drawn[part] += random.sample(items, count) if len(items) >= count else items
    labels = sorted({label for _, label, _ in drawn["train"]})
    middle = math.ceil(len(labels) / 2)
    selected = {"all": labels, "base": labels[:middle], "new": labels[middle:]}[half]
    return {
        part: [path for path, y, _ in entries if y in selected] for part, entries in drawn.items()
    }


@pytest.mark.parametrize("half", ["all", "base", "new"])
@pytest.mark.parametrize(("shots", "seed"), [(1, 1), (2, 3), (16, 2)])
@pytest.mark.filterwarnings("ignore:.*have fewer than")
def test_the_pictures_drawn_are_coops(trees: Path, half: str, shots: int, seed: int) -> None:
    for name, (folder, file, _) in photo_archives.SPLIT_FILES.items():
        split = json.loads((trees / folder.split("/")[0] / file).read_text())
        expected = coops_draw(split, shots, seed, half)
        files = load(name, trees).files
        labels = {part: [label for _, label in files[part]] for part in ("train", "val")}
        rows = few_shot(labels["train"], shots, seed, labels["val"])
        base, new = base_new(labels["train"])
        wanted = {"all": base + new, "base": base, "new": new}[half]
        for part, drawn in zip(("train", "val"), rows, strict=True):
            shown = [files[part][i][0] for i in drawn if files[part][i][1] in wanted]
            assert shown == expected[part]


def test_a_draw_is_the_same_in_every_version_of_python() -> None:
    labels = [i % 3 for i in range(300)]
    assert few_shot(labels, 2, 1) == [51, 216, 292, 25, 98, 47]


@pytest.mark.filterwarnings("ignore:.*have fewer than")
def test_a_draw_is_written_and_read_back(trees: Path, tmp_path: Path) -> None:
    for name in ("eurosat", "imagenet"):
        files, path = load(name, trees).files, tmp_path / f"{name}.json"
        write_draw(path, files, 2, 3)
        train, val = few_shot([y for _, y in files["train"]], 2, 3, [y for _, y in files["val"]])
        assert read_draw(path, files) == (train, val)
        draw = json.loads(path.read_text())
        assert (draw["shots"], draw["seed"]) == (2, 3)
        assert draw["train"] == [list(files["train"][i]) for i in train]
        assert str(trees) not in path.read_text()
    again = path.read_bytes()
    write_draw(path, files, 2, 3)
    assert path.read_bytes() == again


@pytest.mark.filterwarnings("ignore:.*have fewer than")
def test_a_changed_split_or_draw_is_noticed(data: Path, tmp_path: Path) -> None:
    path = tmp_path / "draw.json"
    write_draw(path, load("eurosat", data).files, 2, 1)
    split = json.loads((data / SPLIT).read_text())
    split["test"].append(split["train"].pop())
    (data / SPLIT).write_text(json.dumps(split))
    changed = load("eurosat", data).files
    with pytest.raises(ValueError, match="split"):
        read_draw(path, changed)
    path.write_text(path.read_text().replace('"shots": 2', '"shots": 3'))
    with pytest.raises(ValueError, match="changed"):
        read_draw(path, changed)
    for text in ("", "[]", "{}", "<html>"):
        path.write_text(text)
        with pytest.raises(ValueError, match="few-shot"):
            read_draw(path, changed)


# ---- towards a run ------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:.*have fewer than")
def test_a_photo_dataset_goes_through_features_and_base_to_new(trees: Path) -> None:
    clip, dataset = load_backbone("glyph-resnet"), load_dataset("eurosat", data=trees)
    features = load_features(clip, dataset, views=2)
    assert features.train.shape == (2, 15, 128)
    base, new = protocols.evaluation_halves(dataset, features.test, Classes())
    assert (base.names, new.names) == (dataset.class_names[:3], dataset.class_names[3:])
    assert (len(base.labels), len(new.labels)) == (3 * 2, 2 * 2)
    train, _ = draw(dataset.labels, 2, 1, Classes())
    assert features.pick("train", train).shape == (2, 3 * 2, 128)
    test_only = load_features(clip, load_dataset("imagenet_r", data=trees), views=1)
    assert [len(each) for each in (test_only.train[0], test_only.val, test_only.test)] == [0, 0, 8]


def shown(data: Path, path: Path) -> np.ndarray:
    """The picture of a dataset at its own size of 32 pixels, uint8 (32, 32, 3)."""
    dataset = load("eurosat", data)
    row = [path.name in each for each, _ in dataset.files["test"]].index(True)
    (batch,) = next(dataset.batches("test", rows=[row], size=32))
    return (batch[0] * 255).round().byte().permute(1, 2, 0).numpy()


def test_every_kind_of_picture_is_shown_as_pil_converts_it(data: Path) -> None:
    split = json.loads((data / SPLIT).read_text())
    path = data / "eurosat/2750" / split["test"][0][0]
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 4), dtype=np.uint8)
    colour, grey = Image.fromarray(noise[..., :3]), Image.fromarray(noise[..., 0])
    deep = Image.fromarray(noise[..., 0].astype(np.uint16) * 257)
    turned = Image.Exif()
    turned[0x0112] = 6  # the camera was held upright
    # PIL's own conversion of 16 bits would be white wherever it is brighter than 1/257
    kinds: list[tuple[str, Image.Image, dict[str, Any]]] = [
        ("JPEG", grey, {}),
        ("JPEG", colour.convert("CMYK"), {}),
        ("PNG", deep, {}),
        ("PNG", Image.fromarray(noise), {}),
        ("JPEG", colour, {"exif": turned}),
        ("GIF", grey, {"save_all": True, "append_images": [grey.rotate(90)]}),
    ]
    for kind, picture, options in kinds:
        picture.save(path, format=kind, **options)
        with Image.open(path) as saved:
            expected = np.array((grey if picture is deep else saved).convert("RGB"))
        np.testing.assert_array_equal(shown(data, path), expected)
        if kind == "GIF":
            np.testing.assert_array_equal(expected[..., 0], noise[..., 0])  # its first frame


def test_a_turned_camera_is_not_turned_back_as_in_coop(data: Path) -> None:
    split = json.loads((data / SPLIT).read_text())
    path = data / "eurosat/2750" / split["test"][0][0]
    bright = np.zeros((32, 32, 3), np.uint8)
    bright[:8] = 255  # above, as stored
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.fromarray(bright).save(path, exif=turned)
    found = shown(data, path).astype(int)
    assert found[:6].min() > 200
    assert found[12:].max() < 50
