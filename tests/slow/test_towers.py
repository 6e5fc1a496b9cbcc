"""ViT-B-16 and RN50 (random weights) through every protocol, on tiny copies of the archives."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import photo_archives
import pytest
import torch
from safetensors.torch import load_file

from dip_study import study
from dip_study.profiles import load_profile

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*Do not compare its results"),
    pytest.mark.filterwarnings("ignore:.*have fewer than"),
]
SMALL = replace(
    load_profile("paper").with_epochs(4),
    weights="",  # random
    datasets=("dtd",),
    shifts=("imagenetv2",),
    seeds=(1,),
    shots=1,
    views=1,
    checkpoints=1,
)
TOWERS: dict[str, dict[str, Any]] = {
    "ViT-B-16": {},
    "RN50": {"context": "", "vectors": 16},  # CoOp's random vectors
}


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All fifteen datasets."""
    folder = tmp_path_factory.mktemp("archives")
    for name in photo_archives.NAMES:
        photo_archives.make(name, folder)
    return folder


@pytest.fixture(scope="module", params=list(TOWERS))
def tower(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home of the tower that names it; what one protocol has encoded, the others find."""
    return tmp_path_factory.mktemp("home") / str(request.param)


@pytest.mark.parametrize("name", ["base_to_new", "few_shot", "cross_dataset", "domain_shift"])
def test_a_tower_goes_through_every_protocol(
    name: str, tower: Path, archives: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATA", str(archives))
    monkeypatch.setenv("DIP_HOME", str(tower))
    small, changes = replace(SMALL, towers=(tower.name,)), TOWERS[tower.name]
    runs = study.STUDIES[name](small, **changes)
    records = study.collect(runs, small, results="fresh")
    counts = {"dtd": 4, "imagenet": 5, "imagenetv2": 5}
    for run, record in zip(runs, records, strict=True):
        last = record["checkpoints"][-1]
        count = counts[run.data.target or run.data.dataset]
        halves = [count, 0] if name != "base_to_new" else [2, 2]
        assert (record["status"], record["classes"]) == ("finished", halves)
        assert record["test_images"] == [2 * half for half in halves]
        assert 0 <= last["base"] <= 100
        assert (last["new"] is None) == (name != "base_to_new" or run.label == "linear probe")
        if run.schedule and not run.data.target:
            assert last["update_norm"] > 0
            prompt = load_file(tower / "store" / f"{run.key()}.safetensors")["prompt"]
            assert prompt.shape == (changes.get("vectors", 4), 512)
            assert (torch.linalg.matrix_rank(prompt) == 1) == bool(changes and run.rank)
    lengths = {run.schedule.epochs for run in runs if run.schedule}
    assert lengths == ({1, 2, 4} if name == "few_shot" else {4})
