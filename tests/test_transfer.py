"""What was learned once can be kept, and evaluated again to the same numbers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from few_glyphs import DIP, HOSTS, Bench, few, run
from safetensors.torch import load, save
from torch import Tensor

from dip_lib.methods import PromptMethod
from dip_lib.methods.prompts import Learned
from dip_lib.training.trainer import train
from dip_lib.training.transfer import transfer

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def bench() -> Bench:
    return few()


def made(prompts: int, others: int) -> Learned:
    """Numbers of three runs; no two tensors are alike."""
    torch.manual_seed(0)
    return Learned(
        tuple(torch.randn(3, 2, 5) for _ in range(prompts)),
        tuple(torch.randn(3, *[4] * (1 + i % 2)) for i in range(others)),
    )


def equal(a: Learned, b: Learned) -> bool:
    pairs: list[tuple[Tensor, Tensor]] = [*zip(a.prompts, b.prompts, strict=True)]
    pairs += zip(a.others, b.others, strict=True)
    return all(torch.equal(x, y) for x, y in pairs)


@pytest.mark.parametrize(("prompts", "others"), [(1, 0), (1, 6), (9, 18), (18, 0), (12, 101)])
def test_what_is_kept_comes_back_in_order(prompts: int, others: int) -> None:
    # a ViT-B/16 has 18 prompts in PromptSRC and 18 layers' tensors in MaPLe
    learned = made(prompts, others)
    kept = [learned.tensors(r) for r in range(3)]
    assert equal(Learned.of(kept, CPU), learned)
    # files keep no order
    stored = [load(save(each)) for each in kept]
    assert equal(Learned.of(stored, CPU), learned)
    assert equal(Learned.of([dict(sorted(each.items())) for each in kept], CPU), learned)


def test_what_is_kept_is_a_copy() -> None:
    learned = made(2, 1)
    kept = learned.tensors(1)
    assert sorted(kept) == ["other.0", "prompt", "prompt.1"]
    learned.prompts[0].zero_()
    assert kept["prompt"].any()


@pytest.mark.parametrize("method", HOSTS)
def test_transfer_to_the_source_is_the_trainers_own_evaluation(bench: Bench, method: str) -> None:
    changes: dict[str, Any] = {"protocol": "all-classes", "target": "greek"}
    runs = run(method, **changes), run(method, 2, DIP, **changes)
    results = train(runs, bench.clip, bench.dataset, bench.features)
    transferred = transfer(runs, [each.tensors for each in results], bench.clip, bench.dataset)
    for each, (record, _), (again, tensors) in zip(runs, results, transferred, strict=True):
        last = record["checkpoints"][-1]
        (point,) = again["checkpoints"]
        assert again["run"] == each.to_dict()
        assert not tensors
        assert point["epoch"] == each.schedule.epochs
        assert again["test_images"] == record["test_images"] == [30, 0]
        # where trained classes are predicted in another way than any names, transfer goes without
        if type(each.method).trained_classifier is PromptMethod.trained_classifier:
            assert point["base"] == last["base"]
        assert point["new"] is None


def test_dept_transfers_by_its_prompt_alone(bench: Bench) -> None:
    dept = run("dept", protocol="all-classes", target="greek")
    ((_, kept),) = train([dept], bench.clip, bench.dataset, bench.features)
    (whole,) = transfer([dept], [kept], bench.clip, bench.dataset)
    (bare,) = transfer([dept], [{"prompt": kept["prompt"]}], bench.clip, bench.dataset)
    assert whole.record["checkpoints"] == bare.record["checkpoints"]
    text = bench.clip.class_embeddings(kept["prompt"], bench.dataset.class_names)
    right = (bench.features.test @ text.T).argmax(1) == bench.dataset.labels("test")
    base = 100 * float(right.double().mean())
    assert whole.record["checkpoints"][0]["base"] == pytest.approx(base)
