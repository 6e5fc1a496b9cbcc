"""The batched trainer computes what a plain loop over one run computes."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dip_lib import LowRankPrompt, densify, load_backbone
from dip_lib.clip.backbone import Backbone
from dip_lib.clip.features import Features, load_features
from dip_lib.data import Dataset, load_dataset
from dip_lib.prompt.density import information_density
from dip_lib.randomness import permutation
from dip_lib.training.batch_data import (
    EvaluationData,
    TrainingData,
    draws,
    evaluation_data,
    training_data,
)
from dip_lib.training.loop import AGREE, learning_rate
from dip_lib.training.parts import LowRank
from dip_lib.training.run import Run
from dip_lib.training.trainer import checkpoint_epochs, train
from dip_study.profiles import load_profile
from dip_study.runs import make_run

Measured = tuple[dict[str, Any], Tensor]
"""A record, and the merged prompt."""


@dataclass(frozen=True)
class Bench:
    """A backbone and one family with its features, and runs on them."""

    clip: Backbone
    dataset: Dataset
    features: Features

    def train(self, *runs: Run) -> list[Measured]:
        results = train(runs, self.clip, self.dataset, self.features)
        return [(result.record, result.tensors["prompt"]) for result in results]

    def data(self, run: Run) -> tuple[TrainingData, EvaluationData]:
        rows = draws([run], self.dataset)
        return (
            training_data([run], self.dataset, self.features, rows),
            evaluation_data([run], self.dataset, self.features, rows),
        )


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    clip, dataset = load_backbone("glyph-resnet"), load_dataset("greek")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DIP_HOME", str(tmp_path_factory.mktemp("home")))
        return Bench(clip, dataset, load_features(clip, dataset, views=1))


def run(low_rank: LowRank | None = None, seed: int = 1, **changes: Any) -> Run:
    profile = load_profile("smoke")
    return make_run(profile, "greek", "coop", seed, low_rank, **{"epochs": 4} | changes)


COOP = run()
DIP = run(LowRank(rank=1, dropout=0.5))
MIXED = (
    COOP,
    DIP,
    run(LowRank(rank=4, dropout=0.0), seed=2, lr=0.1),
    run(seed=3, lr=0.003),
    run(LowRank(rank=2, dropout=0.3), seed=3),
)


# ---- schedule -----------------------------------------------------------------------------------


@pytest.mark.parametrize("epochs", [1, 5, 10, 50, 200])
@pytest.mark.parametrize("lr", [0.002, 0.03])
def test_the_schedule_is_the_closed_form(epochs: int, lr: float) -> None:
    found = [learning_rate(e, epochs, lr, 1 / 200) for e in range(epochs)]
    rest = [0.5 * lr * (1 + math.cos(math.pi * (e - 1) / epochs)) for e in range(1, epochs)]
    assert found == pytest.approx([lr / 200, *rest], rel=1e-12)


def test_the_schedule_is_dassls() -> None:
    # epoch 0 at a constant 1e-5; the cosine then starts at the full rate and does not reach 0
    assert learning_rate(0, 200, 0.002, 1 / 200) == pytest.approx(1e-5)
    assert learning_rate(1, 200, 0.002, 1 / 200) == pytest.approx(0.002)
    assert learning_rate(9, 10, 0.002, 1 / 200) == pytest.approx(1.91e-4, abs=1e-6)
    optimiser = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.002)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, 200)
    for epoch in range(1, 200):  # Dassl's wrapper recounts: its cosine begins after the warm-up
        theirs = optimiser.param_groups[0]["lr"]
        assert learning_rate(epoch, 200, 0.002, 1 / 200) == pytest.approx(theirs, abs=1e-12)
        optimiser.step()
        cosine.step()


@pytest.mark.parametrize(("epochs", "wanted"), [(40, 10), (2, 2), (7, 3), (3, 10), (1, 10)])
def test_checkpoints_go_from_the_start_to_the_last_epoch(epochs: int, wanted: int) -> None:
    found = checkpoint_epochs(epochs, wanted)
    assert found[0] == 0
    assert found[-1] == epochs
    assert found == sorted(set(found))
    assert len(found) == 1 + min(epochs, wanted)


def test_a_single_checkpoint_is_the_end() -> None:
    assert checkpoint_epochs(40, 1) == [40]


# ---- a run against a plain loop -----------------------------------------------------------------


def plain_loop(
    bench: Bench,
    run: Run,
    parameters: list[nn.Parameter],
    prompt: Callable[[], Tensor],
    after: Callable[[], None] = lambda: None,
) -> None:
    """One run as anybody would write it: a loader, ``torch.optim.SGD``, cross-entropy."""
    data, _ = bench.data(run)
    images, labels, schedule = data.images[0, 0], data.labels[0], run.schedule
    optimiser = torch.optim.SGD(parameters, lr=1.0, momentum=0.9, weight_decay=5e-4)
    for epoch in range(schedule.epochs):
        rate = learning_rate(epoch, schedule.epochs, schedule.lr, schedule.warmup)
        optimiser.param_groups[0]["lr"] = rate
        order = permutation(run.seed, epoch, len(labels))
        for chosen in order.split(schedule.batch):
            if len(chosen) < schedule.batch:
                continue
            text = bench.clip.class_embeddings(prompt(), data.names)
            logits = bench.clip.logit_scale * images[chosen] @ text.T
            optimiser.zero_grad()
            F.cross_entropy(logits, labels[chosen]).backward()
            optimiser.step()
            after()


def test_coop_is_torchs_sgd_on_the_whole_prompt(bench: Bench) -> None:
    ((_, merged),) = bench.train(COOP)
    prompt = nn.Parameter(bench.clip.context(COOP.method.context))
    start = prompt.detach().clone()
    plain_loop(bench, COOP, [prompt], lambda: prompt)
    assert (merged - start).norm() > 0.1
    torch.testing.assert_close(merged, prompt.detach(), rtol=0, atol=1e-4)


@pytest.mark.parametrize(("rank", "dropout"), [(1, 0.5), (2, 0.3), (4, 0.0)])
def test_dip_is_a_low_rank_prompt_in_a_plain_loop(bench: Bench, rank: int, dropout: float) -> None:
    dip = run(LowRank(rank=rank, dropout=dropout), seed=2)
    ((_, merged),) = bench.train(dip)
    prompt = LowRankPrompt(bench.clip.context(dip.method.context), rank, dropout, seed=dip.seed)
    plain_loop(bench, dip, [prompt.A, prompt.B], prompt)
    assert (merged - prompt.init).norm() > 0.01
    torch.testing.assert_close(merged, prompt.merge(), rtol=0, atol=1e-4)


def test_random_vectors_are_trained_like_any_prompt(bench: Bench) -> None:
    bare = {"context": "", "vectors": 6}
    coop, dip = run(**bare), run(LowRank(rank=2, dropout=0.3), **bare)
    (_, merged), (_, dense) = bench.train(coop, dip)
    own = [bench.train(run(seed=s, lr=0.0, **bare))[0][1] for s in (1, 2)]  # at the start
    assert 0.018 < float(own[0].std()) < 0.022
    assert not torch.equal(*own)
    prompt = nn.Parameter(own[0].clone())
    plain_loop(bench, coop, [prompt], lambda: prompt)
    torch.testing.assert_close(merged, prompt.detach(), rtol=0, atol=1e-4)
    # a DIP has no words to keep: it is the product of its factors alone
    product = LowRankPrompt(None, 2, 0.3, seed=dip.seed, shape=(6, 128))
    plain_loop(bench, dip, [product.A, product.B], product)
    torch.testing.assert_close(dense, product.merge(), rtol=0, atol=1e-4)
    assert torch.linalg.matrix_rank(dense.double(), rtol=1e-4) == 2


def test_on_all_classes_every_class_is_trained_and_none_is_new(bench: Bench) -> None:
    coop = run(protocol="all-classes", shots=4)
    ((record, merged),) = bench.train(coop)
    prompt = nn.Parameter(bench.clip.context(coop.method.context))
    plain_loop(bench, coop, [prompt], lambda: prompt)
    torch.testing.assert_close(merged, prompt.detach(), rtol=0, atol=1e-4)
    count = len(bench.dataset.class_names)
    assert record["classes"] == [count, 0]
    assert record["test_images"] == [len(bench.features.test), 0]
    text = bench.clip.class_embeddings(prompt.detach(), bench.dataset.class_names)
    right = (bench.features.test @ text.T).argmax(1) == bench.features.labels["test"]
    last = record["checkpoints"][-1]
    assert last["base"] == pytest.approx(100 * float(right.double().mean()), abs=0.1)
    assert last["new"] is last["joint"] is last["ece"] is None


def test_updates_are_evaluated_smaller_too(bench: Bench) -> None:
    ((record, merged), (other, _)) = bench.train(COOP, DIP)
    (smaller,) = [point.pop("shrunk") for point in record["checkpoints"] if "shrunk" in point]
    assert smaller.keys() == {"rank 1", "x 0.25", "x 0.5", "x 0.75"}
    end = other["checkpoints"][-1]
    whole = {half: end[half] for half in ("base", "new", "val")}
    assert end["shrunk"]["rank 1"] == pytest.approx(whole, abs=0.2)  # it has no other rank
    p0, (_, data) = bench.clip.context(COOP.method.context), bench.data(COOP)
    u, s, v = torch.linalg.svd(merged - p0, full_matrices=False)
    ways = {"rank 1": p0 + s[0] * torch.outer(u[:, 0], v[0]), "x 0.5": (p0 + merged) / 2}
    for way, prompt in ways.items():
        for half, part in (("base", data.base), ("new", data.new)):
            text = bench.clip.class_embeddings(prompt, part.names)
            right = float(((part.images @ text.T).argmax(1) == part.labels).double().mean())
            images = 100 / len(part.labels)  # one may be on the edge
            assert smaller[way][half] == pytest.approx(100 * right, abs=1.01 * images)


def test_dip_is_a_densified_module_in_a_plain_loop(bench: Bench) -> None:
    module = nn.ParameterDict({"ctx": bench.clip.context(DIP.method.context)})
    handle = densify(module, seed=DIP.seed)
    plain_loop(bench, DIP, list(handle.parameters()), lambda: module["ctx"], handle.step)
    handle.merge()
    ((_, merged),) = bench.train(DIP)
    torch.testing.assert_close(merged, module["ctx"].detach(), rtol=0, atol=1e-4)


# ---- many runs at once --------------------------------------------------------------------------


def test_training_starts_exactly_at_the_words(bench: Bench) -> None:
    p0 = bench.clip.context(COOP.method.context)
    first = [record["checkpoints"][0] for record, _ in bench.train(*MIXED)]
    for start in first:
        assert start["epoch"] == 0
        assert start["loss"] is None
        assert start["update_norm"] == 0
        assert start["update_singular"] == [0.0] * 4
        assert (start["base"], start["new"]) == (first[0]["base"], first[0]["new"])
        assert start["id"] == first[0]["id"]
        assert start["id"][0] == pytest.approx(float(information_density(p0.double())))
    # the words are also the hand-written prompt: accuracy of "a photo of a ...", by open_clip
    base = bench.data(COOP)[1].base
    text = bench.clip.encode_text([f"a photo of a {name}." for name in base.names])
    right = ((base.images @ text.T).argmax(1) == base.labels).double().mean()
    assert first[0]["base"] == pytest.approx(100 * float(right), abs=100 / len(base.labels))


def test_a_run_alone_and_in_a_mixed_batch_agree(bench: Bench) -> None:
    for together, alone in zip(bench.train(*MIXED), map(bench.train, MIXED), strict=True):
        (record, prompt), ((own_record, own_prompt),) = together, alone
        torch.testing.assert_close(prompt, own_prompt, rtol=0, atol=AGREE)
        for here, there in zip(record["checkpoints"], own_record["checkpoints"], strict=True):
            for half, images in zip(("base", "new"), record["test_images"], strict=True):
                assert abs(here[half] - there[half]) * images / 100 < 1.5  # one image flipped
        assert (record["batch_runs"], own_record["batch_runs"]) == (len(MIXED), 1)


def test_the_same_group_is_bit_identical(bench: Bench) -> None:
    for (record, prompt), (again, same) in zip(
        bench.train(*MIXED), bench.train(*MIXED), strict=True
    ):
        assert torch.equal(prompt, same)
        assert record | {"seconds": 0} == again | {"seconds": 0}


def test_padding_adds_no_rank_and_no_trainable_parameters(bench: Bench) -> None:
    p0 = bench.clip.context(COOP.method.context)
    for one, (record, prompt) in zip(MIXED, bench.train(*MIXED), strict=True):
        r = one.rank or 4
        update = (prompt - p0).double()
        assert torch.linalg.matrix_rank(update, rtol=1e-4) == r
        assert record["trainable"] == (r * (4 + 128) if one.low_rank else 4 * 128)
        last = record["checkpoints"][-1]
        assert last["epoch"] == one.schedule.epochs
        assert last["update_norm"] == pytest.approx(float(update.norm()), rel=1e-6)
        spectrum = torch.linalg.svdvals(prompt.double())
        assert last["singular"] == pytest.approx(spectrum.tolist(), rel=1e-9)
        assert last["id"] == pytest.approx((spectrum.cumsum(0) / spectrum.sum()).tolist())


def test_training_fits_the_base_classes(bench: Bench) -> None:
    longer = [run(each.low_rank, epochs=10, lr=0.003) for each in (COOP, DIP)]
    for record, _ in bench.train(*longer):
        assert record["status"] == "finished"
        start, *_, middle, last = record["checkpoints"]
        assert last["loss"] < middle["loss"]
        assert last["base"] > start["base"] + 1


def test_decay_acts_on_what_is_trained_and_never_on_p0(bench: Bench) -> None:
    p0 = bench.clip.context(COOP.method.context)
    decays = [run(each.low_rank, lr=1e-3, weight_decay=50.0) for each in (COOP, DIP)]
    (_, coop), (_, dip) = bench.train(*decays)
    assert coop.norm() < 0.8 * p0.norm()
    torch.testing.assert_close(dip, p0, rtol=0, atol=1e-2)


def test_a_half_precision_tower_learns_nearly_the_same_prompt(bench: Bench) -> None:
    half = replace(bench, clip=load_backbone("glyph-resnet", precision="bf16"))
    runs = [run(each.low_rank, lr=0.003) for each in (COOP, DIP)]
    for (exact, prompt), (rough, near) in zip(bench.train(*runs), half.train(*runs), strict=True):
        assert near.dtype == torch.float32
        start = bench.clip.context(COOP.method.context)
        assert (near - prompt).norm() < 0.1 * (prompt - start).norm()
        ends = exact["checkpoints"][-1], rough["checkpoints"][-1]
        assert abs(ends[0]["base"] - ends[1]["base"]) < 2


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_a_recorded_step_a_plain_one_and_the_cpu_agree(bench: Bench) -> None:
    gpu = load_backbone("glyph-resnet", device="cuda")
    features = Features(
        *(getattr(bench.features, name).cuda() for name in ("train", "val", "test")),
        {split: labels.cuda() for split, labels in bench.features.labels.items()},
    )
    recorded = train(MIXED, gpu, bench.dataset, features)
    plain = train(MIXED, gpu, bench.dataset, features, graphs=False)
    for a, b, (_, c) in zip(recorded, plain, bench.train(*MIXED), strict=True):
        torch.testing.assert_close(a.tensors["prompt"], b.tensors["prompt"], rtol=0, atol=1e-5)
        torch.testing.assert_close(a.tensors["prompt"], c, rtol=0, atol=1e-3)


# ---- faults -------------------------------------------------------------------------------------


@pytest.mark.parametrize("low_rank", [None, DIP.low_rank])
def test_a_diverging_run_says_when_and_leaves_its_neighbours_alone(
    bench: Bench, low_rank: LowRank | None
) -> None:
    # no warm-up: epoch 0 does nothing, and the enormous rate strikes in epoch 1
    healthy = [run(each.low_rank, warmup=0.0) for each in (COOP, DIP)]
    sound = bench.train(run(low_rank, seed=7, warmup=0.0), *healthy)
    (broken, _), *others = bench.train(run(low_rank, seed=7, warmup=0.0, lr=1e30), *healthy)
    assert broken["status"] == "stopped: non-finite loss in epoch 1"
    assert [point["epoch"] for point in broken["checkpoints"]] == [0, 2, 4]
    for (record, prompt), (expected, same) in zip(others, sound[1:], strict=True):
        assert record["status"] == "finished"
        assert torch.equal(prompt, same)
        assert record["checkpoints"] == expected["checkpoints"]


@pytest.mark.parametrize(
    "other",
    [
        run(shots=8),
        run(epochs=3),
        run(batch=64),
        run(weight_decay=0.0),
        run(context="a photo"),
        run(context="", vectors=4),
        run(protocol="all-classes"),
        run(LowRank(site="rows")),
        make_run(load_profile("smoke"), "greek", "kgcoop", 1, epochs=4),
    ],
)
def test_runs_that_cannot_share_a_batch_are_refused(bench: Bench, other: Run) -> None:
    with pytest.raises(ValueError, match="batch"):
        bench.train(COOP, other)


@pytest.mark.parametrize(
    ("bad", "token"),
    [
        (lambda: LowRank(rank=0), "rank = 0"),
        (lambda: run(LowRank(rank=5)), "rank = 5"),
        (lambda: LowRank(dropout=1.0), "dropout = 1.0"),
        (lambda: LowRank(dropout=-0.1), "dropout = -0.1"),
        (lambda: LowRank(rank=None, dropout=0.5), "'update'"),
        (lambda: LowRank(site="row"), "'rows'"),
        (lambda: run(vectors=4), "vectors=4"),
        (lambda: run(context=""), "vectors=0"),
        (lambda: run(protocol="all"), "all-classes"),
        (lambda: run(epochs=-1), "epochs = -1"),
        (lambda: run(batch=0), "batch = 0"),
        (lambda: run(context="a photo of a platypus"), "'platypus'"),
    ],
)
def test_bad_settings_are_refused_by_value(
    bench: Bench, bad: Callable[[], Run], token: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(token)):
        bench.train(bad())
