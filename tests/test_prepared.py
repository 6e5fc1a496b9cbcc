"""VTAB-1k and FGVC by name, from made folders, and `dip measure` on them with a small encoder."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dip_lib.clip.timm_tower import check_timm, named_timm_tower, timm_weights
from dip_lib.data import load_dataset
from dip_lib.data.dataset import dataset_names, dataset_title, picture_sources
from dip_lib.data.prepared import FINE, NAMES, TASKS, TUNING, load_prepared
from dip_lib.data.splits import few_shot
from dip_lib.errors import UnknownNameError
from dip_lib.training.vtab import EVERY_IMAGE
from dip_study import study
from dip_study.cli import main
from dip_study.plan import plan
from dip_study.profiles import load_profile
from dip_study.visual_condensed import visual_condensed
from dip_study.visual_grid import Grid, Rate
from dip_study.visual_rates import accuracies, best
from dip_study.visual_tasks import visual_tasks

pytestmark = pytest.mark.filterwarnings("ignore:.*Do not compare its results")

COUNTS = {"train": 8, "val": 4, "test": 6}
PAPER = load_profile("paper")
SMALL = "timm:test_vit"
"""Six blocks of width 64; without a tag its weights are random."""


def write_vtab(data: Path, name: str, labels: tuple[int, ...] = (0, 1)) -> Path:
    """Red and blue pictures, wide ones, in the folder of a task of VTAB-1k."""
    folder = data / TASKS[name].folders[0]
    (folder / "images").mkdir(parents=True)
    rows = {split: list[str]() for split in COUNTS}
    for split, count in COUNTS.items():
        for i in range(count):
            colour = (250 - 9 * i, 0, 0) if i % 2 else (0, 0, 250 - 9 * i)
            path = f"images/{split}{i}.png"
            Image.new("RGB", (48, 24), colour).save(folder / path)
            rows[split].append(f"{path} {labels[i % len(labels)]}\n")
    for name, lines in (
        ("train800", rows["train"]),
        ("val200", rows["val"]),
        ("train800val200", rows["train"] + rows["val"]),
        ("test", rows["test"]),
    ):
        (folder / f"{name}.txt").write_text("".join(lines))
    return folder


def write_fgvc(folder: Path, images: str) -> None:
    """Pictures of classes 5 and 7 below ``folder / images``, from where VPT's lists begin."""
    for split, count in COUNTS.items():
        rows = {}
        for i in range(count):
            path = Path("bird", f"{split}{i}.jpg")
            (folder / images / path).parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (30, 20), (9 * i, 0, 99)).save(folder / images / path)
            rows[path.as_posix()] = 5 + 2 * (i % 2)
        (folder / f"{split}.json").write_text(json.dumps(rows))


# ---- what is known without files ----------------------------------------------------------------


def test_all_tasks_of_the_papers_are_known() -> None:
    groups = [task.group for task in TASKS.values()]
    assert {g: groups.count(g) for g in groups} == {
        "natural": 7,
        "specialised": 4,
        "structured": 8,
        FINE: 5,
    }
    vtab = [task for task in TASKS.values() if task.group != FINE]
    assert all(task.counts[:2] == [800, 200] for task in vtab)
    assert sum(task.classes for task in vtab) == 940
    assert {*NAMES} <= {*dataset_names()}
    assert dataset_title(f"vtab-cifar{TUNING}") == "CIFAR-100"
    assert "train800.txt" in picture_sources()["vtab-kitti"]
    assert "train.json" in picture_sources()["fgvc-cub"]


