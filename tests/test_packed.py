"""Datasets that stand on feature packs: the pictures' draws, and nearly their accuracies."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from glyph_pictures import write_pictures

from dip_lib import load_backbone, load_dataset
from dip_lib.clip import packing
from dip_lib.clip.backbone import Backbone
from dip_lib.clip.features import encode_split, encode_views
from dip_lib.clip.packing import make_pack
from dip_lib.data import Dataset
from dip_lib.data.folders import picture_folder
from dip_lib.data.pack_files import add_pack, get_pack, own_packs, read_header, write_pack
from dip_lib.data.packed import PackedDataset, packed_dataset, pictures_fingerprint
from dip_lib.data.packs import FeaturePack
from dip_lib.data.pictures import Pictures
from dip_lib.data.protocols import PROTOCOLS, Classes, Draw, draw
from dip_lib.errors import NotPackedError, PackError, UnknownNameError
from dip_lib.training.measure import Group, measure_group
from dip_lib.training.run import LowRank, Run
from dip_study.gate import zero_shots
from dip_study.loaded import dataset_of
from dip_study.plan import plan
from dip_study.plan_table import table
from dip_study.profiles import load_profile
from dip_study.runs import make_run

ROOT = Path(__file__).resolve().parents[1]
NAMES = load_dataset("greek").class_names[:6]
SEEDS, SHOTS, VIEWS = (1, 2), (1, 4), 2
PAPER = replace(load_profile("paper"), datasets=("eurosat",))

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*Do not compare its results"),
    pytest.mark.filterwarnings("ignore:.*have fewer than"),
]


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATA", raising=False)


@pytest.fixture(scope="module")
def clip() -> Backbone:
    return load_backbone("glyph-resnet")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Pictures:
    """Drawn letters under the name of a photo dataset."""
    folder = write_pictures(tmp_path_factory.mktemp("pictures"), "greek", NAMES, count=24)
    return replace(picture_folder(folder), name="eurosat", workers=0)


def draws(dataset: Dataset) -> list[Draw]:
    return [draw(dataset.labels, k, seed, Classes("all-classes")) for k in SHOTS for seed in SEEDS]


@pytest.fixture(scope="module")
def packs(
    clip: Backbone, pictures: Pictures, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, FeaturePack]:
    """The same features in every encoding; the second encodes no picture."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DIP_HOME", str(tmp_path_factory.mktemp("home")))
        rows = draws(pictures)
        made = {"int8": make_pack(clip, pictures, rows, VIEWS, "int8", {"licence": "CC0"})}
        patch.setattr(Pictures, "batches", None)
        return made | {"fp16": make_pack(clip, pictures, rows, VIEWS, "fp16")}


@pytest.fixture(params=["int8", "fp16"])
def packed(request: pytest.FixtureRequest, packs: dict[str, FeaturePack]) -> PackedDataset:
    """What ``load_dataset`` gives where there is a pack and there are no pictures."""
    add_pack(packs[request.param])
    dataset = load_dataset("eurosat")
    assert isinstance(dataset, PackedDataset)
    return dataset


# ---- which dataset ------------------------------------------------------------------------------


def test_the_pictures_if_they_are_here_else_a_pack_else_an_error_that_names_both(
    tmp_path: Path, packs: dict[str, FeaturePack], monkeypatch: pytest.MonkeyPatch
) -> None:
    for data in ("", str(tmp_path)):
        with pytest.raises(ValueError, match="dip features get"):
            load_dataset("eurosat", data=data)
    add_pack(packs["int8"])
    assert isinstance(load_dataset("eurosat", data=tmp_path), PackedDataset)
    monkeypatch.setenv("DATA", str(tmp_path))
    assert isinstance(dataset_of("eurosat", "default"), PackedDataset)
    (tmp_path / "eurosat").mkdir()  # pictures that are there and broken are said to be
    with pytest.raises(ValueError, match="split_zhou_EuroSAT.json"):
        load_dataset("eurosat")
    monkeypatch.delenv("DATA")
    with pytest.raises(ValueError, match="'bold'"):
        load_dataset("eurosat", "bold")
    with pytest.raises(UnknownNameError):
        load_dataset("eurosatt")


def test_a_pack_of_other_counts_than_the_published_ones_says_so(
    packs: dict[str, FeaturePack],
) -> None:
    path = add_pack(packs["int8"])
    with pytest.warns(UserWarning, match=f"{path} has 6 classes"):
        load_dataset("eurosat")


def test_a_pack_that_arrives_while_a_process_works_is_found(
    packs: dict[str, FeaturePack], tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="DATA"):
        dataset_of("eurosat", "default")
    write_pack(tmp_path / "pack", packs["int8"])
    assert get_pack(str(tmp_path / "pack")).name == "eurosat.glyph-resnet.safetensors"
    found = dataset_of("eurosat", "default")
    assert dataset_of("eurosat", "default") is found


