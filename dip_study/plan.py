"""Cost before work: what a study runs, encodes and keeps, from published counts alone.

No picture is read and nothing is measured. Minutes come from the rates that
``results/benchmarks`` has for the device, or that the caller gives; otherwise they are not
measured. What is stored already is not subtracted.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence, Set
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from dip_lib.clip.loading import backbone_config
from dip_lib.data.dataset import is_photos, packed_photos
from dip_lib.data.packed import PackedDataset
from dip_lib.data.photos import PHOTOS
from dip_lib.data.pictures import Pictures
from dip_lib.data.prepared import prepared
from dip_lib.data.splits import VAL_SHOTS
from dip_lib.errors import one_of
from dip_lib.methods.prompt_method import PromptMethod
from dip_lib.methods.surgery import Surgery
from dip_lib.methods.vpt import VPT
from dip_lib.paths import results_dir
from dip_lib.training.batches import batches
from dip_lib.training.run import Run
from dip_study.loaded import dataset_of
from dip_study.measure import BATCH
from dip_study.plan_visual import visual_minutes
from dip_study.profiles import Profile
from dip_study.study import STUDIES, studies_of

if TYPE_CHECKING:
    import pandas as pd

PLACE = ["tower", "precision", "dataset", "style"]
Folders = Mapping[str, Path]
"""Of the datasets that a profile brings."""
BACKWARD = 3
"""A forward and backward pass of an encoder takes about as long as this many forward passes."""


def _benchmark(name: str, device: str) -> dict[str, Any]:
    """A result of ``benchmarks/`` on the device; empty if there is none."""
    files = sorted((results_dir() / "benchmarks").glob(f"{name}*.json"))
    results = [json.loads(path.read_text("utf-8")) for path in files]
    return next((each for each in results if each["machine"]["device"] == device), {})


def _images_per_second(run: Run, device: str) -> float:
    """From files to features; NaN: not measured."""
    rows = _benchmark("encode", device).get("towers", ())
    rates = {(row["tower"], row["precision"]): row["images_per_second"] for row in rows}
    return float(
        rates.get((run.tower.backbone, run.tower.precision), {}).get("whole path", math.nan)
    )


def _steps_per_second(run: Run, classes: int, device: str) -> float:
    """Of one run, between the measured numbers of classes; NaN: not measured."""
    way = {"fp32": "ours", "bf16": "ours_bf16"}.get(run.tower.precision, "")
    settings = _benchmark("text_step", device).get("settings", {}).items()
    rates = [(s["classes"], s["seconds"].get(way)) for n, s in settings if "ImageNet" in n]
    measured = sorted((count, median(each)) for count, each in rates if each)
    # measured with ViT-B-16, whose text encoder other CLIPs share
    text_towers = [backbone_config(name)["text_cfg"] for name in (run.tower.backbone, "ViT-B-16")]
    alike = text_towers[0] == text_towers[1]
    if not (measured and alike):
        return math.nan
    counts, seconds = zip(*measured, strict=True)
    return 1 / float(np.interp(classes, counts, seconds))


def _classes(run: Run, folders: Folders) -> tuple[int, int]:
    """Trained classes, and images of the test split."""
    if photos := PHOTOS.get(run.data.dataset):
        count, test = photos.classes, photos.counts[2]
    elif known := prepared(run.data.dataset):
        task, tuning = known
        count, test = task.classes, task.tested(tuning)
    else:
        dataset = dataset_of(run.data.dataset, run.data.style, folders)
        count, test = len(dataset.class_names), len(dataset.labels("test"))
    return len(run.data.classes.part(range(count))[0]), test


def _drawn(run: Run, classes: int) -> int:
    """Training images of a run, as if no class lacked pictures; tasks of VTAB-1k and FGVC, whose
    runs ask for all, have so many."""
    images = classes * run.data.shots
    known = prepared(run.data.dataset)
    return min(images, known[0].trained(known[1])) if known else images


def _place(run: Run) -> tuple[str, str, str, str]:
    return run.tower.backbone, run.tower.precision, run.data.dataset, run.data.style


def _stands_on_packs(run: Run, folders: Folders) -> bool:
    """Whether the features of a run's dataset are packed, and its pictures not here."""
    name, style = run.data.dataset, run.data.style
    if is_photos(name):
        return packed_photos(name) is not None
    return isinstance(dataset_of(name, style, folders), PackedDataset)


def encoded_images(run: Run, folders: Folders) -> dict[tuple[object, ...], int]:
    """Images that a run needs encoded, by what tells one set of features from another."""
    data = run.data
    if data.target:
        own = replace(data, dataset=data.target, style="default", target="")
        on_target = replace(run, data=own)
        if _stands_on_packs(on_target, folders):
            return {}
        return {("test", *_place(on_target)): _classes(on_target, folders)[1]}
    # visual methods read the images themselves
    if run.method.side == "visual" or _stands_on_packs(run, folders):
        return {}
    place, test = _place(run), _classes(run, folders)[1]
    images: dict[tuple[object, ...], int] = {}
    if not data.held_out:  # else evaluated on validation images
        images["test", *place] = test
    if not run.method.has_seed:
        return images
    if (
        is_photos(data.dataset)
        or data.style != "default"
        or isinstance(dataset_of(data.dataset, data.style, folders), Pictures)
    ):
        shared = replace(data, **vars(data.classes.shared_draw))
        classes, _ = _classes(replace(run, data=shared), folders)
        draw = classes * (data.views * data.shots + min(data.shots, VAL_SHOTS))
        of = shared.protocol, run.seed, data.shots, data.views
        return images | {("draw", *place, *of): draw}
    dataset = dataset_of(data.dataset, data.style)
    whole = data.views * len(dataset.labels("train")) + len(dataset.labels("val"))
    return images | {("whole", *place, data.views): whole}


