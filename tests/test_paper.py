"""The profile `paper` end to end: photo archives, open_clip towers (with random weights), workers.

Archives have the published layouts with a few pictures; everything else is what a real run does.
"""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from pathlib import Path

import photo_archives
import pytest
import torch
from safetensors.torch import load_file, save_file

from dip_lib import load_backbone
from dip_lib.clip.features import encode_split
from dip_lib.data import few_shot, load_dataset
from dip_lib.data.photos import load_photos
from dip_lib.data.protocols import Classes, draw
from dip_lib.data.splits import read_draw
from dip_study import gate, study
from dip_study.loaded import dataset_of
from dip_study.profiles import load_profile

PAPER = replace(
    load_profile("paper").with_epochs(2),
    towers=("ViT-B-32", "RN50"),
    weights="",  # random
    datasets=("eurosat",),
    seeds=(1, 2),
    shots=2,
    views=2,
    checkpoints=1,
)
RESNET = replace(PAPER, towers=("RN50",), datasets=("imagenet",), seeds=(1,))

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*Do not compare its results"),
    pytest.mark.filterwarnings("ignore:.*have fewer than"),
]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder with a tiny archive."""
    folder = tmp_path_factory.mktemp("data")
    photo_archives.make("eurosat", folder)
    return folder


@pytest.fixture(autouse=True)
def _data_folder(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATA", str(data))
    monkeypatch.setenv("DIP_WORKERS", "1")


@pytest.fixture(scope="module")
def measured(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home in which two worker processes measured the base-to-new study."""
    home = tmp_path_factory.mktemp("measured")
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, value in (("DATA", data), ("DIP_HOME", home), ("DIP_WORKERS", 2)):
            patch.setenv(name, str(value))
        study.collect(study.base_to_new(PAPER), PAPER, results="fresh")
    return home


