"""Cost before work: the plan's counts against a hand count, without a file of any dataset."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from dip_lib.clip.features import encode_split, load_features
from dip_lib.clip.loading import load_backbone
from dip_lib.errors import UnknownNameError
from dip_lib.paths import home
from dip_lib.training.batches import batches
from dip_study import causes, study
from dip_study.loaded import dataset_of
from dip_study.plan import group_cost, methods, plan
from dip_study.plan_table import lasting, table
from dip_study.profiles import load_profile

PAPER = load_profile("paper")
SMOKE = replace(load_profile("smoke"), datasets=("greek",))


@pytest.fixture(autouse=True)
def _no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATA", raising=False)


def test_the_papers_counts_are_those_counted_by_hand() -> None:
    costs = plan(PAPER, "base_to_new")
    assert costs.index.tolist()[:2] == [
        ("ViT-B-16", "fp32", "imagenet", "default"),
        ("ViT-B-16", "fp32", "caltech101", "default"),
    ]
    eurosat = costs.loc["ViT-B-16", "fp32", "eurosat", "default"]
    # zero-shot once; probe, CoOp and DIP with three seeds; the six prompts in one batch
    assert (eurosat["runs"], eurosat["batches"]) == (1 + 3 * 3, 1)
    # 5 base classes of 16 pictures are 80, of which 64 make 2 batches of 32; 200 epochs
    assert eurosat["steps"] == 6 * 200 * 2
    # the test split; 3 draws of 16 pictures in 16 views and 4 for validation
    assert eurosat["images"] == 8100 + 3 * 5 * (16 * 16 + 4)
    assert eurosat["disk"] == 12000 * 512 * 4
    dtd = costs.loc["RN50", "fp32", "dtd", "default"]  # shown in the zero-shot table alone
    assert dtd[["runs", "batches", "steps", "images", "disk"]].tolist() == [
        *(1, 0, 0, 1692),
        1692 * 1024 * 4,
    ]
    imagenet = costs.loc["ViT-B-16", "fp32", "imagenet", "default"]
    assert imagenet["images"] == 50_000 + 3 * 500 * (16 * 16 + 4)  # of 1.28 million for training
    assert costs["runs"].sum() == len(study.base_to_new(PAPER, fingerprint=""))


def test_glyph_world_encodes_whole_splits_and_the_plan_says_so() -> None:
    tower = SMOKE.towers[0]
    cost = plan(SMOKE, "base_to_new").loc[tower, "fp32", "greek", "default"]
    clip, greek = load_backbone(tower), dataset_of("greek", "default")
    load_features(clip, greek, SMOKE.views)
    files = [*(home() / "features").glob("*.safetensors")]
    assert cost["images"] == sum(len(greek.labels(split)) for split in ("train", "val", "test"))
    assert cost["disk"] == cost["images"] * 4 * encode_split(clip, greek, "val").shape[1]
    assert 1 <= sum(path.stat().st_size for path in files) / cost["disk"] < 1.01


def test_batches_are_those_that_are_measured_and_precisions_have_rows_of_their_own() -> None:
    wide = replace(SMOKE, towers=SMOKE.towers[:1], seeds=tuple(range(20)))
    trained = [run for run in study.base_to_new(wide, fingerprint="") if run.schedule]
    for device, most in (("cpu", 16), ("NVIDIA H200", 64)):
        assert plan(wide, "base_to_new", device)["batches"].sum() == len([*batches(trained, most)])
    both = plan(wide, "precision")
    assert [place[1] for place in both.index] == ["fp32", "bf16"]


def test_minutes_follow_from_given_rates_and_the_two_sides_are_apart() -> None:
    rates = {"images_per_second": 1000.0, "steps_per_second": 50.0}
    costs = plan(PAPER, "base_to_new", **rates)
    expected = costs["images"] / 1000 / 60
    assert costs["image_minutes"].tolist() == pytest.approx(expected.tolist())
    expected = costs["steps"] / 50 / 60
    assert costs["text_minutes"].tolist() == pytest.approx(expected.tolist())
    last = table(costs).split("images: to encode")[0].splitlines()[-1].split()
    assert last[0] == "all"
    sums = [lasting(costs[f"{side}_minutes"].sum()) for side in ("image", "text")]
    assert last[-4:] == " ".join(sums).split()


def test_durations_are_in_the_unit_that_suits_them() -> None:
    assert lasting(0.04) == "0.0 min"
    assert lasting(119.94) == "119.9 min"
    assert lasting(120) == "2.0 h"
    assert lasting(48 * 60) == "2.0 days"


def test_the_methods_of_a_study_are_named() -> None:
    assert methods(SMOKE, "base_to_new") == ["zero-shot", "linear probe", "CoOp", "DIP"]
    assert {"KgCoOp", "KgCoOp + DIP", "VPT"} <= set(methods(SMOKE))


@pytest.fixture
def measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rates measured on one GPU: 60 images a second, steps of 1 and 3 seconds."""
    folder = tmp_path / "results" / "benchmarks"
    folder.mkdir(parents=True)
    monkeypatch.setenv("DIP_RESULTS", str(folder.parent))
    rate = {"bare tower": 90.0, "whole path": 60.0}
    towers = [{"tower": "ViT-B-16", "precision": "fp32", "images_per_second": rate}]
    settings = {
        f"ImageNet {count}": {"classes": count, "seconds": {"ours": [seconds] * 3}}
        for count, seconds in ((10, 1.0), (50, 3.0))
    }
    machine = {"device": "NVIDIA H200"}
    encode, steps = {"machine": machine, "towers": towers}, {"settings": settings}
    (folder / "encode_gpu.json").write_text(json.dumps(encode))
    (folder / "text_step.json").write_text(json.dumps(steps | {"machine": machine}))


