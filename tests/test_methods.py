"""Every method is its peer's: many runs at once compute what a module of one run computes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import peer_methods as peers
import pytest
import torch
from few_glyphs import Bench, Runs, few, run
from torch import Tensor

from dip_lib import densify
from dip_lib.methods import LEARNT
from dip_lib.methods.dept import LENGTH
from dip_lib.methods.method import TEMPLATES
from dip_lib.prompt import Densified
from dip_lib.randomness import permutation
from dip_lib.training.evaluate import evaluate, with_prompted_tower
from dip_lib.training.step import learning_rate

METHODS = tuple(name for name in LEARNT if name != "dip")


@pytest.fixture(scope="module")
def bench() -> Bench:
    return few()


# ---- the oracles, started where our runs start -----------------------------------------------


class Direct(peers.CoOp):
    """DO has no peer: cross-entropy less the share of the first singular value."""

    weight = 1.0

    def loss(self, images: Tensor, labels: Tensor) -> Tensor:
        values = torch.linalg.svdvals(self.ctx)
        return super().loss(images, labels) - self.weight * values[0] / values.sum()


class Positional(peers.CoOp):
    """Nor has PP: the second value once, the third twice, the fourth three times."""

    weight = 1.0

    def loss(self, images: Tensor, labels: Tensor) -> Tensor:
        _, second, third, fourth = torch.linalg.svdvals(self.ctx)
        penalty = second + 2 * third + 3 * fourth
        return super().loss(images, labels) + self.weight * penalty


class EvenDePT(peers.DePT):
    """DePT on features of one length: its peer's head reads them as they leave the towers."""

    def images(self, images: Tensor) -> Tensor:
        return LENGTH * peers.unit(super().images(images))

    def texts(self, names: Sequence[str]) -> Tensor:
        return LENGTH * peers.unit(super().texts(names))


ORACLES: dict[str, type[peers.CoOp]] = {
    "coop": peers.CoOp,
    "do": Direct,
    "pp": Positional,
    "kgcoop": peers.KgCoOp,
    "prograd": peers.ProGrad,
    "dept": EvenDePT,
    "cocoop": peers.CoCoOp,
    "maple": peers.MaPLe,
    "promptsrc": peers.PromptSRC,
}


OWN_TERM = {"do": "weight", "pp": "weight", "kgcoop": "weight", "prograd": "strength"}


def names(method: str, depth: int) -> tuple[list[str], list[str]]:
    """What the peer calls our prompts, and what it calls the others."""
    text = [f"compound_prompts_text.{i}" for i in range(depth - 1)]
    linear = ["proj", *(f"compound_prompt_projections.{i}" for i in range(depth - 1))]
    seen = [f"VPT_shallow_image.{i}" for i in range(depth - 1)]
    deep = {
        "maple": text,
        "promptsrc": [*(f"VPT_shallow_text.{i}" for i in range(depth - 1)), "VPT", *seen],
    }
    film = [f"film_lp_{of}.{part}" for of in ("img", "text") for part in ("scale", "bias")]
    layers = {
        "dept": [*film, "linear_probe_proj.weight", "linear_probe_proj.bias"],
        "cocoop": [f"meta_net.linear{i}.{part}" for i in (1, 2) for part in ("weight", "bias")],
        "maple": [f"{layer}.{part}" for layer in linear for part in ("weight", "bias")],
    }
    return ["ctx", *deep.get(method, [])], layers.get(method, [])


def oracle(bench: Bench, runs: Runs, which: int = 0) -> peers.CoOp:
    """The peer's module at the start of one of our runs."""
    spec, begun = runs.specs[which], runs.starts[which]
    host = "coop" if spec.method == "dip" else spec.method
    prompts, others = names(host, spec.depth)
    start = dict(zip(prompts, begun.prompts, strict=True))
    start |= dict(zip(others, begun.others, strict=True))
    templates = {"kgcoop": [runs.fixed.template], "prograd": [runs.fixed.template]}
    templates["promptsrc"] = TEMPLATES["glyphs"]
    module = ORACLES[host](bench.clip, runs.data.names, start, templates.get(host, ()))
    if host in OWN_TERM:
        setattr(module, OWN_TERM[host], spec.weight)
    if host == "promptsrc":
        # its peer averages the templates' features as long as they are, ours at unit length
        alike = (module.teacher * runs.fixed.ensemble).sum(-1)
        assert float(alike.min()) > 0.999
        module.teacher = runs.fixed.ensemble
    return module


def train_oracle(module: peers.CoOp, runs: Runs, handle: Densified | None = None) -> list[float]:
    """Train a module on the batches of the first of our runs; its mean loss in each epoch."""
    (spec, *_), data = runs.specs, runs.data
    images = data.images if runs.pixels is None else runs.pixels.float()
    batches, rates, steps = [], [], len(data.labels[0]) // spec.batch
    for epoch in range(spec.epochs):
        order = permutation(spec.seed, epoch, len(data.labels[0]))
        for chosen in order[: steps * spec.batch].split(spec.batch):
            seen = images[0, epoch % spec.views, chosen], data.labels[0, chosen]
            batches.append(seen)
            rates.append(learning_rate(epoch, spec.epochs, spec.lr, spec.warmup))
    average = peers.gaussian_weights(spec.epochs, 0.75 * spec.epochs, spec.epochs / 20)
    losses = peers.train(
        module,
        batches,
        rates,
        spec.momentum,
        spec.weight_decay,
        average if spec.method == "promptsrc" else (),
        handle.step if handle else lambda: None,
    )
    return [sum(losses[i : i + steps]) / steps for i in range(0, len(losses), steps)]


