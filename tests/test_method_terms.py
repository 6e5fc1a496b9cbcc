"""What each method adds to CoOp, taken alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import peer_methods as peers
import pytest
import torch
from few_glyphs import Bench, Runs, few, run
from torch import Tensor

from dip_lib.data.splits import Twin
from dip_lib.methods import LEARNT, Batch, Learnt, coop
from dip_lib.methods.method import linear
from dip_lib.methods.prograd import without_conflict
from dip_lib.methods.promptsrc import average
from dip_lib.training.evaluate import evaluate
from dip_lib.training.run import RunSpec

IMAGE_SIDE = ("maple", "promptsrc")


@pytest.fixture(scope="module")
def bench() -> Bench:
    return few()


def trained(bench: Bench, *specs: RunSpec) -> Learnt:
    runs = bench.runs(*specs)
    runs.train()
    return runs.learnt()


def first_batch(runs: Runs) -> Batch:
    return Batch(runs.data.images[:, 0], runs.data.labels)


@pytest.mark.parametrize("method", ["coop", "cocoop", *IMAGE_SIDE])
def test_a_name_that_a_list_gives_to_two_classes_stops_no_method(bench: Bench, method: str) -> None:
    runs = bench.runs(run(method))
    names = (*runs.data.names, Twin(runs.data.names[0]))  # as ImageNet's two missiles
    images = runs.data.base.images[:3]
    logits = runs.method.classifier(runs.learnt(), runs.fixed, names)(images)
    torch.testing.assert_close(logits[..., 0], logits[..., -1])


# ---- KgCoOp, ProGrad -------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["kgcoop", "prograd"])
def test_without_its_term_it_is_coop(bench: Bench, method: str) -> None:
    (own,) = trained(bench, run(method, weight=0.0)).prompts
    (host,) = trained(bench, run("coop", context=run(method).context)).prompts
    torch.testing.assert_close(own, host, rtol=0, atol=1e-6)
    (other,) = trained(bench, run(method)).prompts
    assert (other - host).abs().max() > 1e-4


def test_a_gradient_without_conflict() -> None:
    torch.manual_seed(0)
    a, b = torch.randn(2, 50, 4, 6, dtype=torch.float64)
    one = torch.ones(50, dtype=torch.float64)
    along = (a * b).sum((1, 2))
    agree = along >= 0
    assert 10 < agree.sum() < 40
    found = without_conflict(a, b, one)
    assert torch.equal(found[agree], a[agree])
    torch.testing.assert_close((found * b).sum((1, 2))[~agree], 0 * along[~agree])
    # only the part along b is taken out, and a weight takes that much of it
    half = without_conflict(a, b, one / 2)
    torch.testing.assert_close(2 * (a - half), a - found)
    taken = (a - found)[~agree].flatten(1)
    torch.testing.assert_close(
        torch.cosine_similarity(taken, b[~agree].flatten(1)), -one[~agree], rtol=0, atol=1e-9
    )


def test_no_gradient_to_conflict_with_leaves_a_gradient_as_it_is() -> None:
    a = torch.randn(3, 4, 6)
    assert torch.equal(without_conflict(a, torch.zeros_like(a), torch.ones(3)), a)
    assert torch.equal(without_conflict(0 * a, a, torch.ones(3)), 0 * a)


# ---- DO, PP ----------------------------------------------------------------------------------


@pytest.fixture
def penalty(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Tensor]:
    """A method's own term (R,) of prompts (R, n, d), without the cross-entropy."""
    monkeypatch.setattr(coop, "loss", lambda *_: 0.0)
    fixed = bench.runs(run("do")).fixed

    def term(method: str, prompts: Tensor, weight: float = 1.0) -> Tensor:
        setting = replace(fixed, weight=torch.full((len(prompts),), weight).to(prompts))
        blank = Batch(prompts, prompts)
        return LEARNT[method].loss(Learnt((prompts,)), setting, blank)

    return term