def test_it_is_the_dataset_of_the_pictures(packed: PackedDataset, pictures: Pictures) -> None:
    assert (packed.name, packed.class_names) == (pictures.name, pictures.class_names)
    assert packed.template == pictures.template
    encoding = read_header(packed.files[0]).encoding
    assert packed.fingerprint == f"{pictures.fingerprint}-{encoding}"  # runs have other keys
    assert pictures_fingerprint(packed.fingerprint) == pictures.fingerprint
    assert pictures_fingerprint(pictures.fingerprint) == pictures.fingerprint
    for split in ("train", "val", "test"):
        assert torch.equal(packed.labels(split), pictures.labels(split))
        assert packed.groups(split) == pictures.groups(split)
    for protocol in PROTOCOLS:
        assert draw(packed.labels, 4, 2, Classes(protocol)) == draw(
            pictures.labels, 4, 2, Classes(protocol)
        )
    assert hash(packed) == hash(load_dataset("eurosat"))
    with pytest.raises(NotPackedError, match="DATA"):
        packed.batches("test")


# ---- features and runs --------------------------------------------------------------------------


def test_features_are_the_pictures_and_nothing_is_encoded(
    packed: PackedDataset, pictures: Pictures, clip: Backbone, tmp_path: Path
) -> None:
    assert not (tmp_path / "home" / "features").exists()
    train, val = draw(packed.labels, 4, 2, Classes())
    found = [
        encode_views(clip, packed, "train", range(VIEWS), train),
        encode_views(clip, packed, "val", [None], val),
        encode_split(clip, packed, "test")[None],
    ]
    assert not (tmp_path / "home" / "features").exists()
    expected = [
        encode_views(clip, pictures, "train", range(VIEWS), train),
        encode_views(clip, pictures, "val", [None], val),
        encode_split(clip, pictures, "test")[None],
    ]
    for mine, theirs in zip(found, expected, strict=True):
        assert mine.shape == theirs.shape
        assert float((mine * theirs).sum(-1).min()) > 0.9999


def runs(dataset: Dataset) -> list[Run]:
    smoke = load_profile("smoke")
    own = {"backbone": "glyph-resnet", "shots": 4, "views": VIEWS, "epochs": 8, "checkpoints": 2}
    own["fingerprint"] = dataset.fingerprint
    return [
        make_run(smoke, "eurosat", "coop", seed, low_rank, **own)
        for seed in SEEDS
        for low_rank in (None, LowRank(rank=1, dropout=0.5))
    ]


def test_runs_from_a_pack_are_nearly_those_from_the_pictures(
    packed: PackedDataset, pictures: Pictures, clip: Backbone
) -> None:
    of_pack = measure_group(Group(runs(packed), clip, packed))
    of_pictures = measure_group(Group(runs(pictures), clip, pictures))
    assert not {run.key() for run in runs(packed)} & {run.key() for run in runs(pictures)}
    moved = 100 / min(of_pictures[0].record["test_images"])
    for mine, theirs in zip(of_pack, of_pictures, strict=True):
        assert mine.record["status"] == "finished"
        last, expected = (each.record["checkpoints"][-1] for each in (mine, theirs))
        for half in ("base", "new"):  # a picture on the boundary may fall on its other side
            assert last[half] == pytest.approx(expected[half], abs=moved + 1e-6)
        learned, prompt = (each.tensors["prompt"] for each in (mine, theirs))
        assert float((learned - prompt).norm() / prompt.norm()) < 0.01
    smoke, own = load_profile("smoke"), {"backbone": "glyph-resnet", "shots": 4, "views": VIEWS}
    for kind in ("zero-shot", "probe"):
        shown = []
        for each in (packed, pictures):
            run = make_run(smoke, "eurosat", kind, 1, fingerprint=each.fingerprint, **own)
            shown.append(measure_group(Group([run], clip, each))[0].record["checkpoints"][-1])
        assert shown[0]["base"] == pytest.approx(shown[1]["base"], abs=moved + 1e-6)


def test_what_a_pack_does_not_hold_is_said_with_what_makes_it(
    packed: PackedDataset, clip: Backbone
) -> None:
    train = draw(packed.labels, 4, 1, Classes("all-classes"))[0]
    other = draw(packed.labels, 4, 3, Classes("all-classes"))[0]
    assert set(other) - set(train)
    asked: tuple[tuple[str, Sequence[int | None], Sequence[int] | None, str], ...] = (
        ("train", range(VIEWS + 1), train, "view 2 of 'train'"),
        ("train", range(VIEWS), other, "images of 'train'"),
        ("train", [None], train, "the plain view of 'train'"),
    )
    for split, views, rows, missing in asked:
        with pytest.raises(NotPackedError, match=missing) as caught:
            encode_views(clip, packed, split, views, rows)
        assert f"in {VIEWS} views" in caught.value.holds
        assert "dip features pack --backbone glyph-resnet --dataset eurosat" in caught.value.how
    with pytest.raises(ValueError, match="counted from 0"):
        encode_split(clip, packed, "test", rows=[999])


