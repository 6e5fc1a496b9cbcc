"""Cost before work: what a study runs, encodes and keeps, from published counts alone.

No picture is read and nothing is measured. Minutes come from the rates that
``results/benchmarks`` has for the device, or that the caller gives; otherwise they are not
measured. What is stored already is not subtracted.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from statistics import median
from typing import Any

import numpy as np
import open_clip
import pandas as pd

from dip_lib.archives import amount
from dip_lib.datasets import load_dataset
from dip_lib.datasets.photos import PHOTOS
from dip_lib.datasets.splits import VAL_SHOTS
from dip_lib.errors import one_of
from dip_lib.glyphs import models as glyph_models
from dip_lib.loading import GLYPH_NAMES
from dip_lib.measure import BATCH, UNTRAINED, groups
from dip_lib.paths import results_dir
from dip_lib.profiles import Profile
from dip_lib.spec import RunSpec
from dip_lib.study import STUDIES

PLACE = ["tower", "precision", "dataset", "style"]
LEGEND = """\
images: to encode, every view counted; steps: summed over runs; both as if no class lacked pictures.
Image side: encoding, once for all prompts; text side: training prompts. Minutes are estimates, on a
CPU of one core; zero-shot runs, probes and evaluation are not counted."""


def _benchmark(name: str, device: str) -> dict[str, Any]:
    """A result of ``benchmarks/`` on the device; empty if there is none."""
    files = sorted((results_dir() / "benchmarks").glob(f"{name}*.json"))
    results = [json.loads(path.read_text("utf-8")) for path in files]
    return next((each for each in results if each["machine"]["device"] == device), {})


def _tower(name: str) -> dict[str, Any]:
    """open_clip's configuration, as far as it matters here."""
    glyph = {"embed_dim": glyph_models.EMBEDDING, "text_cfg": glyph_models.TEXT}
    return glyph if name in GLYPH_NAMES else open_clip.get_model_config(name)


def _images_per_second(run: RunSpec, device: str) -> float:
    """From files to features; NaN: not measured."""
    rows = _benchmark("encode", device).get("towers", ())
    rates = {(row["tower"], row["precision"]): row["images_per_second"] for row in rows}
    return float(rates.get((run.backbone, run.precision), {}).get("whole path", math.nan))


def _steps_per_second(run: RunSpec, classes: int, device: str) -> float:
    """Of one run, between the measured numbers of classes; NaN: not measured."""
    way = {"fp32": "ours", "bf16": "ours_bf16"}.get(run.precision)
    settings = _benchmark("text_step", device).get("settings", {}).items()
    measured = sorted((s["classes"], s["seconds"]) for n, s in settings if "ImageNet" in n)
    # measured with ViT-B-16, whose text tower other CLIPs share
    alike = _tower(run.backbone)["text_cfg"] == _tower("ViT-B-16")["text_cfg"]
    if not (way and measured and alike):
        return math.nan
    counts, seconds = zip(*((count, median(each[way])) for count, each in measured), strict=True)
    return 1 / float(np.interp(classes, counts, seconds))


def _sizes(runs: Sequence[RunSpec]) -> tuple[int, int]:
    """Base classes, and images to encode, of runs that share tower and dataset."""
    first, learnt = runs[0], [run for run in runs if run.method != "zero-shot"]
    views = max((run.views for run in learnt), default=0)
    if photos := PHOTOS.get(first.dataset):
        base = math.ceil(photos.classes / 2)
        draws = {(run.seed, run.shots) for run in learnt}
        drawn = sum(views * shots + min(shots, VAL_SHOTS) for _, shots in draws)
        return base, photos.counts[2] + base * drawn
    dataset = load_dataset(first.dataset, first.style)
    train, val, test = (len(dataset.labels(split)) for split in ("train", "val", "test"))
    return math.ceil(len(dataset.class_names) / 2), test + (views * train + val if learnt else 0)


def plan(
    profile: Profile,
    study: str = "base_to_new",
    device: str = "cpu",
    images_per_second: float | None = None,
    steps_per_second: float | None = None,
) -> pd.DataFrame:
    """The cost of a study, a row for each tower, precision, dataset and style.

    Args:
        study: a key of ``STUDIES``.
        device: "cpu" or a GPU by its full name, as in ``results/benchmarks``.
        images_per_second: encoded by every tower; default: as measured on the device.
        steps_per_second: of one run; default: as measured on the device.

    Returns:
        Columns ``runs`` (all, also those that train no prompt), ``batches`` (of runs trained at
        once), ``steps`` (of training, summed over runs), ``images`` (to encode, every view
        counted; on photos those of the test split and of the few-shot draws alone), ``disk``
        (bytes of features), ``image_minutes`` (of encoding) and ``text_minutes`` (of training);
        NaN: not measured.
    """
    shared: dict[tuple[str, str, str, str], list[RunSpec]] = {}
    for run in STUDIES[one_of("study", study, STUDIES)](profile, data=""):
        place = (run.backbone, run.precision, run.dataset, run.style)
        shared.setdefault(place, []).append(run)
    rows = {}
    for place, runs in shared.items():
        trained = [run for run in runs if run.method not in UNTRAINED]
        base, images = _sizes(runs)
        counts = [(run, base * run.shots) for run in trained]
        # an incomplete last batch is dropped
        steps = sum(run.epochs * (count // min(run.batch, count)) for run, count in counts)
        encoded = images_per_second or _images_per_second(runs[0], device)
        stepped = steps_per_second or _steps_per_second(runs[0], base, device)
        rows[place] = {
            "runs": len(runs),
            "batches": len(list(groups(trained, BATCH["cpu" if device == "cpu" else "cuda"]))),
            "steps": steps,
            "images": images,
            "disk": 4 * images * int(_tower(runs[0].backbone)["embed_dim"]),
            "image_minutes": images / encoded / 60,
            "text_minutes": steps / stepped / 60 if steps else 0.0,
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(PLACE)


def table(costs: pd.DataFrame) -> str:
    """The costs as plain text, with their sum."""
    total = costs.sum(skipna=False).rename(("all", "", "", ""))
    shown = pd.concat([costs, total.to_frame().T]).astype(costs.dtypes).rename_axis(PLACE)
    forms = {"disk": amount, "steps": "{:,}".format, "images": "{:,}".format}
    form: Any = {"formatters": forms, "float_format": "{:,.1f}".format, "na_rep": "not measured"}
    text = shown.reset_index().to_string(index=False, **form)
    return f"{text}\n{LEGEND}"