def test_the_dense_terms_are_their_formulas(penalty: Callable[..., Tensor]) -> None:
    torch.manual_seed(0)
    prompts = torch.randn(3, 4, 9, dtype=torch.float64)
    for prompt, direct, positional in zip(
        prompts, penalty("do", prompts), penalty("pp", prompts, 0.5), strict=True
    ):
        first, second, third, fourth = torch.linalg.svdvals(prompt).tolist()
        share = first / (first + second + third + fourth)
        assert float(direct) == pytest.approx(-share)
        assert float(positional) == pytest.approx(0.5 * (second + 2 * third + 3 * fourth))


@pytest.mark.parametrize("method", ["do", "pp"])
def test_the_gradient_of_a_dense_term_is_that_of_finite_differences(
    penalty: Callable[..., Tensor], method: str
) -> None:
    torch.manual_seed(0)
    prompts = torch.randn(2, 4, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda p: penalty(method, p), (prompts,))


@pytest.mark.parametrize("method", ["do", "pp"])
def test_a_dense_term_says_nothing_of_directions_that_a_prompt_does_not_have(
    bench: Bench, penalty: Callable[..., Tensor], method: str
) -> None:
    # "a" stands twice: which way the fourth value would grow is a matter of rounding
    prompt = bench.clip.context("a photo of a")[None].requires_grad_()
    assert torch.linalg.matrix_rank(prompt) == 3
    (gradient,) = torch.autograd.grad(penalty(method, prompt).sum(), prompt)
    assert torch.isfinite(gradient).all()
    assert gradient.norm() > 0.1
    torch.testing.assert_close(gradient[0, 0], gradient[0, 3], rtol=0, atol=1e-5)


def test_do_makes_a_prompt_denser_and_pp_its_later_values_smaller(bench: Bench) -> None:
    longer: dict[str, Any] = {"epochs": 6, "lr": 0.01}
    for method, falls in (("do", -1.0), ("pp", 1.0)):
        specs = run(method, weight=0.0, **longer), run(method, **longer)
        (prompts,) = trained(bench, *specs).prompts
        plain, held = torch.linalg.svdvals(prompts)
        assert held[0] / held.sum() > plain[0] / plain.sum() + 0.02
        if falls > 0:
            assert (held[1:] < plain[1:]).all()


# ---- CoCoOp, DePT ----------------------------------------------------------------------------


def test_cocoop_without_its_networks_output_is_coop(bench: Bench) -> None:
    runs = bench.runs(run("cocoop"))
    learnt = runs.learnt()
    w1, b1, w2, b2 = learnt.others
    blank = Learnt(learnt.prompts, (w1, b1, 0 * w2, 0 * b2))
    host = coop.COOP.loss(learnt, runs.fixed, first_batch(runs))
    torch.testing.assert_close(
        runs.method.loss(blank, runs.fixed, first_batch(runs)), host, rtol=0, atol=1e-5
    )
    assert abs(runs.method.loss(learnt, runs.fixed, first_batch(runs)) - host) > 1e-3