@pytest.mark.usefixtures("measured")
def test_rates_measured_on_the_same_device_are_used_and_nothing_is_made_up() -> None:
    small = replace(PAPER, datasets=("caltech101",))
    costs = plan(small, "base_to_new", "NVIDIA H200")
    vit, resnet = (costs.loc[tower].iloc[0] for tower in ("ViT-B-16", "RN50"))
    assert vit["image_minutes"] == pytest.approx(vit["images"] / 60 / 60)
    assert vit["text_minutes"] == pytest.approx(vit["steps"] * 3.0 / 60)  # 50 base classes
    assert resnet["text_minutes"] == 0  # zero-shot alone
    assert "not measured" in table(costs.loc[["RN50"]])
    assert "not measured" not in table(costs.loc[["ViT-B-16"]])
    pets = plan(replace(PAPER, datasets=("oxford_pets",)), "base_to_new", "NVIDIA H200").iloc[0]
    between = 1 + 2 * (19 - 10) / 40  # 19 base classes, between 10 and 50
    assert pets["text_minutes"] == pytest.approx(pets["steps"] * between / 60)
    others = (small, "cpu"), (SMOKE, "NVIDIA H200")
    for other in (plan(profile, "base_to_new", device) for profile, device in others):
        assert other["image_minutes"].isna().all()
        assert other["text_minutes"][other["steps"] > 0].isna().all()
        assert table(other).count("not measured") >= 3


def test_an_unknown_tower_is_refused_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="'ViT-B-16'"):
        plan(replace(PAPER, towers=("ViT-B16",)), "base_to_new")


def test_an_unknown_study_is_refused_with_the_names() -> None:
    with pytest.raises(UnknownNameError, match="base-to-new"):
        plan(PAPER, "base-to-new")


@pytest.mark.usefixtures("measured")
def test_a_precision_that_was_not_measured_is_not_made_up() -> None:
    both = plan(replace(PAPER, datasets=("caltech101",)), "precision", "NVIDIA H200")
    assert both["text_minutes"].isna().tolist() == [False, True]


# ---- all studies --------------------------------------------------------------------------------


def test_every_study_has_a_row_with_what_the_rows_above_lack() -> None:
    costs = plan(PAPER)
    # photos have no styles to rotate
    names = study.studies_of(PAPER)
    assert list(costs.index) == [name for name in names if name != "rotation"]
    runs = {run for name in names for run in study.STUDIES[name](PAPER, fingerprint="")}
    assert costs["runs"].sum() == len(runs)
    first = plan(PAPER, "base_to_new")[["runs", "batches", "steps", "images", "disk"]].sum()
    assert costs.loc["base_to_new", first.index].tolist() == first.tolist()
    # the same prompts on ten more datasets and on four shifts: these alone have pictures left
    assert costs.loc["cross_dataset", ["runs", "steps", "images"]].tolist() == [60, 0, 0]
    shifted = 10_000 + 50_889 + 7_500 + 30_000
    assert costs.loc["domain_shift", ["runs", "steps", "images"]].tolist() == [28, 0, shifted]


def test_few_shot_counts_every_class_and_the_epochs_of_its_shots() -> None:
    eurosat = plan(PAPER, "few_shot").loc["ViT-B-16", "fp32", "eurosat", "default"]
    # 10 classes: 10, 20 and 40 pictures make one batch of 32 or fewer, 80 two, 160 five
    assert eurosat["steps"] == 6 * (50 * 1 + 100 * 1 + 100 * 1 + 200 * 2 + 200 * 5)
    draws = sum(16 * shots + min(shots, 4) for shots in (1, 2, 4, 8, 16))
    assert eurosat["images"] == 8100 + 3 * 10 * draws


def test_surgery_on_trained_prompts_takes_no_steps() -> None:
    operated = [run for runs in causes.surgery(SMOKE, fingerprint="").values() for run in runs]
    trained = [run.source() for run in operated]
    each, both = (
        sum(group_cost(runs, set(), {}, "cpu", 1.0, 1.0)["steps"] for runs in groups)
        for groups in ([trained], [operated, trained])
    )
    assert 0 < each == both


def test_image_side_methods_pay_for_the_passes_of_their_towers() -> None:
    rates = {"images_per_second": 1000.0, "steps_per_second": 50.0}
    eurosat = plan(PAPER, "image_hosts", **rates).loc["ViT-B-16", "fp32", "eurosat", "default"]
    # 80 pictures, three seeds, plain and with DIP; CoOp and DIP beside them as in base-to-new
    cocoop, maple, promptsrc, beside = (6 * n for n in (10 * 80, 5 * 20, 20 * 20, 200 * 2))
    assert eurosat["steps"] == cocoop + maple + promptsrc + beside
    assert eurosat["text_minutes"] == pytest.approx(eurosat["steps"] / 50 / 60)
    passes = 3 * 4 * (maple + promptsrc)  # forward and backward, batches of 4
    assert eurosat["image_minutes"] == pytest.approx((eurosat["images"] + passes) / 1000 / 60)


def test_the_sum_tells_text_side_studies_from_the_image_side() -> None:
    costs = plan(PAPER, images_per_second=1000.0, steps_per_second=50.0)
    text, whole = (
        line.strip() for line in table(costs).split("images: to encode")[0].splitlines()[-2:]
    )
    assert text.startswith("text-side studies")
    assert whole.startswith("all")
    minutes = costs["text_minutes"]
    for line, part in ((text, minutes.drop("image_hosts")), (whole, minutes)):
        assert " ".join(line.split()[-2:]) == lasting(part.sum())