def test_the_paper_tunes_every_task_on_vpts_grid_and_is_planned_without_files() -> None:
    runs = visual_tasks(PAPER, fingerprint="")
    tuning = [run for run in runs if run.data.dataset.endswith(TUNING)]
    grid, other = Grid.each(PAPER)
    assert [*grid.datasets] == [*TASKS]
    assert {run.tower.backbone for run in runs} == {grid.tower, other.tower}
    assert {run.tower.weights for run in runs} == {"augreg_in21k", "mae"}
    assert {run.data.dataset for run in runs} == {*NAMES}
    assert {(run.schedule.optimiser, run.schedule.batch) for run in runs} == {("sgd", 64)}
    tried = {(run.schedule.lr, run.schedule.weight_decay) for run in tuning}
    peers = (50, 25, 10, 5, 2.5, 1, 0.5, 0.25, 0.1, 0.05)  # tune_vtab.py, times batch / 256
    assert tried == {(lr * 64 / 256, wd) for lr in peers for wd in (0.01, 0.001, 0.0001, 0.0)}
    one = replace(PAPER, visual={"tasks": {**PAPER.visual["tasks"], "datasets": ["vtab-dtd"]}})
    condensed = visual_condensed(one, fingerprint="")
    assert {run.tower.backbone for run in condensed} == {grid.tower, other.tower}
    assert {run.source() for run in condensed} <= {*runs}
    assert "visual_tasks" not in study.studies_of(PAPER)


