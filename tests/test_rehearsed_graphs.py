"""Steps that a GPU records as a CUDA graph do what plain steps do, on a rehearsed one."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from few_glyphs import DIP, Bench, learned, run
from on_card import few_on_card
from rehearsal import Card, card
from torch import Tensor

from dip_lib.methods import METHODS
from dip_lib.training import loop
from dip_lib.training.cuda_graph import WARM_UP, Replay
from dip_lib.training.loop import take_step, train_epochs

RECORDED = [name for name, kind in METHODS.items() if getattr(kind, "cuda_graph", False)]


@pytest.fixture(scope="module")
def bench() -> Bench:
    return few_on_card()


@pytest.fixture
def there() -> Card:
    with card() as rehearsed:
        yield rehearsed


def trained(bench: Bench, method: str, graphs: bool) -> list[Tensor]:
    """What two runs learn in three epochs of two steps, and their last losses."""
    low_rank = DIP if METHODS[method].sites else None
    changes = {"epochs": 3}
    runs = bench.prepare(run(method, **changes), run(method, 2, low_rank, **changes))
    for end in train_epochs(runs, graphs):
        loss = end.loss.cpu()
    now = learned(runs)
    return [loss, *(each.cpu() for each in (*now.prompts, *now.others))]


@pytest.mark.parametrize("method", RECORDED)
def test_a_recorded_step_is_the_plain_one_to_the_bit(
    method: str, bench: Bench, there: Card, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[list[tuple[object, ...]]] = []

    def noted(*args: object) -> None:
        there.operations.clear()
        take_step(*args)
        steps.append(there.operations[:])

    monkeypatch.setattr(loop, "take_step", noted)
    plain = trained(bench, method, graphs=False)
    # the first makes what stays constant; the second ends an epoch, the third begins one
    assert len(steps) == 6 and all(each == steps[1] for each in steps[2:])
    steps.clear()
    recorded = trained(bench, method, graphs=True)
    assert len(steps) == WARM_UP + 1  # no line of the others has run
    assert all(torch.equal(a, b) for a, b in zip(plain, recorded, strict=True))


def counted(step: Callable[[Tensor, int], None], there: Card) -> list[float]:
    """What a step of one tensor and of Python's count of the calls leaves, plainly and recorded."""
    left = []
    for record in (False, True):
        x, calls = torch.zeros(2, device="cuda"), iter(range(9))
        replay = Replay(lambda x=x, calls=calls: step(x, next(calls)), x.device, record)
        for _ in range(6):
            replay()
        left.append(float(x.sum()))
    return left


def test_a_recording_runs_nothing_and_each_replay_runs_it_once(there: Card) -> None:
    plain, recorded = counted(lambda x, _: x.mul_(2).add_(x.exp()), there)
    assert plain == recorded > 0


@pytest.mark.parametrize(
    "step",
    [
        lambda x, call: x.add_(call),  # a number of Python's is the one that was recorded
        lambda x, call: x.add_(1) if call < 5 else x.mul_(3),  # so is the way that it took
    ],
)
def test_what_changes_in_python_is_lost_in_a_recording(
    step: Callable[[Tensor, int], None], there: Card
) -> None:
    plain, recorded = counted(step, there)
    assert plain != recorded


@pytest.mark.parametrize(
    "step",
    [
        lambda x, _: x.add_(float(x.sum())),
        lambda x, _: x.add_(1) if bool((x < 9).all()) else None,
        lambda x, _: x.add_(x[x >= 0].sum()),
        lambda x, _: x.add_(torch.ones(2).to("cuda")),
        lambda x, _: x.add_(x[[0]]),
        lambda x, _: torch.linalg.svdvals(x[None]),
    ],
)
def test_a_step_that_waits_cannot_be_recorded(
    step: Callable[[Tensor, int], None], there: Card
) -> None:
    with pytest.raises(RuntimeError, match="record"):
        counted(step, there)