def same(runs: Runs, module: peers.CoOp) -> None:
    """What the first run has learnt is what the module has."""
    spec, learnt = runs.specs[0], runs.learnt()
    host = "coop" if spec.method == "dip" else spec.method
    tensors = [each[0] for each in (*learnt.prompts, *learnt.others)]
    begun = (*runs.starts[0].prompts, *runs.starts[0].others)
    prompts, others = names(host, spec.depth)
    moved = []
    for name, ours, start in zip((*prompts, *others), tensors, begun, strict=True):
        theirs = reduce(getattr, name.split("."), module)
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4, msg=f"{name} differs")
        moved.append(float((ours - start).norm()))
    assert min(moved) > 1e-3  # so that an untrained tensor would be seen


@torch.no_grad()
def judged_alike(bench: Bench, runs: Runs, module: peers.CoOp) -> None:
    """Accuracies of the first run are those that the module's logits give."""
    learnt, (spec, *_) = runs.learnt(), runs.specs
    data = with_prompted_tower(
        runs.data, learnt, runs.method, runs.fixed, bench.dataset, spec.protocol
    )
    found = evaluate(learnt, learnt.prompts[0], runs.method, runs.fixed, data)[0]
    images, labels = runs.data.base.images, bench.dataset.labels("test")
    count = len(images)
    if runs.pixels is None:
        images = torch.cat([images, runs.data.new.images])
    else:
        (images,) = bench.dataset.batches("test")
        images = bench.clip.normalise(images[0])
    base, new = runs.data.base.names, runs.data.new.names
    wanted = {
        "base": module(images[:count]).argmax(1) == labels[:count],
        "new": module(images[count:], new).argmax(1) + len(base) == labels[count:],
        "joint": module(images, base + new).argmax(1) == labels,
    }
    for part, right in wanted.items():
        assert found[part] == pytest.approx(100 * float(right.double().mean())), part
    classify = runs.method.classifier(learnt, runs.fixed, new)
    ours = classify(data.new.images)[0]
    torch.testing.assert_close(ours, module(images[count:], new), rtol=0, atol=2e-3)


# ---- one run against its peer ----------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_a_method_trains_as_its_peer(bench: Bench, method: str) -> None:
    runs = bench.runs(run(method))
    module = oracle(bench, runs)
    losses = train_oracle(module, runs)
    assert torch.cat(runs.train()).tolist() == pytest.approx(losses, rel=1e-4)
    same(runs, module)
    judged_alike(bench, runs, module)


@pytest.mark.parametrize("method", METHODS)
def test_dip_in_a_method_is_the_peers_own_module_densified(bench: Bench, method: str) -> None:
    dip = {"coop": "dip"}.get(method, method)
    runs = bench.runs(run(dip, rank=1, dropout=0.5, lr=0.05))
    module = oracle(bench, runs)
    spec = runs.specs[0]
    handle = densify(module, names(method, spec.depth)[0], 1, 0.5, seed=spec.seed)
    losses = train_oracle(module, runs, handle)
    assert torch.cat(runs.train()).tolist() == pytest.approx(losses, rel=1e-4)
    module.eval()
    same(runs, module)
    judged_alike(bench, runs, module)


# ---- many runs at once -----------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_runs_in_a_batch_equal_the_runs_alone(bench: Bench, method: str) -> None:
    dip = {"coop": "dip"}.get(method, method)
    specs = (
        run(method),
        run(dip, seed=2, rank=1, dropout=0.5, weight=0.3, lr=0.03),
        run(dip, rank=2, dropout=0.2, weight=3.0),
        run(method, seed=2, weight=0.1, lr=0.01),
    )
    together = bench.runs(*specs)
    together.train()
    ours = together.learnt()
    for r, spec in enumerate(specs):
        alone = bench.runs(spec)
        alone.train()
        own = alone.learnt()
        for a, b in zip((*ours.prompts, *ours.others), (*own.prompts, *own.others), strict=True):
            torch.testing.assert_close(a[r], b[0], rtol=0, atol=1e-4)


@pytest.mark.parametrize("method", METHODS)
def test_dip_starts_exactly_at_its_host(bench: Bench, method: str) -> None:
    dip = {"coop": "dip"}.get(method, method)
    runs = bench.runs(run(method), run(dip, rank=1, dropout=0.5))
    for learnt in (runs.learnt(), runs.state.learnt(torch.tensor(3))):  # whatever is dropped
        data = with_prompted_tower(
            runs.data, learnt, runs.method, runs.fixed, bench.dataset, "base-to-new"
        )
        # judging keeps no graph: of thousands of images it would fill the memory
        assert not data.base.images.requires_grad
        classify = runs.method.classifier(learnt, runs.fixed, data.new.names)
        host, dense = classify(data.new.images).detach()
        torch.testing.assert_close(host, dense, rtol=0, atol=1e-4)
        for prompt in learnt.prompts:
            assert torch.equal(prompt[0], prompt[1])
