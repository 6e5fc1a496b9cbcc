"""The study of causes: its methods change one thing, and surgery keeps an update's size."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from few_glyphs import DIP, Bench, few, learned, run, start_of, train_all
from torch import Tensor

from dip_lib.methods.control import Control, as_read_density
from dip_lib.methods.coop import CoOp
from dip_lib.methods.surgery import FACTORS, Surgery, operations
from dip_lib.methods.tower_update import TowerUpdate, updated
from dip_lib.training.measure import Group, measure_group
from dip_lib.training.parts import LowRank
from dip_study import causes, study
from dip_study.profiles import load_profile

SMOKE = load_profile("smoke")


@pytest.fixture(scope="module")
def bench() -> Bench:
    return few()


def trained(bench: Bench, *runs: Any) -> Tensor:
    prepared = bench.prepare(*runs)
    train_all(prepared)
    return learned(prepared).prompts[0]


# ---- controls -----------------------------------------------------------------------------------


@pytest.mark.parametrize("low_rank", [None, DIP])
def test_a_control_that_changes_nothing_is_coop(bench: Bench, low_rank: LowRank | None) -> None:
    ours = trained(bench, run("control", low_rank=low_rank))
    assert torch.equal(ours, trained(bench, run("coop", low_rank=low_rank)))


def test_a_scaled_loss_without_decay_is_a_scaled_learning_rate(bench: Bench) -> None:
    scaled = run("control", loss_scale=0.5, weight_decay=0.0, lr=0.04)
    slower = run("coop", weight_decay=0.0, lr=0.02)
    torch.testing.assert_close(trained(bench, scaled), trained(bench, slower), rtol=0, atol=1e-5)


def test_a_random_start_has_rows_as_long_as_the_words_and_full_rank(bench: Bench) -> None:
    runs = bench.prepare(run("control", origin="random"))
    (random,), (words,) = start_of(runs).prompts, CoOp().start(runs.frozen, 1).prompts
    torch.testing.assert_close(random.norm(dim=1), words.norm(dim=1))
    assert torch.linalg.matrix_rank(random) == len(random)
    (other,) = runs.method.start(runs.frozen, 2).prompts
    assert not torch.equal(random, other)


def test_a_frozen_random_start_is_p0_and_the_update_of_low_rank(bench: Bench) -> None:
    runs = bench.prepare(run("control", low_rank=DIP, origin="random"))
    (random,) = start_of(runs).prompts
    train_all(runs)
    update = learned(runs).prompts[0][0] - random
    assert torch.linalg.matrix_rank(update, rtol=1e-4) == 1


@pytest.mark.parametrize("level", [0.0, 0.7])
@pytest.mark.parametrize("low_rank", [None, LowRank(rank=4, dropout=0.0)])
def test_a_held_density_stays_at_its_level(
    bench: Bench, level: float, low_rank: LowRank | None
) -> None:
    same: dict[str, Any] = {"epochs": 40, "lr": 0.1, "warmup": 1.0, "low_rank": low_rank}
    runs = bench.prepare(run("control", held=True, density=level, **same))
    words = bench.clip.context(runs.method.context)
    wanted = level or float(as_read_density(words, runs.frozen))
    train_all(runs)
    prompt = learned(runs).prompts[0][0]
    assert float(as_read_density(prompt, runs.frozen)) == pytest.approx(wanted, abs=0.02)
    assert float((prompt - words).norm()) > 0.1
    free = trained(bench, run("coop", **same))[0]
    assert abs(float(as_read_density(free, runs.frozen)) - wanted) > 0.02


@pytest.mark.parametrize(
    "settings",
    [
        {"origin": "nowhere"},
        {"origin": "random", "context": "", "vectors": 4},
        {"loss_scale": 0.0},
        {"density": 0.4},
        {"held": True, "density": 1.5},
        {"held": True, "origin": "random"},
        {"held": True, "class_specific": True},
    ],
)
def test_settings_that_do_not_go_together_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(settings))):
        Control(**settings)


# ---- the update of the text tower ---------------------------------------------------------------


def test_an_update_of_the_tower_is_that_of_its_weights(bench: Bench) -> None:
    model, words = bench.clip.model, bench.clip.context("a photo of a")
    layer: Any = model.transformer.resblocks[0].attn.out_proj
    generator = torch.Generator().manual_seed(0)
    width = len(layer.weight)
    down, up = (torch.randn(s, generator=generator) / 8 for s in ((width, 1), (1, width)))
    names = bench.dataset.class_names
    with updated(layer, down[None], up[None]):
        ours = bench.clip.class_embeddings(words, names)
    plain = bench.clip.class_embeddings(words, names)
    before = layer.weight.detach().clone()
    try:
        layer.weight += (down @ up).T
        theirs = bench.clip.class_embeddings(words, names)
    finally:
        layer.weight.copy_(before)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)
    assert float((ours - plain).abs().max()) > 1e-2
    assert torch.equal(bench.clip.class_embeddings(words, names), plain)


def test_a_tower_update_trains_as_many_numbers_as_dip_and_starts_at_the_words(
    bench: Bench,
) -> None:
    ours = bench.prepare(run("tower-update", factor=1), run("tower-update", factor=2))
    dip = bench.prepare(run("coop", low_rank=DIP))
    (width,) = {each.prompts[0].shape[-1] for each in (start_of(ours), start_of(dip))}
    assert ours.trainable == (width, width) and dip.trainable == (4 + width,)
    names = bench.dataset.class_names
    at_start = ours.method.classifier(ours.learned(), ours.frozen, names)
    words = dip.method.classifier(dip.learned(), dip.frozen, names)
    images = bench.features.test
    torch.testing.assert_close(at_start(images)[:1], words(images), rtol=0, atol=1e-4)
    train_all(ours)
    one, other = (
        at_start(images),
        ours.method.classifier(ours.learned(), ours.frozen, names)(images),
    )
    assert float((one - other).detach().abs().max()) > 1e-3


def test_tower_updates_in_a_batch_equal_each_alone(bench: Bench) -> None:
    runs = [run("tower-update", seed, factor=seed, lr=0.02 * seed) for seed in (1, 2)]
    together = trained(bench, *runs)
    for ours, each in zip(together, runs, strict=True):
        torch.testing.assert_close(ours, trained(bench, each)[0], rtol=0, atol=1e-5)


def test_a_tower_update_needs_words_and_a_block_that_there_is(bench: Bench) -> None:
    for settings in ({"context": "", "vectors": 4}, {"block": -1}):
        with pytest.raises(ValueError, match=next(iter(settings))):
            TowerUpdate(**settings)
    with pytest.raises(ValueError, match="block"):
        bench.prepare(run("tower-update", block=99))


# ---- surgery ------------------------------------------------------------------------------------


def random_update(n: int = 4, d: int = 32, rank: int = 4) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(n, rank, generator=generator) @ torch.randn(rank, d, generator=generator)


def test_surgery_keeps_the_size_and_changes_what_it_says() -> None:
    update = random_update()
    made = operations(update, 1)
    values = torch.linalg.svdvals(update)
    scaled = {f"x {factor:g}": factor for factor in FACTORS}
    for name, other in made.items():
        wanted = scaled.get(name, 1.0) * float(update.norm())
        assert float(other.norm()) == pytest.approx(wanted, rel=1e-5), name
        found = torch.linalg.svdvals(other)
        if name.startswith(("random", "x")):
            wanted_values = scaled.get(name, 1.0) * values
            torch.testing.assert_close(found, wanted_values, rtol=1e-4, atol=1e-4)
    share = {name: float(torch.linalg.svdvals(each)[0]) for name, each in made.items()}
    assert share["flat"] < float(values[0]) < share["sharper"] < share["rank 1"]
    assert torch.linalg.matrix_rank(made["rank 1"], rtol=1e-5) == 1
    left = torch.linalg.svd(update)[0]
    torch.testing.assert_close(
        torch.linalg.svd(made["random width 1"])[0].abs(), left.abs(), rtol=0, atol=1e-4
    )


def test_surgery_on_a_rank_one_update_leaves_its_spectrum() -> None:
    update = random_update(rank=1)
    made = operations(update, 1)
    for name in ("sharper", "flat", "rank 1"):
        torch.testing.assert_close(made[name], update, rtol=0, atol=1e-5)
    for bad in (torch.zeros(4, 8), torch.full((4, 8), torch.nan)):
        with pytest.raises(ValueError, match="norm"):
            operations(bad, 1)


def test_surgery_reads_a_trained_prompt_and_its_unchanged_update_is_that_runs(
    bench: Bench,
) -> None:
    runs = [run("surgery", low_rank=low_rank) for low_rank in (None, DIP)]
    sources = [each.source() for each in runs]
    assert [type(each.method) for each in sources] == [CoOp, CoOp]
    done = measure_group(Group(sources, bench.clip, bench.dataset))
    kept = [result.tensors for result in done]
    found = measure_group(Group(runs, bench.clip, bench.dataset, kept))
    alone = measure_group(Group(runs, bench.clip, bench.dataset))
    for source, result, other in zip(done, found, alone, strict=True):
        end, trained_end = (r.record["checkpoints"][-1] for r in (result, source))
        assert not result.tensors and result.record["checkpoints"] == other.record["checkpoints"]
        for name in ("base", "new", "val", "id", "id_read", "drift_words"):
            assert end[name] == trained_end[name]
        same = end["surgery"]["x 1"]
        assert same["new"] == trained_end["new"]
        assert same["update_norm"] == pytest.approx(trained_end["update_norm"], rel=1e-4)
        half = trained_end["shrunk"]["x 0.5"]
        assert {name: end["surgery"]["x 0.5"][name] for name in half} == half


def test_surgery_is_on_one_prompt() -> None:
    with pytest.raises(ValueError, match="class_specific"):
        Surgery(class_specific=True)


# ---- the study ----------------------------------------------------------------------------------


def test_every_design_has_runs_of_its_own_on_each_dataset_and_seed() -> None:
    of_grid = {SMOKE.datasets[0]: (2, 3), SMOKE.datasets[1]: (4,)}
    some = replace(SMOKE, datasets=tuple(of_grid), grid_seeds=of_grid)
    runs = causes.designs(some, fingerprint="")
    cells = [(dataset, seed) for dataset, seeds in of_grid.items() for seed in seeds]
    for name, each in runs.items():
        assert [(r.data.dataset, r.seed) for r in each] == cells, name
        assert {r.tower.backbone for r in each} == {SMOKE.towers[0]}
    every = [r for each in runs.values() for r in each]
    # of two epochs an eighth is a quarter
    assert len(set(every)) >= len(every) - len(cells)
    known = {r.key() for r in causes.causes(some, fingerprint="")}
    assert {r.key() for r in every} <= known
    for operated in causes.surgery(some, fingerprint="").values():
        sources = {r.source().key() for r in operated}
        assert sources <= {r.key() for r in every}


def test_the_study_is_on_request() -> None:
    assert "causes" not in study.studies_of(SMOKE)
    assert "causes" in study.studies_of(replace(SMOKE, studies=("causes",)))


@pytest.mark.usefixtures("shared_features")
def test_surgery_is_measured_after_what_it_reads() -> None:
    tiny = replace(SMOKE, datasets=("greek",), seeds=(1,), epochs=1, checkpoints=1)
    runs = causes.surgery(tiny)["DIP"]
    (record,) = study.collect(runs, tiny, results="fresh")
    (source,) = study.collect([runs[0].source()], tiny)
    (end,), (trained_end,) = record["checkpoints"], source["checkpoints"]
    assert end["surgery"]["x 1"]["new"] == end["new"] == pytest.approx(trained_end["new"])
    assert record["status"] == "finished"
