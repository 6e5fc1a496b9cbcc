"""What was learnt once can be kept, and judged again to the same numbers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from few_glyphs import Bench, few, run
from safetensors.torch import load, save
from torch import Tensor

from dip_lib.methods import LEARNT, Learnt
from dip_lib.training.trainer import train
from dip_lib.training.transfer import learnt_of, tensors, transfer

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def bench() -> Bench:
    return few()


def made(prompts: int, others: int) -> Learnt:
    """Numbers of three runs; no two tensors are alike."""
    torch.manual_seed(0)
    return Learnt(
        tuple(torch.randn(3, 2, 5) for _ in range(prompts)),
        tuple(torch.randn(3, *[4] * (1 + i % 2)) for i in range(others)),
    )


def equal(a: Learnt, b: Learnt) -> bool:
    pairs: list[tuple[Tensor, Tensor]] = [*zip(a.prompts, b.prompts, strict=True)]
    pairs += zip(a.others, b.others, strict=True)
    return all(torch.equal(x, y) for x, y in pairs)


@pytest.mark.parametrize(("prompts", "others"), [(1, 0), (1, 6), (9, 18), (18, 0), (12, 101)])
def test_what_is_kept_comes_back_in_order(prompts: int, others: int) -> None:
    # a ViT-B/16 has 18 prompts in PromptSRC and 18 layers' tensors in MaPLe
    learnt = made(prompts, others)
    kept = [tensors(learnt, r) for r in range(3)]
    assert equal(learnt_of(kept, CPU), learnt)
    # files keep no order
    stored = [load(save(each)) for each in kept]
    assert equal(learnt_of(stored, CPU), learnt)
    assert equal(learnt_of([dict(sorted(each.items())) for each in kept], CPU), learnt)


def test_what_is_kept_is_a_copy() -> None:
    learnt = made(2, 1)
    kept = tensors(learnt, 1)
    assert sorted(kept) == ["other.0", "prompt", "prompt.1"]
    learnt.prompts[0].zero_()
    assert kept["prompt"].any()


@pytest.mark.parametrize("method", [name for name in LEARNT if name != "dip"])
def test_transfer_to_the_source_is_the_trainers_own_evaluation(bench: Bench, method: str) -> None:
    dip = {"coop": "dip"}.get(method, method)
    changes: dict[str, Any] = {"protocol": "all-classes", "target": "greek"}
    specs = run(method, **changes), run(dip, seed=2, rank=1, dropout=0.5, **changes)
    found = train(specs, bench.clip, bench.dataset, bench.features)
    judged = transfer(specs, [kept for _, kept in found], bench.clip, bench.dataset)
    for spec, (record, _), again in zip(specs, found, judged, strict=True):
        last = record["checkpoints"][-1]
        (point,) = again["checkpoints"]
        assert again["spec"] == vars(spec)
        assert point["epoch"] == spec.epochs
        assert again["test_images"] == record["test_images"] == [30, 0]
        if method != "dept":
            assert point["base"] == last["base"]
        assert point["new"] is None


def test_dept_transfers_by_its_prompt_alone(bench: Bench) -> None:
    spec = run("dept", protocol="all-classes", target="greek")
    ((_, kept),) = train([spec], bench.clip, bench.dataset, bench.features)
    (whole,) = transfer([spec], [kept], bench.clip, bench.dataset)
    (bare,) = transfer([spec], [{"prompt": kept["prompt"]}], bench.clip, bench.dataset)
    assert whole["checkpoints"] == bare["checkpoints"]
    text = bench.clip.class_embeddings(kept["prompt"], bench.dataset.class_names)
    right = (bench.features.test @ text.T).argmax(1) == bench.dataset.labels("test")
    base = 100 * float(right.double().mean())
    assert whole["checkpoints"][0]["base"] == pytest.approx(base)