def test_the_plan_counts_tuning_what_is_shown_and_what_is_condensed() -> None:
    paper = PAPER.visual["tasks"]
    tasks = {"datasets": ["vtab-sun397", "fgvc-nabirds"], "towers": paper["towers"][:1]}
    few = replace(PAPER, visual={"tasks": {**paper, **tasks}})
    costs = plan(few, "visual_tasks", images_per_second=100.0).loc[paper["towers"][0], "fp32"]
    epochs = 5 * 100 + 150  # five numbers of prompts, and few ones for longer
    steps = costs["steps"].droplevel("style")
    assert steps[f"vtab-sun397{TUNING}"] == 40 * epochs * (800 // 64)
    assert steps["vtab-sun397"] == 3 * epochs * (1000 // 64)
    assert steps[f"fgvc-nabirds{TUNING}"] == 40 * epochs * (21536 // 64)
    head = 768 + 200  # each image encoded once, and the evaluation
    prompts = 3 * (4 * 100 + 150) * 768 + 5 * 200
    minutes = costs["image_minutes"].droplevel("style")[f"vtab-sun397{TUNING}"]
    assert minutes == pytest.approx(40 * (head + prompts) / 100 / 60)
    condensed = plan(few, "visual_condensed", images_per_second=100.0)
    assert (condensed["image_minutes"] > 0).all()


def test_chosen_rates_belong_to_an_encoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_vtab(tmp_path, "vtab-kitti")
    monkeypatch.setenv("DATA", str(tmp_path))
    grid = Grid.each(PAPER)[1]
    rates = {grid.tower: {"vtab-kitti": {"deep 100": [1.25, 0.001], "few": 0.5}}}
    tasks = {**PAPER.visual["tasks"], "datasets": ["vtab-kitti"]}
    assert visual_condensed(replace(PAPER, visual={"tasks": tasks})) == []
    chosen = replace(PAPER, visual={"tasks": {**tasks, "lr": rates}})
    shown = [r for r in visual_tasks(chosen) if r.data.dataset == "vtab-kitti"]
    assert {run.tower.backbone for run in shown} == {grid.tower}
    found = {r.method.vectors: (r.schedule.lr, r.schedule.weight_decay) for r in shown}
    assert found == {100: (1.25, 0.001), 30: (0.5, PAPER.settings["vpt"]["weight_decay"])}
    assert {run.data.shots for run in shown} == {EVERY_IMAGE}
    assert {run.source() for run in visual_condensed(chosen)} <= {*shown}


# ---- folders ------------------------------------------------------------------------------------


def test_a_task_of_vtab_and_its_tuning_part(tmp_path: Path) -> None:
    write_vtab(tmp_path, "vtab-kitti", (0, 2))
    whole = load_dataset("vtab-kitti", data=tmp_path)
    part = load_dataset(f"vtab-kitti{TUNING}", data=tmp_path)
    assert whole.class_names == part.class_names == ("0", "1", "2", "3")  # 1 and 3 without images
    sizes = {d.name: [len(d.labels(s)) for s in COUNTS] for d in (whole, part)}
    assert sizes == {"vtab-kitti": [12, 4, 6], f"vtab-kitti{TUNING}": [8, 4, 4]}
    assert part.labels("test").tolist() == part.labels("val").tolist()
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # every image was asked for, and every image is drawn
        labels = [whole.labels(split).tolist() for split in ("train", "val")]
        train, _ = few_shot(labels[0], len(labels[0]) + 1, 1, labels[1])
    assert sorted(train) == [*range(12)]


def test_vtab_is_squeezed_and_fgvc_cropped(tmp_path: Path) -> None:
    """A wide picture, black but for its left end: a centre crop does not have it."""
    folder = write_vtab(tmp_path, "vtab-kitti")
    pixels = np.zeros((24, 48, 3), np.uint8)
    pixels[:, :6] = 255
    Image.fromarray(pixels).save(folder / "images/test0.png")
    squeezed = load_prepared("vtab-kitti", tmp_path)
    ((seen,),) = squeezed.batches("test", rows=[0], size=24)
    assert seen[0, :, :, 0].min() > 0.9
    cropped = replace(squeezed, squeezed=False)
    ((seen,),) = cropped.batches("test", rows=[0], size=24)
    assert seen.max() == 0
    assert cropped.fingerprint != squeezed.fingerprint


@pytest.mark.parametrize(
    ("name", "folder", "images"),
    [("fgvc-cub", "CUB_200_2011", "images"), ("fgvc-flowers", "flowers-102", "jpg")],
)
def test_fgvc_is_read_where_it_was_unpacked(
    tmp_path: Path, name: str, folder: str, images: str
) -> None:
    write_fgvc(tmp_path / folder, images)
    whole = load_prepared(name, tmp_path)
    assert whole.class_names == ("5", "7") and not whole.squeezed
    assert whole.root == tmp_path / folder / images
    part = load_prepared(name + TUNING, tmp_path)
    assert whole.files["train"] == part.files["train"]  # as VPT has it
    assert part.files["test"] == whole.files["val"]


def test_what_a_folder_lacks_is_said(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"vtab-1k/kitti does not exist.*val200"):
        load_prepared("vtab-kitti", tmp_path)
    folder = write_vtab(tmp_path, "vtab-kitti")
    with pytest.warns(UserWarning, match="711"):
        load_prepared("vtab-kitti", tmp_path)
    (folder / "images/test0.png").unlink()
    with pytest.raises(ValueError, match=r"lacks 1 of .*test0"):
        load_prepared("vtab-kitti", tmp_path)
    both = folder / "train800val200.txt"
    both.write_text(both.read_text().replace("train0", "train1"))
    with pytest.raises(ValueError), pytest.warns(UserWarning, match="train800val200"):
        load_prepared("vtab-kitti", tmp_path)
    (folder / "test.txt").write_text("images/test1.png 4\n")  # counted from 1
    with pytest.raises(ValueError, match=r"\[4\], but there are 4 classes"):
        load_prepared("vtab-kitti", tmp_path)
    (folder / "val200.txt").unlink()
    with pytest.raises(ValueError, match=r"val200\.txt"):
        load_prepared(f"vtab-kitti{TUNING}", tmp_path)


# ---- encoders -----------------------------------------------------------------------------------


def test_an_encoder_of_timm_is_named_with_its_weights() -> None:
    assert timm_weights("timm:vit_base_patch16_224.mae") == "mae"
    assert timm_weights(SMALL) == ""
    with torch.random.fork_rng():
        tower = named_timm_tower(SMALL, "bf16")
    assert tower.name == SMALL and tower.image_size == 160
    assert next(tower.model.parameters()).dtype == torch.bfloat16
    for wrong in ("timm:vit_base_patch16_224.maee", "timm:vit_bas_patch16_224"):
        with pytest.raises(UnknownNameError, match="vit_base_patch16_224"):
            check_timm(wrong)
    tasks = {**PAPER.visual["tasks"], "towers": ["timm:vit_base_patch16_224.maee"]}
    with pytest.raises(UnknownNameError, match="mae"):
        visual_tasks(replace(PAPER, visual={"tasks": tasks}), fingerprint="")


def test_weights_that_cannot_be_had_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dip_lib.clip.timm_tower.out_of_reach", lambda _: "no network")
    with pytest.raises(ValueError, match=r"mae.*no network.*HF_HOME"):
        named_timm_tower("timm:vit_base_patch16_224.mae")


# ---- measured -----------------------------------------------------------------------------------

PROFILE = f"""
like = "paper"
seeds = [1]
[settings.vpt]
depth = 2
[visual.tasks]
towers = ["{SMALL}"]
datasets = ["vtab-kitti"]
deep = [0, 2]
shallow = []
epochs = 2
batch = 4
rates = [0.25]
decays = [0.0, 0.01]
[visual.tasks.condense]
of = 2
keep = [50]
headline = 50
tuned = 1
draws = 1
"""
STUDIES = ["--study", "visual_tasks", "visual_condensed"]


def test_the_studies_are_measured_from_folders_to_condensed_prompts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_vtab(tmp_path, "vtab-kitti")
    monkeypatch.setenv("DATA", str(tmp_path))
    monkeypatch.setenv("DIP_WORKERS", "1")
    file = tmp_path / "small.toml"
    file.write_text(PROFILE)
    measure = ["measure", "--profile", str(file), *STUDIES, "--json"]

    def measured() -> dict[str, dict[str, int]]:
        assert main(measure) == 0
        found: dict[str, dict[str, int]] = json.loads(capsys.readouterr().out)
        return found

    tuning = 2 * 3  # decays, and the head, two prompts and few ones
    assert measured()["visual_tasks"] == {"runs": tuning, "measured": tuning}
    profile = load_profile(str(file))
    (grid,) = Grid.each(profile)
    store = study.open_store(profile, "missing")
    ((task, reached),) = accuracies(profile, store, grid)
    rates = best(reached)
    assert task == "vtab-kitti" and rates.keys() == {"deep 0", "deep 2", "few"}
    assert {*rates.values()} <= {Rate(0.25, 0.0), Rate(0.25, 0.01)}
    inside = ", ".join(f'"{number}" = {rate}' for number, rate in rates.items())
    file.write_text(f'{PROFILE}\n[visual.tasks.lr."{SMALL}"]\n{task} = {{ {inside} }}\n')
    found = measured()
    assert found["visual_tasks"] == {"runs": tuning + 3, "measured": 3}
    assert found["visual_condensed"]["measured"] == found["visual_condensed"]["runs"] > 0
    profile = load_profile(str(file))
    records = study.collect([*visual_tasks(profile), *visual_condensed(profile)], profile)
    assert {record["status"] for record in records} == {"finished"}
    images = {r["run"]["data"]["dataset"]: r["test_images"] for r in records}
    assert images == {f"vtab-kitti{TUNING}": [4, 0], "vtab-kitti": [6, 0]}
    assert {r["run"]["tower"]["backbone"] for r in records} == {SMALL}
    assert measured()["visual_condensed"]["measured"] == 0


def test_a_method_with_a_text_side_says_that_timm_has_none(tmp_path: Path) -> None:
    from dip_lib.training.measure import Group, measure_group
    from dip_study.runs import make_run

    run = make_run(PAPER, "vtab-kitti", "coop", 1, backbone=SMALL, fingerprint="")
    write_vtab(tmp_path, "vtab-kitti")
    group = Group([run], named_timm_tower(SMALL), load_prepared("vtab-kitti", tmp_path))
    with pytest.raises(ValueError, match=r"timm:test_vit has no text encoder.*CoOp"):
        measure_group(group)
