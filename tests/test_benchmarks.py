"""Benchmarks: fair turns, the same mathematics both ways, results that a page can read."""

from __future__ import annotations

import json
import math
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from dip_lib import load_backbone
from dip_lib.clip.backbone import Backbone
from dip_lib.clip.features import load_features
from dip_lib.clip.onednn import AVAILABLE, fast_linear
from dip_lib.methods import METHODS, CoOp
from dip_lib.training.parts import Data, LowRank, Schedule, Tower
from dip_lib.training.run import Run
from dip_lib.training.trainer import train

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "benchmarks"))  # as when a benchmark is run as a program

import bench  # noqa: E402
import complete_set  # noqa: E402
import methods  # noqa: E402
import peers  # noqa: E402
import products  # noqa: E402
import steps  # noqa: E402
import text_step  # noqa: E402
from made_up import MadeUp  # noqa: E402

NAMES = ("small alpha", "small beta", "capital alpha", "digit one", "black star", "arrow")


@pytest.fixture(scope="module")
def glyph() -> Backbone:
    return load_backbone("glyph-resnet")


def test_candidates_take_turns_and_the_clock_sees_only_the_step() -> None:
    calls: list[str] = []
    ticks = iter(range(100))
    seconds = bench.interleaved(
        {"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 3, lambda: next(ticks)
    )
    assert calls == ["a", "b"] * 4  # one warm-up
    assert seconds == {"a": [1, 1, 1], "b": [1, 1, 1]}


def test_a_single_measurement_is_paired_with_every_repeat() -> None:
    assert bench.paired_ratio([8.0, 9.0, 20.0], [4.0, 3.0, 5.0]) == 3.0
    assert bench.paired_ratio([12.0], [4.0, 3.0, 6.0]) == 3.0
    assert bench.paired_ratio([2.0, 3.0, 4.0], [1.0]) == 3.0


def test_flops_of_a_matrix_product_are_twice_its_multiplications() -> None:
    a, b = torch.ones(3, 5), torch.ones(5, 7)
    assert bench.count_flops(lambda: a @ b) == 2 * 3 * 5 * 7
    layer = torch.nn.Linear(5, 7).requires_grad_(False)
    start = a.clone().requires_grad_()
    with fast_linear(always=True):  # once forward, once for the gradient
        assert bench.count_flops(lambda: layer(start).sum().backward()) == 2 * 2 * 3 * 5 * 7


STEP = f"""
import sys
sys.path.append({str(ROOT / "benchmarks")!r})
import json, torch
from bench import step_memory
def step():
    kept = [torch.ones(2**23), torch.ones(2**23)]  # 32 MB each
for _ in range(2):
    freed = [torch.ones(2**21) for _ in range(40)]
    above = freed.pop()  # so that what is freed below it stays in the heap
    del freed
print(json.dumps(step_memory(step)))
"""


def test_a_steps_memory_is_what_it_holds_at_its_peak(tmp_path: Path) -> None:
    program = tmp_path / "step.py"
    program.write_text(STEP)
    found = bench.in_child(str(program))
    assert 60 < found["step_mb"] < 90
    assert found["process_mb"] > found["step_mb"]


def test_a_result_says_where_it_was_measured(tmp_path: Path) -> None:
    out = tmp_path / "new" / "name.json"
    bench.write("name", {"ratio": 2.0}, Namespace(device="cpu", out=out, smoke=False))
    found = json.loads(out.read_text())
    assert found["benchmark"] == "name" and found["ratio"] == 2
    assert found["machine"].keys() >= {"cpu", "threads", "device", "torch", "date"}
    assert "no_measurement" not in found


@pytest.mark.parametrize("options", [["--smoke"], ["--out", str(bench.RESULTS / "new.json")]])
def test_what_measures_nothing_is_never_written_where_measurements_are(
    options: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["products.py", "--smoke", *options])
    with pytest.raises(SystemExit):
        products.main()
    assert "measures nothing" in capsys.readouterr().err


def test_the_reference_is_encode_text_for_words(glyph: Backbone) -> None:
    context = glyph.context("a photo of a")
    found = steps.full_length(glyph.model, steps.tokens(glyph, NAMES, 4), context)
    wanted = glyph.encode_text([f"a photo of a {name}." for name in NAMES])
    assert (found - wanted).abs().max() < 1e-5


def test_both_ways_take_the_same_step(glyph: Backbone) -> None:
    apart = steps.distance(steps.our_step(glyph, NAMES)(), steps.their_step(glyph, NAMES)())
    assert apart["logits"] < 1e-5 and apart["gradient"] < 1e-5


def test_the_reference_in_parts_is_the_reference(
    glyph: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = steps.their_step(glyph, NAMES)()
    monkeypatch.setattr(steps, "PART", 4)
    apart = steps.distance(steps.their_step(glyph, NAMES)(), whole)
    assert apart["logits"] < 1e-5 and apart["gradient"] < 1e-5


def test_neither_way_is_far_from_float64(glyph: Backbone) -> None:
    for way in steps.against_float64(glyph, NAMES).values():
        assert 0 < way["logits"] < 1e-5 and 0 < way["gradient"] < 1e-5


def test_the_lists_are_the_base_classes_of_their_datasets() -> None:
    found = steps.settings([1000])
    sizes = {"ImageNet 1000": 1000, "EuroSAT base": 5, "StanfordCars base": 98}
    assert {setting: len(set(names)) for setting, names in found.items()} == sizes
    assert all(name[:4].isdigit() for name in found["StanfordCars base"])


@dataclass(frozen=True)
class Noise:
    """A dataset of random pictures: each is a function of its split, row and view."""

    name: str = "noise"
    class_names: tuple[str, ...] = NAMES
    template: str = "a photo of a {}."
    fingerprint: str = "noise"

    def labels(self, split: str) -> Tensor:
        return MadeUp(NAMES, 4).labels(split)

    def batches(
        self,
        split: str,
        views: Sequence[int | None] = (None,),
        rows: Sequence[int] | None = None,
        size: int | None = None,
        device: str | torch.device = "cpu",
    ) -> Iterator[Tensor]:
        source = torch.Generator().manual_seed(len(split))
        every = torch.rand(4, len(self.labels(split)), 3, 48, 48, generator=source)
        at = range(every.shape[1]) if rows is None else rows
        yield every[[view or 0 for view in views]][:, list(at)]


@pytest.mark.parametrize("low_rank", [None, LowRank(rank=1, dropout=0.5)])
def test_the_peers_loop_learns_the_trainers_prompt(
    low_rank: LowRank | None, glyph: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIP_HOME", str(tmp_path))
    run = Run(
        data=Data(dataset="noise", shots=3, views=2),
        tower=Tower(backbone="glyph-resnet"),
        method=CoOp(),
        low_rank=low_rank,
        schedule=Schedule(epochs=4, batch=4),
        seed=1,
    )
    drawn = peers.draw(run, glyph, Noise())
    *_, theirs = peers.learn(run, glyph, drawn)
    [(record, tensors)] = train([run], glyph, Noise(), load_features(glyph, Noise(), 2))
    ours = tensors["prompt"]
    moved = (ours - glyph.context("a photo of a")).abs().max()
    assert moved > 0
    assert (ours - theirs).abs().max() < 1e-3 * moved
    half = drawn.halves["new"]
    right = peers.correct(glyph, theirs, half)
    assert record["checkpoints"][-1]["new"] == pytest.approx(100 * right / len(half.labels))


def numbers(found: Any) -> Iterator[float]:
    """All numbers inside a JSON."""
    if isinstance(found, dict | list):
        for each in found.values() if isinstance(found, dict) else found:
            yield from numbers(each)
    elif isinstance(found, int | float) and not isinstance(found, bool):
        yield found


@pytest.mark.parametrize("name", ["text_step", "sweep", "end_to_end"])
def test_committed_results_are_finite_and_say_where_they_were_measured(name: str) -> None:
    found = json.loads((bench.RESULTS / f"{name}.json").read_text())
    assert found["benchmark"] == name and found["machine"]["cpu"]
    assert all(math.isfinite(each) and each >= 0 for each in numbers(found))


def test_the_committed_text_step_has_every_setting_and_agrees_with_the_reference() -> None:
    found = json.loads((bench.RESULTS / "text_step.json").read_text())
    assert found["settings"].keys() == steps.settings([5, 10, 50, 100, 500, 1000]).keys()
    for setting in found["settings"].values():
        assert setting["ratio"] > 0 and setting["flop_ratio"] > 0 and setting["memory"]["ratio"] > 0
        assert setting["difference"]["logits"] < 1e-5 and setting["difference"]["gradient"] < 1e-5


def test_every_method_that_learns_prompts_has_a_row_plain_and_as_dip() -> None:
    rows = methods.rows(methods.HOSTS)
    assert {"coop", "dip", "do", "kgcoop", "kgcoop+dip"} <= rows.keys()
    for host in methods.HOSTS:
        of_host = [run for run in rows.values() if run.method.name == host]
        dips = 0 if METHODS[host].alternative_to_dip else 1
        assert sorted(run.rank for run in of_host) == [0, 1][: 1 + dips]
    committed = json.loads((bench.RESULTS / "methods.json").read_text())["methods"]
    assert committed.keys() <= rows.keys()
    for name, row in committed.items():
        assert row["trainable"] > 0 and row["stored_bytes"] > 4 * row["trainable"], name


def test_the_committed_runs_end_alike_both_ways() -> None:
    found = json.loads((bench.RESULTS / "end_to_end.json").read_text())
    for method, peer in found["peers"].items():
        ours, theirs = found["ours"]["curves"][method], peer["curve"]
        assert [p["epoch"] for p in ours] == [p["epoch"] for p in theirs]
        for half in ("base", "new"):
            apart = abs(found["ours"]["right"][method][half] - peer["right"][half])
            assert apart == found["images_apart"][method][half] <= 5


def test_a_complete_set_goes_from_files_to_accuracies_and_its_phases_add_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DIP_HOME", str(tmp_path / "home"))
    size = complete_set.QUICK
    dataset = complete_set.pictures(tmp_path, size, NAMES[: size.classes])
    runs = complete_set.runs(size, "glyph-resnet", "fp32")
    assert [(run.label, run.rank, run.schedule.epochs) for run in runs] == [
        ("CoOp", 0, 2),
        ("DIP", 1, 2),
    ]
    found = complete_set.complete_set(runs, dataset, "cpu")
    assert (found["classes"], found["test_pictures"], found["evaluations"]) == ([2, 2], 8, 3)
    # 2 trained classes, of each one picture in 2 views and one for validation
    assert found["training_views"] == 2 * (2 + 1)
    assert found["seconds"] == pytest.approx(sum(found["phases"].values()))
    files = len(list((tmp_path / "home" / "features").glob("*.safetensors")))
    assert files == 1 + 2 + 1  # the test split, two views, the validation pictures


def test_text_step_prints_and_writes_every_setting(
    smoke: Callable[[ModuleType], tuple[str, Any]],
) -> None:
    said, found = smoke(text_step)
    assert {name: row["classes"] for name, row in found["settings"].items()} == {
        "ImageNet 2": 2,
        "ImageNet 3": 3,
    }
    assert all(name in said for name in found["settings"])
    assert "--smoke" in found["no_measurement"]


@pytest.mark.skipif(not AVAILABLE, reason="this PyTorch is built without oneDNN")
def test_products_compare_both_ways_at_the_sizes_of_both_towers(
    smoke: Callable[[ModuleType], tuple[str, Any]],
) -> None:
    towers = smoke(products)[1]["towers"]
    assert [*towers] == ["Glyph World", "ViT-B/16"]
    assert all(
        len(row["seconds"]["onednn"]) == 1 for rows in towers.values() for row in rows.values()
    )


def test_where_there_is_no_onednn_make_bench_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "products.json"
    monkeypatch.setattr(products, "AVAILABLE", False)
    monkeypatch.setattr(sys, "argv", ["products.py", "--quick", "--out", str(out)])
    products.main()
    assert "nothing to compare" in capsys.readouterr().out
    assert not out.exists()