def test_the_plan_of_a_packed_dataset_encodes_nothing(packed: PackedDataset) -> None:
    costs = plan(PAPER, "base_to_new")
    assert costs["images"].tolist() == costs["disk"].tolist() == [0, 0]
    assert costs["steps"].sum() == 6 * 200 * 2  # as from pictures
    assert "stand on feature packs" in table(costs)
    few = replace(PAPER, source="imagenet", datasets=("imagenet", "eurosat"))
    transfer = plan(few, "cross_dataset")
    images = transfer["images"].groupby(level="dataset").sum()
    assert images["imagenet"] > 0


def test_the_gate_stands_before_packs_as_before_pictures(packed: PackedDataset) -> None:
    (run,) = zero_shots([make_run(PAPER, "eurosat", "coop", 1)])
    assert run.data.fingerprint == packed.fingerprint


# ---- several packs ------------------------------------------------------------------------------


def test_image_encoders_share_a_dataset_and_one_without_a_pack_is_named(
    packs: dict[str, FeaturePack], pictures: Pictures, clip: Backbone
) -> None:
    add_pack(packs["int8"])
    vit = load_backbone("glyph-vit")
    with pytest.raises(NotPackedError, match="by glyph-vit") as caught:
        encode_split(vit, load_dataset("eurosat"), "test")
    assert "glyph-resnet" in caught.value.holds
    before = load_dataset("eurosat")
    add_pack(make_pack(vit, pictures, draws(pictures), VIEWS, "int8"))
    both = load_dataset("eurosat")
    assert both.fingerprint == before.fingerprint  # runs of the first keep their keys
    assert isinstance(both, PackedDataset) and set(both.encoders.values()) == {
        "glyph-resnet",
        "glyph-vit",
    }
    for each in (clip, vit):
        test = encode_split(each, pictures, "test")
        assert float((encode_split(each, both, "test") * test).sum(1).min()) > 0.999


def test_of_two_pools_the_one_that_holds_what_is_asked_answers(
    packs: dict[str, FeaturePack], pictures: Pictures, clip: Backbone
) -> None:
    one = draw(pictures.labels, 4, 3, Classes("all-classes"))
    add_pack(packs["int8"])
    add_pack(make_pack(clip, pictures, [one], 1, "int8", {"encoder": "glyph-resnet, one draw"}))
    dataset = load_dataset("eurosat")
    assert encode_views(clip, dataset, "train", [0], one[0]).shape[:2] == (1, len(one[0]))
    earlier = draw(pictures.labels, 1, 1, Classes("all-classes"))[0]
    assert encode_views(clip, dataset, "train", range(VIEWS), earlier).shape[0] == VIEWS
    with pytest.raises(NotPackedError, match="one draw holds"):
        encode_views(clip, dataset, "train", [1], one[0])


@pytest.mark.parametrize("what", ["fingerprint", "split", "encoding"])
def test_packs_that_disagree_are_refused_by_their_names(
    what: str, packs: dict[str, FeaturePack], pictures: Pictures, clip: Backbone, tmp_path: Path
) -> None:
    first = add_pack(packs["int8"])
    if what == "encoding":
        other = make_pack(clip, pictures, [], 0, "fp16", {"encoder": "other"})
    else:
        files = dict(pictures.files)
        path, label = files["test"][-1]
        files["test"] = [*files["test"][:-1], (path, (label + 1) % 6)]
        changed = replace(pictures, files=files)
        if what == "split":
            changed.__dict__["fingerprint"] = pictures.fingerprint
        other = make_pack(clip, changed, [], 0, "int8", {"encoder": "other"})
    second = own_packs() / "eurosat.other.safetensors"
    with pytest.raises(PackError, match=what) as caught:
        add_pack(other)
    assert caught.value.path == str(second) and str(first) in str(caught.value)
    write_pack(tmp_path / "other", other)
    with pytest.raises(PackError, match=str(tmp_path / "other")):
        get_pack(str(tmp_path / "other"))
    assert [path.name for path in own_packs().rglob("*.safetensors")] == [first.name]
    write_pack(second, other)  # by hand
    with pytest.raises(PackError, match=what) as caught:
        load_dataset("eurosat")
    assert str(first) in str(caught.value) and str(second) in str(caught.value)