def test_cocoop_judges_images_alike_in_any_company(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = bench.runs(run("cocoop"), run("cocoop", seed=2))
    classify = runs.method.classifier(runs.learnt(), runs.fixed, runs.data.names)
    images = runs.data.base.images
    whole = classify(images)
    assert whole.shape == (2, len(images), 3)
    monkeypatch.setattr("dip_lib.methods.cocoop.AT_ONCE", 4)
    torch.testing.assert_close(classify(images), whole, rtol=0, atol=1e-4)
    torch.testing.assert_close(classify(images[3:5]), whole[:, 3:5], rtol=0, atol=1e-4)


def test_the_head_of_dept_predicts_trained_classes_and_no_others(bench: Bench) -> None:
    runs = bench.runs(run("dept"))
    learnt, plain = runs.learnt(), bench.runs(run("coop"))
    *film, head, bias = learnt.others
    first = torch.zeros_like(bias).index_fill(1, torch.tensor([1]), 1e4)  # always the second class
    wild = Learnt(learnt.prompts, (*film, head, first))
    start = learnt.prompts[0]
    (found,) = evaluate(wild, start, runs.method, runs.fixed, runs.data)
    (host,) = evaluate(plain.learnt(), start, plain.method, plain.fixed, plain.data)
    assert found["base"] == pytest.approx(100 / 3)
    assert found["new"] == host["new"]
    assert found["joint"] == host["joint"]


@pytest.mark.parametrize("shape", [(128, 8), (8, 128)])
def test_a_layer_starts_as_torch_starts_one(shape: tuple[int, int]) -> None:
    weight, bias = linear(1, *shape, 10)
    torch.manual_seed(0)
    theirs = torch.nn.Linear(*shape)
    assert weight.shape == theirs.weight.shape
    assert bias.shape == theirs.bias.shape
    for ours, other in ((weight, theirs.weight), (bias, theirs.bias)):
        bound = shape[0] ** -0.5
        assert ours.abs().max() <= bound
        assert ours.abs().max() > 0.6 * bound
        assert float(ours.std()) == pytest.approx(float(other.std()), rel=0.5)
    assert float(weight.std()) == pytest.approx(bound / 3**0.5, rel=0.1)
    assert not torch.equal(linear(2, *shape, 10)[0], weight)


# ---- MaPLe, PromptSRC ------------------------------------------------------------------------


def test_maple_starts_at_the_hand_written_words(bench: Bench) -> None:
    runs = bench.runs(run("maple", depth=1))
    learnt, names = runs.learnt(), runs.data.names
    assert (len(learnt.prompts), len(learnt.others)) == (1, 2)  # no deep prompts
    images = runs.data.base.images
    logits = runs.method.classifier(learnt, runs.fixed, names)(images)[0]
    text = bench.clip.encode_text([f"a photo of a {name}." for name in names])
    torch.testing.assert_close(logits, bench.clip.logit_scale * images @ text.T, rtol=0, atol=1e-3)
    # deep prompts come with depth, and change what it reads
    deeper = bench.runs(run("maple", depth=2))
    assert (len(deeper.learnt().prompts), len(deeper.learnt().others)) == (2, 4)
    other = deeper.method.classifier(deeper.learnt(), deeper.fixed, names)(images)[0]
    assert (other - logits).abs().max() > 0.1


def test_maples_text_is_the_context_before_of_a_name(bench: Bench) -> None:
    runs = bench.runs(run("maple"))
    learnt, names = runs.learnt(), runs.data.new.names
    context, *deep = learnt.prompts
    text = bench.clip.class_embeddings(context, [f"of a {name}" for name in names], deep)
    images = runs.data.new.images
    logits = runs.method.classifier(learnt, runs.fixed, names)(images)
    expected = bench.clip.logit_scale * images @ text.transpose(1, 2)
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("method", IMAGE_SIDE)
def test_the_image_side_reads_what_is_trained_alone(bench: Bench, method: str) -> None:
    runs = bench.runs(run(method), run(method, seed=2))
    learnt, encode = runs.learnt(), runs.method.encode
    assert encode is not None
    assert runs.pixels is not None
    pixels = runs.pixels[:, 0].float()
    both = encode(learnt, runs.fixed, pixels)
    for r in range(2):
        one = Learnt(*(tuple(t[r : r + 1] for t in each) for each in vars(learnt).values()))
        own = encode(one, runs.fixed, pixels[r : r + 1])
        torch.testing.assert_close(both[r : r + 1], own, rtol=0, atol=1e-5)


@pytest.mark.parametrize("epochs", [1, 2, 5, 20, 50])
def test_the_weights_of_the_epochs_sum_to_one(epochs: int) -> None:
    weights = [average(epoch, epochs) for epoch in range(epochs)]
    assert sum(weights) == pytest.approx(1)
    if epochs % 4 == 0:
        assert weights.index(max(weights)) + 1 == 3 * epochs // 4


def test_twenty_epochs_are_averaged_with_the_peers_weights() -> None:
    weights = [average(epoch, 20) for epoch in range(20)]
    assert weights == pytest.approx(peers.gaussian_weights(20), rel=1e-9)
    assert weights.index(max(weights)) == 14  # after epoch 15