def _steps(run: Run, batch: int, images: int) -> int:
    """Training steps of a run; an incomplete last batch of an epoch is dropped."""
    assert run.schedule is not None
    method = run.method
    tuned = method.tuned if isinstance(method, VPT) and method.keep else run.schedule.epochs
    return tuned * (images // batch)


def _trains(run: Run) -> bool:
    """Whether it takes steps; other runs learn nothing, or evaluate what another has learned."""
    return bool(run.schedule) and not (run.data.target or isinstance(run.method, Surgery))


def group_cost(
    runs: Sequence[Run],
    known: Set[tuple[object, ...]],
    folders: Folders,
    device: str = "cpu",
    images_per_second: float | None = None,
    steps_per_second: float | None = None,
) -> dict[str, Any]:
    """What some runs of one backbone and precision cost, less the features ``known`` already."""
    cost = dict.fromkeys(("steps", "images", "disk", "image_minutes", "text_minutes"), 0.0)
    needed = {key: count for run in runs for key, count in encoded_images(run, folders).items()}
    for key, count in needed.items():
        if key not in known:
            tower = replace(runs[0].tower, backbone=str(key[1]), precision=str(key[2]))
            rate = images_per_second or _images_per_second(replace(runs[0], tower=tower), device)
            cost["images"] += count
            cost["disk"] += 4 * count * int(backbone_config(tower.backbone)["embed_dim"])
            cost["image_minutes"] += count / (60 * rate)
    trained = [run for run in runs if _trains(run)]
    prompted = _benchmark("visual_training", device) if not images_per_second else {}
    for run in trained:
        classes, tested = _classes(run, folders)
        images = _drawn(run, classes)
        batch = min(run.schedule.batch, images) if run.schedule else 1
        steps = _steps(run, batch, images)
        cost["steps"] += steps
        method, prompts_text = run.method, isinstance(run.method, PromptMethod)
        minutes = visual_minutes(run, steps * batch, tested, prompted, images_per_second)
        if minutes is not None:
            cost["image_minutes"] += minutes
        elif not (isinstance(method, PromptMethod) and not method.encodes_images):
            encode = images_per_second or _images_per_second(run, device)
            cost["image_minutes"] += BACKWARD * steps * batch / encode / 60
        if not prompts_text:
            continue
        texts = batch if isinstance(method, PromptMethod) and method.text_per_image else 1
        text_rate = steps_per_second or _steps_per_second(run, classes, device)
        cost["text_minutes"] += steps * texts / text_rate / 60
    whole = {name: int(cost[name]) for name in ("steps", "images", "disk")}
    count = len(list(batches(trained, BATCH["cpu" if device == "cpu" else "cuda"])))
    return {"runs": len(runs), "batches": count, **cost, **whole}


def plan(
    profile: Profile,
    study: str = "all",
    device: str = "cpu",
    images_per_second: float | None = None,
    steps_per_second: float | None = None,
) -> pd.DataFrame:
    """The cost of a study, a row for each backbone, precision, dataset and style; or of all.

    Args:
        study: a key of ``STUDIES``; "all": a row for each that the profile has, with what the rows
            above lack.
        device: "cpu" or a GPU by its full name, as in ``results/benchmarks``.
        images_per_second: encoded by every backbone; default: as measured on the device.
        steps_per_second: of one run; default: as measured on the device.

    Returns:
        Columns ``runs`` (all, also those that train no prompt), ``batches`` (of runs trained at
        once), ``steps`` (of training, summed over runs), ``images`` (to encode, every view
        counted; on photos those of the test split and of the few-shot draws alone), ``disk``
        (bytes of features), ``image_minutes`` and ``text_minutes``; NaN: not measured.

    Raises:
        ValueError: an unknown study, or one of which the profile has no runs.
    """
    import pandas as pd  # takes a third of a second, which only this command should cost

    options = profile.folders, device, images_per_second, steps_per_second
    if study != "all":
        shared: dict[tuple[str, ...], list[Run]] = {}
        for run in STUDIES[one_of("study", study, STUDIES)](profile, fingerprint=""):
            shared.setdefault(_place(run), []).append(run)
        if not shared:
            raise ValueError(f"profile {profile.name} has no runs of the study {study!r}")
        rows = {place: group_cost(runs, set(), *options) for place, runs in shared.items()}
        return pd.DataFrame.from_dict(rows, orient="index").rename_axis(PLACE)
    table, done, known = {}, dict[Run, None](), set[tuple[object, ...]]()
    for name in studies_of(profile):
        runs = [run for run in STUDIES[name](profile, fingerprint="") if run not in done]
        if runs:
            table[name] = group_cost(runs, known, *options)
            done |= dict.fromkeys(runs)
            known |= {key for run in runs for key in encoded_images(run, profile.folders)}
    return pd.DataFrame.from_dict(table, orient="index").rename_axis("study")


def methods(profile: Profile, study: str = "all") -> list[str]:
    """Labels of the methods that a study runs, or all studies of the profile: "CoOp", "DIP", ..."""
    named = studies_of(profile) if study == "all" else [one_of("study", study, STUDIES)]
    runs = (run for name in named for run in STUDIES[name](profile, fingerprint=""))
    return list(dict.fromkeys(run.label for run in runs))