def test_a_damaged_pack_stops_its_own_dataset_alone(packs: dict[str, FeaturePack]) -> None:
    path = add_pack(packs["int8"])
    path.with_name("dtd.RN50.safetensors").write_bytes(b"half")
    assert load_dataset("eurosat").name == "eurosat"
    for find in (packed_dataset, load_dataset):
        with pytest.raises(PackError, match="dtd.RN50"):
            find("dtd")


# ---- image encoders and precision ---------------------------------------------------------------


def test_backbones_with_one_image_encoder_share_features_and_packs(
    pictures: Pictures, packs: dict[str, FeaturePack], tmp_path: Path
) -> None:
    one, other = load_backbone("glyph-resnet"), load_backbone("glyph-resnet")
    assert one.encodes_as == one.fingerprint  # the names of what is encoded stay as they were
    one.image_fingerprint = other.image_fingerprint = "encoder"
    other.fingerprint = "another text encoder"
    encode_split(one, pictures, "test")
    encode_split(other, pictures, "test")
    assert len([*(tmp_path / "home" / "features").iterdir()]) == 1
    made = make_pack(one, pictures, draws(pictures), VIEWS, "int8")
    assert made.header.image_fingerprint == "encoder"
    add_pack(made)
    assert torch.equal(
        *(encode_split(each, load_dataset("eurosat"), "test") for each in (one, other))
    )


def test_a_backbone_in_bf16_has_features_of_its_own_and_is_answered_by_the_pack_in_fp32(
    packed: PackedDataset, clip: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    rounded = load_backbone("glyph-resnet", precision="bf16")
    assert rounded.encodes_as == f"{clip.encodes_as}-bf16"
    assert torch.equal(encode_split(rounded, packed, "test"), encode_split(clip, packed, "test"))
    torch.manual_seed(0)
    real = load_backbone("ViT-S-32-alt")
    torch.manual_seed(0)
    in_bf16 = load_backbone("ViT-S-32-alt", precision="bf16")
    assert in_bf16.encodes_as.endswith("-bf16")
    assert in_bf16.unrounded == real.unrounded == real.encodes_as


# ---- making one ---------------------------------------------------------------------------------


def test_auto_is_int8_unless_that_costs_more_than_points_and_pictures(
    pictures: Pictures, clip: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make_pack(clip, pictures, [], 0)
    assert made.header.encoding == "int8"
    loss = made.header.loss
    assert loss["points"] == pytest.approx(
        100 * loss["pictures"] / len(pictures.labels("test")), abs=1e-3
    )
    assert 0.999 < loss["least_cosine"] <= 1
    for points, moved, costly in (
        (0.31, 3, True),
        (-0.31, -3, True),
        (2.5, 2, False),
        (0.3, 9, False),
    ):
        assert packing.costly({"points": points, "pictures": moved}) == costly
    monkeypatch.setattr(packing, "costly", lambda loss: True)
    assert make_pack(clip, pictures, [], 0).header.encoding == "fp16"


def test_what_cannot_be_packed_is_said(
    packed: PackedDataset, pictures: Pictures, clip: Backbone
) -> None:
    with pytest.raises(NotPackedError, match="DATA"):
        make_pack(clip, packed, [], 0)
    with pytest.raises(UnknownNameError, match="'int8'"):
        make_pack(clip, pictures, [], 0, "int4")
    with pytest.raises(UnknownNameError, match="'licence'"):
        make_pack(clip, pictures, [], 0, about={"license": "CC0"})
    cats = replace(pictures, class_names=("axolotl", *NAMES[1:]))
    with pytest.raises(ValueError, match="'axolotl'"):
        make_pack(clip, cats, [], 0)


def test_a_package_brings_packs_by_an_entry_point(
    tmp_path: Path, packs: dict[str, FeaturePack]
) -> None:
    package = tmp_path / "site"
    (package / "own_packs-0.dist-info").mkdir(parents=True)
    (package / "own_packs-0.dist-info" / "METADATA").write_text("Name: own-packs\nVersion: 0\n")
    (package / "own_packs-0.dist-info" / "entry_points.txt").write_text(
        "[dip_lib.packs]\nown = own_packs:PACKS\n"
    )
    (package / "own_packs.py").write_text(
        "from pathlib import Path\nPACKS = Path(__file__).with_name('packs')\n"
    )
    path = add_pack(packs["int8"], package / "packs")
    code = (
        "import sys; from dip_study.cli import main; sys.exit(main(['features', 'list', '--json']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{package}"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    (found,) = (each for each in json.loads(done.stdout) if each["file"] == str(path))
    assert (found["file"], found["dataset"], found["licence"]) == (str(path), "eurosat", "CC0")
