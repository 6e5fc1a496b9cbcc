"""A run is one result: to the bit where the same sums are taken, else within ``AGREE``.

The same group measured again is in test_trainer.py; golden runs hold results over time, machines
and changes of the code.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest
import torch
from few_glyphs import DIP, Bench, Few, few, learned, run, train_all
from torch import Tensor

from dip_lib.training.loop import AGREE
from dip_lib.training.measure import Group, measure_group
from dip_lib.training.run import Run
from dip_study.engine import group
from dip_study.engine.group import Task, measured_bytes

RUNS = [run("coop", seed, low_rank) for seed in range(1, 9) for low_rank in (None, DIP)]


@pytest.fixture(scope="module")
def bench() -> Bench:
    return few()


@contextmanager
def threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def ends(bench: Bench, runs: Sequence[Run]) -> list[tuple[Tensor, Tensor]]:
    """The last loss and the prompt of each run, trained at once."""
    together = bench.prepare(*runs)
    *_, loss = train_all(together)
    return list(zip(loss, learned(together).prompts[0], strict=True))


def agree(ours: Sequence[tuple[Tensor, Tensor]], others: Sequence[tuple[Tensor, Tensor]]) -> None:
    for (loss, prompt), (same, alike) in zip(ours, others, strict=True):
        torch.testing.assert_close(loss, same, rtol=AGREE, atol=0)
        torch.testing.assert_close(prompt, alike, rtol=0, atol=AGREE)


@pytest.fixture(scope="module")
def whole(bench: Bench) -> list[tuple[Tensor, Tensor]]:
    """All sixteen at once, with one thread."""
    return ends(bench, RUNS)


def test_a_group_again_is_the_same_to_the_bit(
    bench: Bench, whole: list[tuple[Tensor, Tensor]]
) -> None:
    for (loss, prompt), (same, alike) in zip(whole, ends(bench, RUNS), strict=True):
        assert torch.equal(loss, same) and torch.equal(prompt, alike)


def test_two_threads_agree_with_one_and_with_themselves_to_the_bit(
    bench: Bench, whole: list[tuple[Tensor, Tensor]]
) -> None:
    with threads(2):
        found, again = ends(bench, RUNS), ends(bench, RUNS)
    agree(found, whole)
    for (loss, prompt), (same, alike) in zip(found, again, strict=True):
        assert torch.equal(loss, same) and torch.equal(prompt, alike)


@pytest.mark.parametrize("size", [1, 3])
def test_smaller_groups_agree_with_the_whole(
    size: int, bench: Bench, whole: list[tuple[Tensor, Tensor]]
) -> None:
    few_runs = RUNS[:6]
    parts = [few_runs[i : i + size] for i in range(0, 6, size)]
    agree([end for part in parts for end in ends(bench, part)], whole[:6])


def test_what_travels_to_a_worker_is_the_same_to_the_bit(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group, "dataset_of", lambda *_: Few())
    monkeypatch.setattr(group, "tower_of", lambda *_: bench.clip)
    here = measure_group(Group(RUNS[:2], bench.clip, Few()))
    there = pickle.loads(measured_bytes(pickle.dumps(Task(tuple(RUNS[:2]), "cpu", {}))))
    for ours, theirs in zip(here, there, strict=True):
        assert torch.equal(ours.tensors["prompt"], theirs.tensors["prompt"])
        assert ours.record["checkpoints"] == theirs.record["checkpoints"]
