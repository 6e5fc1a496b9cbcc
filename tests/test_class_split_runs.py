"""Runs on random base/new splits: what they measure, and what their images cost."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from counted import Counted
from few_glyphs import NAMES, Few
from few_glyphs import run as few_run
from test_protocols import run
from torch import Tensor

from dip_lib import load_backbone
from dip_lib.clip.features import encode_split, load_features
from dip_lib.data import load_dataset
from dip_lib.data.pictures import Pictures
from dip_lib.data.protocols import among
from dip_lib.data.splits import base_new
from dip_lib.methods import METHODS
from dip_lib.methods.zero_shot import Ensemble, ZeroShot
from dip_lib.training import measure, vtab
from dip_lib.training.measure import Group, measure_group
from dip_lib.training.parts import Data, LowRank, Tower
from dip_lib.training.record import Result
from dip_lib.training.run import Run
from dip_lib.training.untrained import zero_shot

CLIP = "glyph-resnet"


def untrained(method: Any, split: int, **data: Any) -> Run:
    return Run(
        data=Data(**{"dataset": "greek", "shots": 0, "views": 0, "class_split": split} | data),
        tower=Tower(backbone=CLIP),
        method=method,
        seed=1 if method.has_seed else 0,
    )


def test_zero_shot_accuracy_of_a_split_is_that_of_its_names() -> None:
    clip, dataset = load_backbone(CLIP), load_dataset("greek")
    text = ZeroShot().text(clip, dataset.template, dataset.class_names)
    test, truth = encode_split(clip, dataset, "test"), dataset.labels("test")
    logits = test @ text.T
    for split in (0, 5):
        for method in (ZeroShot(), Ensemble()):
            found = zero_shot(untrained(method, split), clip, dataset).record
            assert found["classes"] == [28, 28]
        (row,) = zero_shot(untrained(ZeroShot(), split), clip, dataset).record["checkpoints"]
        for half, classes in zip(("base", "new"), base_new(range(56), split), strict=True):
            inside, places = among(truth, classes)
            right = logits[inside][:, classes].argmax(1) == places
            assert row[half] == pytest.approx(100 * float(right.double().mean()))
            by_group = [group[half] for group in row["by_group"].values() if half in group]
            assert min(by_group) <= row[half] <= max(by_group)


def test_all_splits_share_the_encoded_images_of_one_draw(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIP_HOME", str(tmp_path))
    clip, few = load_backbone(CLIP), Counted(load_dataset("greek", "stripes"))
    data = {"style": "stripes", "shots": 2, "views": 1}
    groups = [
        Group([run(seed, **data, class_split=s) for seed in (1, 2)], clip, few) for s in (1, 2)
    ]
    parts = [measure._features(group) for group in groups]
    encoded = Counter(few.asked)
    # two seeds, each once for both splits and for all classes: 56 of 2 images to train on
    assert encoded == {("train", 112): 2, ("val", 112): 2, ("test", len(few.labels("test"))): 1}
    whole = load_features(clip, few, 1)
    for group, features in zip(groups, parts, strict=True):
        for train, val in measure.draws(group.runs, few):
            for split, rows in (("train", train), ("val", val)):
                torch.testing.assert_close(
                    features.pick(split, rows), whole.pick(split, rows), rtol=0, atol=1e-5
                )


class Reordered(Few):
    """The same images, its classes in another order."""

    def __init__(self, order: list[int]) -> None:
        self.class_names = tuple(NAMES[c] for c in order)
        self.places = torch.tensor(order).argsort()

    def labels(self, split: str) -> Tensor:
        return self.places[super().labels(split)]


@pytest.mark.parametrize("name", METHODS)
def test_a_split_is_the_fields_of_a_dataset_whose_base_classes_come_first(name: str) -> None:
    base, new = base_new(range(len(NAMES)), 3)
    assert base != [0, 1, 2]
    each, clip = few_run(name), load_backbone("glyph-vit")
    (there,) = measure_group(Group([each], clip, Reordered(base + new)))
    each = replace(each, data=replace(each.data, class_split=3))
    (here,) = measure_group(Group([each], clip, Few()))
    for entry in ("classes", "test_images", "trainable", "status", "checkpoints"):
        assert here.record[entry] == there.record[entry]
    assert here.record["key"] != there.record["key"]
    assert here.record["run"]["data"]["class_split"] == 3
    for tensor, other in zip(here.tensors.values(), there.tensors.values(), strict=True):
        assert torch.equal(tensor, other)


def test_vtab_trains_all_classes_whatever_split_a_run_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = list[Run]()

    def train(runs: list[Run], *_: Any) -> list[Result]:
        seen.extend(runs)
        return [Result({"checkpoints": [{"base": 1.0}]}, {})]

    monkeypatch.setattr(vtab, "train_visual", train)
    files = {each: [("a.png", 0)] for each in ("train", "val", "test")}
    (tmp_path / "a.png").touch()
    task = Pictures("task", ("0",), tmp_path, files)
    each = replace(few_run("vpt"), data=Data(dataset="task", class_split=2))
    vtab.tune_and_refit(each, load_backbone("glyph-vit"), task, (0.1,))
    assert {(r.data.protocol, r.data.class_split) for r in seen} == {("all-classes", 0)}


def test_runs_of_two_splits_share_no_batch() -> None:
    assert run(class_split=1).shared() != run(class_split=2).shared()
    assert run(class_split=1).shared() == run(seed=2, low_rank=LowRank(), class_split=1).shared()