@pytest.fixture
def home(measured: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DIP_HOME", str(measured))
    return measured


def files(home: Path) -> dict[str, int]:
    """Every file of a home, and when it was written."""
    paths = (path for path in home.rglob("*") if path.is_file())
    return {path.name: path.stat().st_mtime_ns for path in paths}


def test_every_run_of_the_study_is_measured_by_worker_processes(home: Path) -> None:
    runs = study.base_to_new(PAPER)
    records = study.collect(runs, PAPER, results="fresh")
    assert {run.label for run in runs} == {"zero-shot", "linear probe", "CoOp", "DIP"}
    assert len(runs) == 2 + 3 * 2
    for run, record in zip(runs, records, strict=True):
        assert (record["key"], record["status"]) == (run.key(), "finished")
        assert record["classes"] == [3, 2]
        assert record["test_images"] == [6, 4]
        assert 0 <= record["checkpoints"][-1]["base"] <= 100
        prompt = home / "store" / f"{run.key()}.safetensors"
        assert prompt.is_file() == (run.schedule is not None)
        if prompt.is_file():
            assert load_file(prompt)["prompt"].shape == (4, 512)
            assert record["checkpoints"][-1]["update_norm"] > 0


def test_a_second_call_measures_and_encodes_nothing(home: Path) -> None:
    before = files(home)
    study.collect(study.base_to_new(PAPER), PAPER, results="fresh")
    assert files(home) == before


def test_random_weights_are_the_same_in_every_process_and_runs_are_the_same_alone(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [run for run in study.dip(PAPER) if run.seed == 2]
    together = study.collect(runs, PAPER)
    random = torch.get_rng_state()
    monkeypatch.setenv("DIP_HOME", str(tmp_path))
    alone = study.collect(runs, PAPER, results="fresh")  # in this process, without neighbours
    assert torch.equal(torch.get_rng_state(), random)
    for a, b in zip(together[0]["checkpoints"], alone[0]["checkpoints"], strict=True):
        assert (a["base"], a["new"], a["val"]) == (b["base"], b["new"], b["val"])
        assert a["id"] == pytest.approx(b["id"], abs=1e-4)
    # the features have the same names: the same weights, dataset and draw
    features = {path.name for path in (tmp_path / "features").iterdir()}
    assert len(features) == 2 + 1 + 1  # views of the draw, its validation pictures, the test split
    assert features <= {path.name for path in (home / "features").iterdir()}


def test_only_the_draws_of_base_classes_and_the_test_split_are_encoded(home: Path) -> None:
    found = [load_file(path)["features"] for path in (home / "features").iterdir()]
    # two draws in two views; validation, where both draws take the only picture of a class; test
    expected = [(6, 512)] * 4 + [(3, 512), (10, 512)]
    expected += [(10, 1024)]  # RN50: zero-shot alone
    assert sorted(tuple(each.shape) for each in found) == sorted(expected)


def test_the_draws_that_runs_trained_on_are_written_for_people(home: Path) -> None:
    eurosat = load_photos("eurosat")
    labels = {split: eurosat.labels(split).tolist() for split in ("train", "val")}
    files = sorted((home / "draws").glob("eurosat-*-shots2-seed*.json"))
    assert len(files) == len(PAPER.seeds)
    for seed, path in zip(PAPER.seeds, files, strict=True):
        drawn = read_draw(path, eurosat.files)  # checks the hashes
        assert drawn == few_shot(labels["train"], 2, seed, labels["val"])
        trained = draw(eurosat.labels, 2, seed, Classes())
        assert all(set(mine) < set(every) for mine, every in zip(trained, drawn, strict=True))


def test_a_further_seed_encodes_its_own_draw_alone(home: Path) -> None:
    before = files(home)
    more = replace(PAPER, seeds=(1, 2, 3))
    study.collect(study.dip(more), more, results="fresh")
    after = files(home)
    new = after.keys() - before.keys()
    assert {name: after[name] for name in before} == before
    (run,) = (each for each in study.dip(more) if each.seed == 3)
    stored = {f"{run.key()}.json", f"{run.key()}.safetensors"}
    stored |= {name for name in new if name.endswith("-shots2-seed3.json")}
    assert stored < new and len(stored) == 3
    encoded = [load_file(home / "features" / name)["features"] for name in new - stored]
    assert [len(features) for features in encoded] == [6, 6]  # two views
    for name in new:  # the home is shared
        next(home.rglob(name)).unlink()


def test_resnet_on_imagenet_reads_no_training_picture_outside_the_draw(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "data"
    photo_archives.make("imagenet", folder)
    monkeypatch.setenv("DATA", str(folder))
    found = load_dataset("imagenet")
    train, _ = draw(found.labels, RESNET.shots, 1, Classes())
    listed = sorted((folder / "imagenet/images/train").rglob("*.JPEG"))
    assert 0 < len(train) < len(listed) == len(found.labels("train"))
    for i, path in enumerate(listed):
        if i not in train:
            path.write_bytes(b"not a picture")
    records = study.collect(study.base_to_new(RESNET), RESNET, results="fresh")
    assert len(records) == 4
    assert {record["status"] for record in records} == {"finished"}
    assert records[0]["classes"] == [3, 2]


def test_a_prompt_of_imagenet_is_judged_on_all_ten_datasets_and_four_shifts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in photo_archives.NAMES:
        photo_archives.make(name, tmp_path / "archives")
    monkeypatch.setenv("DATA", str(tmp_path / "archives"))
    monkeypatch.setenv("DIP_HOME", str(tmp_path))
    whole = load_profile("paper").with_epochs(2)
    small = replace(
        whole, towers=("ViT-S-32-alt",), weights="", seeds=(1,), shots=1, views=1, checkpoints=1
    )
    cross = study.cross_dataset(small)
    study.collect(cross, small, results="fresh")
    stored = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "store").iterdir()}
    runs = [*cross, *study.domain_shift(small)]
    records = study.collect(runs, small, results="fresh")
    assert (
        stored.items()
        <= {p.name: p.stat().st_mtime_ns for p in (tmp_path / "store").iterdir()}.items()
    )
    assert {run.data.target for run in runs} == {"", *small.datasets, *small.shifts} - {"imagenet"}
    torch.manual_seed(0)
    clip = load_backbone("ViT-S-32-alt")
    for run, record in zip(runs, records, strict=True):
        if not run.data.target:
            continue
        target = load_dataset(run.data.target)
        kept = load_file(tmp_path / "store" / f"{run.source().key()}.safetensors")
        text = clip.class_embeddings(kept["prompt"], target.class_names)
        best = (encode_split(clip, target, "test") @ text.T).argmax(1)
        right = int((best == target.labels("test")).sum())
        count = len(target.class_names)
        assert (record["classes"], record["test_images"]) == ([count, 0], [2 * count, 0])
        assert record["checkpoints"][0]["base"] == pytest.approx(100 * right / (2 * count))


def test_a_dataset_is_listed_once_for_each_data_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = dataset_of("eurosat", "default")
    assert dataset_of("eurosat", "default") is first
    photo_archives.make("eurosat", tmp_path)
    (tmp_path / "eurosat/2750/Forest/Forest_1.jpg").write_bytes(b"another picture")
    monkeypatch.setenv("DATA", str(tmp_path))
    assert dataset_of("eurosat", "default").fingerprint != first.fingerprint
    monkeypatch.setenv("DATA", str(tmp_path / "nothing"))
    with pytest.raises(ValueError, match="eurosat"):
        study.base_to_new(PAPER)


def test_a_picture_that_cannot_be_read_stops_the_run_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo_archives.make("eurosat", tmp_path)
    monkeypatch.setenv("DATA", str(tmp_path))
    entries = json.loads((tmp_path / "eurosat/split_zhou_EuroSAT.json").read_text())["test"]
    broken = tmp_path / "eurosat/2750" / entries[0][0]
    whole = broken.read_bytes()
    broken.write_bytes(whole[: len(whole) // 2])
    small = replace(PAPER, towers=PAPER.towers[:1])
    with pytest.raises(ValueError, match=f"{broken}"):
        study.collect(study.zero_shots(small), small, results="fresh")


def test_the_gate_measures_zero_shot_first_and_trains_only_behind_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tower, file = "ViT-S-32-alt", str(tmp_path / "weights.safetensors")
    save_file(load_backbone(tower).model.state_dict(), file)
    small = replace(PAPER, towers=(tower,), weights=file, seeds=(1,))
    runs = study.dip(small)
    monkeypatch.setitem(gate.PUBLISHED, tower, {file: {"eurosat": [-10.0, 50.0]}})
    with pytest.raises(RuntimeError, match="eurosat"):
        study.collect(runs, small, results="fresh")
    (found,) = study.open_store(small, "fresh").records()  # zero-shot, measured by the gate
    assert found["run"] == study.zero_shots(small)[0].to_dict()
    expected = [found["checkpoints"][0][half] + 1 for half in ("base", "new")]
    monkeypatch.setitem(gate.PUBLISHED, tower, {file: {"eurosat": expected}})
    (trained,) = study.collect(runs, small, results="fresh")
    assert trained["status"] == "finished"
    assert "no published" not in capsys.readouterr().err
    monkeypatch.delitem(gate.PUBLISHED, tower)
    changed = replace(small, epochs=1)
    study.collect(study.dip(changed), changed, results="fresh")
    said = f"{tower} ({file}) on eurosat: no published zero-shot accuracy, so it was not checked"
    assert said in capsys.readouterr().err
