"""What each method adds to CoOp, taken alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import peer_methods as peers
import pytest
import torch
from few_glyphs import IMAGE_SIDE, Bench, few, learned, run, train_all
from torch import Tensor

from dip_lib.data.names import Twin
from dip_lib.methods import METHODS, CoOp, PromptMethod
from dip_lib.methods.prograd import without_conflict
from dip_lib.methods.prompts import Batch, Learned, linear
from dip_lib.methods.promptsrc import PromptSRC
from dip_lib.training.evaluate import evaluate
from dip_lib.training.run import Run
from dip_lib.training.runs import Runs


@pytest.fixture(scope="module")
def bench() -> Bench:
    return few()


def trained(bench: Bench, *each: Run) -> Learned:
    runs = bench.prepare(*each)
    train_all(runs)
    return learned(runs)


def first_batch(runs: Runs) -> Batch:
    return Batch(runs.data.images[:, 0], runs.data.labels)


@pytest.mark.parametrize("method", ["coop", "cocoop", *IMAGE_SIDE])
def test_a_name_that_a_list_gives_to_two_classes_stops_no_method(bench: Bench, method: str) -> None:
    runs = bench.prepare(run(method))
    names = (*runs.data.names, Twin(runs.data.names[0]))  # as ImageNet's two missiles
    images = bench.evaluation(*runs.runs).base.images[:3]
    logits = runs.method.classifier(learned(runs), runs.frozen, names)(images)
    torch.testing.assert_close(logits[..., 0], logits[..., -1])


# ---- KgCoOp, ProGrad -------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["kgcoop", "prograd"])
def test_without_its_term_it_is_coop(bench: Bench, method: str) -> None:
    (own,) = trained(bench, run(method, weight=0.0)).prompts
    (host,) = trained(bench, run("coop", context=run(method).method.context)).prompts
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
    monkeypatch.setattr(PromptMethod, "loss", lambda *_: 0.0)
    frozen = bench.prepare(run("do")).frozen

    def term(method: str, prompts: Tensor, weight: float = 1.0) -> Tensor:
        weights = {"weight": torch.full((len(prompts),), weight).to(prompts)}
        blank = Batch(prompts, prompts)
        return METHODS[method]().loss(Learned((prompts,)), replace(frozen, per_run=weights), blank)

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
    for method in ("do", "pp"):
        both = run(method, weight=0.0, **longer), run(method, **longer)
        (prompts,) = trained(bench, *both).prompts
        plain, dense = torch.linalg.svdvals(prompts)
        assert dense[0] / dense.sum() > plain[0] / plain.sum() + 0.02
        if method == "pp":
            assert (dense[1:] < plain[1:]).all()


# ---- CoCoOp, DePT ----------------------------------------------------------------------------


def test_cocoop_without_its_networks_output_is_coop(bench: Bench) -> None:
    runs = bench.prepare(run("cocoop"))
    now = learned(runs)
    w1, b1, w2, b2 = now.others
    blank = Learned(now.prompts, (w1, b1, 0 * w2, 0 * b2))
    host = CoOp().loss(now, runs.frozen, first_batch(runs))
    torch.testing.assert_close(
        runs.method.loss(blank, runs.frozen, first_batch(runs)), host, rtol=0, atol=1e-5
    )
    assert abs(runs.method.loss(now, runs.frozen, first_batch(runs)) - host) > 1e-3


def test_cocoop_classifies_images_alike_in_any_company(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = bench.prepare(run("cocoop"), run("cocoop", seed=2))
    classify = runs.method.classifier(learned(runs), runs.frozen, runs.data.names)
    images = bench.evaluation(*runs.runs).base.images
    whole = classify(images)
    assert whole.shape == (2, len(images), 3)
    monkeypatch.setattr("dip_lib.methods.cocoop.AT_ONCE", 4)
    torch.testing.assert_close(classify(images), whole, rtol=0, atol=1e-4)
    torch.testing.assert_close(classify(images[3:5]), whole[:, 3:5], rtol=0, atol=1e-4)


def test_the_head_of_dept_predicts_trained_classes_and_no_others(bench: Bench) -> None:
    runs = bench.prepare(run("dept"))
    now, plain = learned(runs), bench.prepare(run("coop"))
    *film, head, bias = now.others
    second = torch.zeros_like(bias).index_fill(1, torch.tensor([1]), 1e4)  # always this class
    wild, start = Learned(now.prompts, (*film, head, second)), now.prompts[0]
    data = bench.evaluation(*runs.runs)
    (headed,) = evaluate(runs.method, wild, start, runs.frozen, data)
    (host,) = evaluate(plain.method, learned(plain), start, plain.frozen, data)
    assert headed["base"] == pytest.approx(100 / 3)
    assert headed["new"] == host["new"]
    assert headed["joint"] == host["joint"]


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
        assert float(ours.std()) == pytest.approx(float(other.detach().std()), rel=0.5)
    assert float(weight.std()) == pytest.approx(bound / 3**0.5, rel=0.1)
    assert not torch.equal(linear(2, *shape, 10)[0], weight)


# ---- MaPLe, PromptSRC ------------------------------------------------------------------------


def test_maple_starts_at_the_hand_written_words(bench: Bench) -> None:
    runs = bench.prepare(run("maple", depth=1))
    now, names = learned(runs), runs.data.names
    assert (len(now.prompts), len(now.others)) == (1, 2)  # no deep prompts
    images = bench.evaluation(*runs.runs).base.images
    logits = runs.method.classifier(now, runs.frozen, names)(images)[0]
    text = bench.clip.encode_text([f"a photo of a {name}." for name in names])
    torch.testing.assert_close(logits, bench.clip.logit_scale * images @ text.T, rtol=0, atol=1e-3)
    # deep prompts come with depth, and change what it reads
    deeper = bench.prepare(run("maple", depth=2))
    more = learned(deeper)
    assert (len(more.prompts), len(more.others)) == (2, 4)
    other = deeper.method.classifier(more, deeper.frozen, names)(images)[0]
    assert (other - logits).abs().max() > 0.1


def test_maples_text_is_the_context_before_of_a_name(bench: Bench) -> None:
    runs = bench.prepare(run("maple"))
    now, new = learned(runs), bench.evaluation(*runs.runs).new
    context, *deep = now.prompts
    text = bench.clip.class_embeddings(context, [f"of a {name}" for name in new.names], deep)
    images = new.images
    logits = runs.method.classifier(now, runs.frozen, new.names)(images)
    expected = bench.clip.logit_scale * images @ text.transpose(1, 2)
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("method", IMAGE_SIDE)
def test_the_image_side_reads_what_is_trained_alone(bench: Bench, method: str) -> None:
    runs = bench.prepare(run(method), run(method, seed=2))
    now, encode = learned(runs), runs.method.encode
    assert runs.data.pixels is not None
    pixels = runs.data.pixels[:, 0].float()
    both = encode(now, runs.frozen, pixels)
    for r in range(2):
        one = Learned(*(tuple(t[r : r + 1] for t in each) for each in vars(now).values()))
        own = encode(one, runs.frozen, pixels[r : r + 1])
        torch.testing.assert_close(both[r : r + 1], own, rtol=0, atol=1e-5)


@pytest.mark.parametrize("epochs", [1, 2, 5, 20, 50])
def test_the_weights_of_the_epochs_sum_to_one(epochs: int) -> None:
    weights = [PromptSRC().average_weight(epoch, epochs) for epoch in range(epochs)]
    assert sum(weights) == pytest.approx(1)
    if epochs % 4 == 0:
        assert weights.index(max(weights)) + 1 == 3 * epochs // 4


def test_twenty_epochs_are_averaged_with_the_peers_weights() -> None:
    weights = [PromptSRC().average_weight(epoch, 20) for epoch in range(20)]
    assert weights == pytest.approx(peers.gaussian_weights(20), rel=1e-9)
    assert weights.index(max(weights)) == 14  # after epoch 15
