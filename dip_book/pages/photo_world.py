"""Page 15: Photo World's datasets, what its text encoders know, near-twins of test photographs."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pandas as pd

from dip_book.interval import Interval
from dip_book.tables import averages, final
from dip_lib.data import load_dataset
from photo_world.datasets import DECLARED, HERE
from photo_world.models import CARD, NAMES


def about_towers() -> dict[str, Any]:
    """Name -> what the model card records of a text encoder."""
    card: dict[str, Any] = json.loads(CARD.read_text("utf-8"))
    return {name: card[name] for name in NAMES}


def towers_table() -> pd.DataFrame:
    """Each text encoder: web photographs a class, seed, what it learned from, its size."""
    rows = {
        name: {
            "web photographs a class": about["recipe"]["web_photos"],
            "seed": about["recipe"]["seed"],
            "classes with photographs": about["classes"]["web"],
            "ImageNet's classes": about["classes"]["imagenet"],
            "sentences": about["texts"]["sentences"],
            "tokens known": about["tokens"],
            "logit scale": about["logit_scale"],
            "CPU-seconds": about["cpu_seconds"],
            "megabytes": round(about["bytes"] / 1e6, 1),
        }
        for name, about in about_towers().items()
    }
    return pd.DataFrame.from_dict(rows, orient="index")


def recipes_table() -> pd.DataFrame:
    """Zero-shot accuracy by every text encoder, base / new, as its model card records it.

    All by the template "a photo of a {}.", on the test photographs, right after pre-training.
    """
    columns = {
        f"{name} {half}": {
            DECLARED[dataset].title: by_template["a photo of a {}."][place]
            for dataset, by_template in about["zero_shot"].items()
        }
        for name, about in about_towers().items()
        for place, half in enumerate(("base", "new"))
    }
    table = pd.DataFrame(columns)
    table.loc["average"] = table.mean()
    return table


def datasets_table(names: Iterable[str]) -> pd.DataFrame:
    """Each dataset: classes, photographs of each split, template, what it is a part of, terms."""
    rows = {}
    for name in names:
        about, dataset = DECLARED[name], load_dataset(name)
        rows[about.title] = {
            "classes": len(dataset.class_names),
            **{split: len(dataset.labels(split)) for split in ("train", "val", "test")},
            "template": dataset.template,
            "which part": about.subset or "complete, with the field's split",
            "terms": about.licence,
        }
    return pd.DataFrame(rows).T


def finding(zero: pd.DataFrame, probe: pd.DataFrame, towers: Iterable[str]) -> str:
    """Zero-shot accuracy by each text encoder, and what a linear probe finds, on average."""
    said = []
    for tower in towers:
        found = averages(zero[zero["backbone"] == tower])
        said.append(
            f"`{tower}` classifies **{found['base'].value:.0f} %** of the base classes' test "
            f"photographs and **{found['new'].value:.0f} %** of the new ones' correctly"
        )
    linear = sum(v.mean() for v in final(probe, "base").values()) / probe["dataset"].nunique()
    return (
        f"**Finding.** Without tuning {'; '.join(said)}. A linear probe on sixteen images a class "
        f"reaches **{linear:.0f} %** on base classes: there is room to improve."
    )


def zero_shot_table(zero: pd.DataFrame, probe: pd.DataFrame) -> pd.DataFrame:
    """Each dataset's zero-shot accuracy by each text encoder, base / new; the probe's on base."""
    columns = {
        f"{tower} {half}": {d: v.mean() for d, v in final(runs, half).items()}
        for tower, runs in zero.groupby("backbone", sort=False)
        for half in ("base", "new")
    }
    table = pd.DataFrame(columns | {"probe base": _means(probe)})
    table["head-room"] = table["probe base"] - table.iloc[:, 0]
    table.loc["average"] = table.mean()
    return table


def base_accuracy(table: pd.DataFrame) -> pd.DataFrame:
    """Of :func:`zero_shot_table` the columns on base classes, without the average."""
    columns = [name for name in table if str(name).endswith(" base")]
    return table.loc[table.index != "average", columns]


def _means(runs: pd.DataFrame) -> dict[str, float]:
    return {d: float(v.mean()) for d, v in final(runs, "base").items()}


def twins_table() -> pd.DataFrame:
    """Photographs with a near-twin among the test photographs, of those compared, by dataset."""
    found = json.loads((HERE / "twins.json").read_text("utf-8"))
    rows = {
        DECLARED[name].title: {"cosine above": about["threshold"]}
        | {kind: f"{about['twins'][kind]} of {about['compared'][kind]}" for kind in about["twins"]}
        | {"test": about["compared"]["test"]}
        for name, about in found.items()
    }
    return pd.DataFrame(rows).T


def numbers(zero: pd.DataFrame) -> dict[str, Interval | int]:
    """The page's numbers: zero-shot averages by each text encoder, datasets and classes."""
    found: dict[str, Interval | int] = {}
    for tower, runs in zero.groupby("backbone", sort=False):
        name = str(tower).replace("-", "_")
        found |= {f"{name}_{half}": value for half, value in averages(runs).items()}
    datasets = sorted(set(zero["dataset"]))
    classes = sum(len(load_dataset(name).class_names) for name in datasets)
    return found | {"datasets": len(datasets), "classes": classes}
