"""What a GPU would refuse or wait for, on a rehearsed one: training, evaluation, encoding."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from few_glyphs import DIP, Bench, Few, few, learned, run, train_all
from on_card import NOT_IN_STEPS, WAITS, few_on_card, of_a_visual_epoch, of_an_epoch
from rehearsal import Card, OnCard, card
from torch import Tensor

from dip_lib.clip.features import encode_views
from dip_lib.methods import METHODS, PromptMethod
from dip_lib.training import evaluate
from dip_lib.training.loop import AGREE
from dip_lib.training.text_drift import TextDrift

OF_ONE_EVALUATION = {"coop": 14, "dept": 15}
"""Waits of an evaluation of two runs, however many images there are: five rows of percentages (DePT
six), three of drifts, and of each run the three matrices whose spectra the CPU computes."""


@pytest.fixture(scope="module")
def bench() -> Bench:
    return few_on_card()


@pytest.fixture
def there() -> Card:
    with card() as rehearsed:
        yield rehearsed


# ---- the rehearsed GPU is one --------------------------------------------------------------------


def test_tensors_on_the_card_have_the_cpus_values(there: Card) -> None:
    x = torch.arange(6.0, device="cuda").view(2, 3)
    assert x.device.type == "cuda" and isinstance(x, OnCard)
    weight = torch.linspace(-1, 1, 12).view(3, 4)
    own = weight.to("cuda").requires_grad_()
    (slope,) = torch.autograd.grad((x @ own).softmax(-1).square().sum(), own)
    weight.requires_grad_()
    plain = torch.arange(6.0).view(2, 3)
    (same,) = torch.autograd.grad((plain @ weight).softmax(-1).square().sum(), weight)
    assert isinstance(slope, OnCard) and torch.equal(slope.cpu(), same)
    x[:, 0] = 7
    assert x.tolist() == [[7, 1, 2], [7, 4, 5]]


@pytest.mark.parametrize(
    "wrong",
    [
        lambda x: x + torch.ones(3),
        lambda x: x @ torch.ones(3),
        lambda x: torch.stack([x, torch.ones(3)]),
        lambda x: x.add_(torch.ones(3)),
        lambda x: torch.cat([x, torch.ones(1)]),
        lambda x: x.requires_grad_().square().backward(torch.ones(3)),
        lambda x: x.index_add(0, torch.tensor([0]), x[:1]),
    ],
)
def test_a_tensor_left_on_the_cpu_is_refused(wrong: Callable[[Tensor], None], there: Card) -> None:
    with pytest.raises(RuntimeError):
        wrong(torch.ones(3, device="cuda"))


def test_a_number_may_come_from_the_cpu_and_numpy_may_not_have_the_card(there: Card) -> None:
    x = torch.ones(3, device="cuda")
    assert (x + torch.tensor(2.0)).tolist() == [3, 3, 3]
    with pytest.raises(TypeError):
        x.numpy()


@pytest.mark.parametrize(
    ("look", "times"),
    [
        (lambda x: float(x.sum()), 1),
        (lambda x: bool((x > 1).all()), 1),
        (lambda x: x.tolist(), 1),
        (lambda x: x.cpu(), 1),
        (lambda x: x + torch.zeros(3).to("cuda"), 1),
        (lambda x: x.copy_(torch.zeros(3)), 1),
        (lambda x: x[x > 1], 1),
        (lambda x: x[[0, 1]], 1),
        (lambda x: x[torch.tensor([0, 1])], 1),
        (lambda x: (x > 1).nonzero(), 1),
        (lambda x: x.unique(), 1),
        (lambda x: torch.equal(x, x), 1),
        (lambda x: torch.linalg.svdvals(x[None]), 1),
        (lambda x: torch.where(x > 1, x, 0).softmax(0).clone().to("cuda"), 0),
        (lambda x: x[torch.arange(2, device=x.device)], 0),
    ],
)
def test_every_wait_is_noted(look: Callable[[Tensor], None], times: int, there: Card) -> None:
    x = torch.arange(3.0, device="cuda")
    there.waits.clear()
    look(x)
    assert len(there.waits) == times


# ---- training ------------------------------------------------------------------------------------


def test_every_method_that_trains_in_steps_has_its_number_of_waits() -> None:
    assert WAITS.keys() | NOT_IN_STEPS == METHODS.keys()
    for name, number in WAITS.items():
        if getattr(METHODS[name], "cuda_graph", False):
            assert number == 0, name  # what is recorded may not wait


@pytest.mark.parametrize("method", [n for n in WAITS if issubclass(METHODS[n], PromptMethod)])
def test_a_step_waits_as_often_as_its_method_says(method: str, bench: Bench, there: Card) -> None:
    found = of_an_epoch(there, bench, method)
    assert len(found) == 2 * WAITS[method], found


@pytest.mark.parametrize("method", ["vpt", "cvpt"])  # tests/slow has spt, which starts slowly
def test_visual_prompts_wait_at_the_ends_of_an_epoch_alone(
    method: str, bench: Bench, there: Card
) -> None:
    found = of_a_visual_epoch(there, bench, method)
    # the order of images and of their labels, and then the losses and whether they were finite
    assert len(found) == 2 + 2 + 2 * WAITS[method], found


def test_training_on_the_card_learns_what_it_learns_on_the_cpu(bench: Bench, there: Card) -> None:
    runs = run("coop"), run("coop", 2, DIP)
    on_card, on_cpu = bench.prepare(*runs), few().prepare(*runs)
    losses = [torch.stack(train_all(each)).cpu() for each in (on_card, on_cpu)]
    torch.testing.assert_close(*losses, rtol=AGREE, atol=0)
    prompts = [learned(each).prompts[0].cpu() for each in (on_card, on_cpu)]
    torch.testing.assert_close(*prompts, rtol=0, atol=AGREE)


# ---- evaluation and encoding -------------------------------------------------------------------


@pytest.mark.parametrize("logits", [evaluate.LOGITS, 100])
@pytest.mark.parametrize("method", OF_ONE_EVALUATION)
def test_no_batch_of_an_evaluation_waits(
    method: str, logits: int, bench: Bench, there: Card, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluate, "LOGITS", logits)  # 100: batches of eight images
    each = run(method), run(method, 2, DIP)
    runs, data = bench.prepare(*each), bench.evaluation(*each)
    now, frozen = runs.learned(), runs.frozen
    drift = TextDrift.of(runs.method, now, frozen, data.base.names, data.new.names)
    evaluate.evaluate(runs.method, now, now.prompts[0], frozen, data, drift)  # makes constants
    there.waits.clear()
    evaluate.evaluate(runs.method, now, now.prompts[0], frozen, data, drift)
    assert len(there.waits) == OF_ONE_EVALUATION[method], there.waits


def test_encoding_waits_for_images_and_for_files_alone(bench: Bench, there: Card) -> None:
    dataset = Few()
    bench.clip.normalise(torch.zeros(1, 3, 1, 1, device="cuda"))  # keeps its constants there
    there.waits.clear()
    features = encode_views(bench.clip, dataset, "test", [None])
    assert len(there.waits) == 2, there.waits  # one batch of pictures to the card, one file from it
    there.waits.clear()
    again = encode_views(bench.clip, dataset, "test", [None])
    assert len(there.waits) == 1  # the file
    assert isinstance(again, OnCard) and torch.equal(again.cpu(), features.cpu())
    encoded = bench.clip.encode_text(["an image of a small eta."])
    assert isinstance(encoded, OnCard) and encoded.shape == (1, features.shape[2])
