"""Photo World's datasets: splits, reserved web photos, packs, and what is sealed."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from dip_book.claims import load_claims
from dip_lib.clip import load_backbone
from dip_lib.clip.features import load_features
from dip_lib.data import dataset as datasets
from dip_lib.data import load_dataset
from dip_lib.data.dataset import check_open, dataset_title, picture_sources
from dip_lib.data.pack_files import pack_paths, read_pack
from dip_lib.data.packed import PackedDataset
from dip_lib.data.protocols import Classes, draw
from dip_lib.store import Store
from dip_study.commands import run
from dip_study.measure import measure
from dip_study.profiles import load_profile
from dip_study.runs import make_run
from photo_world.datasets import DECLARED, HERE, SPLITS
from photo_world.plugin import DATASETS

OPEN = [name for name, about in DECLARED.items() if not about.sealed]
SEALED = [name for name, about in DECLARED.items() if about.sealed]
CLOSED = [name for name in SEALED if DECLARED[name].closed]
OWN = [name for name, about in DECLARED.items() if about.split]
WEB = json.loads((HERE / "web.json").read_text("utf-8"))
TWINS = json.loads((HERE / "twins.json").read_text("utf-8"))


@pytest.mark.parametrize("name", OWN)
def test_no_photograph_is_in_two_parts_of_a_split(name: str) -> None:
    split = json.loads((SPLITS / DECLARED[name].split).read_text("utf-8"))
    paths = [path for entries in split.values() for path, _, _ in entries]
    assert len(paths) == len(set(paths))
    names = {label: name for entries in split.values() for _, label, name in entries}
    assert sorted(names) == list(range(len(names)))
    for entries in split.values():
        assert all(names[label] == name for _, label, name in entries)


@pytest.mark.parametrize("name", OPEN)
def test_web_photographs_are_reserved_by_hash_from_val_and_leave_four_of_a_class(name: str) -> None:
    dataset = load_dataset(name)
    left = Counter(dataset.labels("val").tolist())
    assert set(map(int, WEB[name])) == set(range(len(dataset.class_names)))
    for label, photos in WEB[name].items():
        hashes = [digest for _, digest in photos]
        assert hashes == sorted(set(hashes)) and 1 <= len(photos) <= 4
        assert left[int(label)] >= 4
    shown = {path for photos in WEB[name].values() for path, _ in photos}
    assert not shown & set(TWINS[name]["paths"])
    if about := DECLARED[name].split:
        split = json.loads((SPLITS / about).read_text("utf-8"))
        assert shown <= {path for path, _, _ in split["val"]}
        assert len(split["val"]) - len(shown) == len(dataset.labels("val"))


def test_of_sealed_datasets_no_photograph_was_shown_to_pre_training() -> None:
    assert SEALED and not set(SEALED) & set(WEB)


@pytest.mark.parametrize("name", OPEN)
def test_a_pack_holds_what_five_seeds_and_every_number_of_shots_draw(name: str) -> None:
    dataset = load_dataset(name)
    assert isinstance(dataset, PackedDataset)
    drawn = [
        draw(dataset.labels, shots, seed, Classes("all-classes"))
        for shots in (1, 16)
        for seed in (1, 5)
    ]
    for backbone in ("photo-lite0", "photo-lite0-4", "photo-lite0-b"):
        features = load_features(load_backbone(backbone), dataset, 3, drawn)
        assert features.test.shape == (len(dataset.labels("test")), 256)
        for train, _ in drawn:
            assert features.pick("train", train).shape == (3, len(train), 256)


def test_packs_are_small_and_whole_and_say_whose_they_are() -> None:
    packs = [path for path in pack_paths() if path.parent.parent == HERE]
    assert {path.name.split(".")[0] for path in packs} == set(DECLARED)
    assert sum(path.stat().st_size for path in packs) <= 25e6
    for path in packs:
        header = read_pack(path).header
        about = DECLARED[header.dataset]
        assert (header.licence, header.source) == (about.licence, about.source)
        assert header.note == about.subset


def test_a_dataset_was_kept_for_a_claim_and_only_that_one_opens_it() -> None:
    claims = {claim.id for claim in load_claims(HERE.parent / "book" / "claims.toml")}
    for name in SEALED:
        about = DECLARED[name]
        assert about.sealed in claims and about.opened in ("", about.sealed)
        assert not replace(about, opened=about.sealed).closed
        assert replace(about, opened="").closed == about.sealed
    assert all(not about.opened for about in DECLARED.values() if not about.sealed)


def test_the_store_refuses_sealed_datasets_and_says_what_opens_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = {"photo-clothing": "the claim 'beyond-the-paper'"} | DATASETS.sealed
    assert {*CLOSED} == {*DATASETS.sealed}
    monkeypatch.setattr(datasets, "plugins", lambda _: [replace(DATASETS, sealed=kept)])
    for name in kept:
        with pytest.raises(ValueError, match="beyond-the-paper"):
            check_open(name)
    profile = load_profile("photos-smoke")
    sealed = make_run(profile, "photo-clothing", "coop", 1)
    store = Store(tmp_path, [])
    with pytest.raises(ValueError, match="photo-clothing"):
        measure([sealed], store)
    open_run = make_run(profile, "photo-dtd10", "zero-shot", 0)
    measure([open_run], store)
    record = store.get(open_run)
    assert record is not None
    closed = replace(open_run, data=replace(open_run.data, dataset="photo-clothing"))
    with pytest.raises(ValueError, match="photo-clothing"):
        store.put(record | {"run": closed.to_dict(), "key": closed.key()})
    assert store.get(closed) is None


def test_titles_are_the_fields() -> None:
    assert dataset_title("photo-caltech101") == "Caltech101"
    assert dataset_title("greek") == "greek"


def test_dip_data_get_knows_where_the_photographs_come_from(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sources = picture_sources()
    assert sources["photo-eurosat"] == "eurosat" and sources["photo-dtd10"] == "dtd"
    assert set(DECLARED) <= set(sources)
    assert run(["data", "get", "photo-cub100", "--data", str(tmp_path)]) == 1
    assert DECLARED["photo-cub100"].source in capsys.readouterr().err
