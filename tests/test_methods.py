"""Every method is its peer's: many runs at once compute what a module of one run computes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import peer_methods as peers
import pytest
import torch
from few_glyphs import DIP, HOSTS, Bench, few, learned, run, start_of, train_all
from torch import Tensor

from dip_lib import densify
from dip_lib.data.protocols import Classes
from dip_lib.methods import METHODS
from dip_lib.methods.dept import LENGTH
from dip_lib.prompt import Densified
from dip_lib.randomness import permutation
from dip_lib.training.evaluate import evaluate, with_prompted_tower
from dip_lib.training.loop import AGREE, learning_rate
from dip_lib.training.parts import LowRank
from dip_lib.training.runs import Runs

each_host = pytest.mark.parametrize("method", HOSTS)


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


def depth_of(runs: Runs) -> int:
    """Blocks that read prompts of their own."""
    return getattr(runs.method, "depth", 1)


def oracle(bench: Bench, runs: Runs) -> peers.CoOp:
    """The peer's module at the start of the first of our runs."""
    method, begun = runs.method.name, start_of(runs)
    if method not in ORACLES:
        pytest.skip(f"no oracle of {method}: write one in peer_methods.py")
    prompts, others = names(method, depth_of(runs))
    start = dict(zip(prompts, begun.prompts, strict=True))
    start |= dict(zip(others, begun.others, strict=True))
    templates = {"kgcoop": [runs.frozen.template], "prograd": [runs.frozen.template]}
    templates["promptsrc"] = list(bench.clip.templates)
    module = ORACLES[method](bench.clip, runs.data.names, start, templates.get(method, ()))
    if method in OWN_TERM:
        setattr(module, OWN_TERM[method], runs.method.weight)
    if method == "promptsrc":
        # its peer averages the templates' features as long as they are, ours at unit length
        alike = (module.teacher * runs.frozen.ensemble_text).sum(-1)
        assert float(alike.min()) > 0.999
        module.teacher = runs.frozen.ensemble_text
    return module


def train_oracle(module: peers.CoOp, runs: Runs, handle: Densified | None = None) -> list[float]:
    """Train a module on the batches of the first of our runs; its mean loss in each epoch."""
    (run, *_), data = runs.runs, runs.data
    schedule = run.schedule
    images = data.images if data.pixels is None else data.pixels.float()
    batches, rates, steps = [], [], len(data.labels[0]) // schedule.batch
    for epoch in range(schedule.epochs):
        order = permutation(run.seed, epoch, len(data.labels[0]))
        for chosen in order[: steps * schedule.batch].split(schedule.batch):
            batches.append((images[0, epoch % run.data.views, chosen], data.labels[0, chosen]))
            rates.append(learning_rate(epoch, schedule.epochs, schedule.lr, schedule.warmup))
    epochs = schedule.epochs
    average = peers.gaussian_weights(epochs, 0.75 * epochs, epochs / 20)
    losses = peers.train(
        module,
        batches,
        rates,
        schedule.momentum,
        schedule.weight_decay,
        average if run.method.name == "promptsrc" else (),
        handle.step if handle else lambda: None,
    )
    return [sum(losses[i : i + steps]) / steps for i in range(0, len(losses), steps)]


def same(runs: Runs, module: peers.CoOp) -> None:
    """What the first run has learned is what the module has."""
    now, begun = learned(runs), start_of(runs)
    tensors = [each[0] for each in (*now.prompts, *now.others)]
    prompts, others = names(runs.method.name, depth_of(runs))
    moved = []
    for name, ours, start in zip(
        (*prompts, *others), tensors, (*begun.prompts, *begun.others), strict=True
    ):
        theirs = reduce(getattr, name.split("."), module)
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4, msg=f"{name} differs")
        moved.append(float((ours - start).norm()))
    assert min(moved) > 1e-3  # so that an untrained tensor would be seen


@torch.no_grad()
def evaluated_alike(bench: Bench, runs: Runs, module: peers.CoOp) -> None:
    """Accuracies of the first run are those that the module's logits give."""
    method, frozen, now, plain = (
        runs.method,
        runs.frozen,
        learned(runs),
        bench.evaluation(*runs.runs),
    )
    data = with_prompted_tower(plain, method, now, frozen, bench.dataset, Classes())
    accuracy = evaluate(method, now, now.prompts[0], frozen, data)[0]
    images, labels = plain.base.images, bench.dataset.labels("test")
    count = len(images)
    if method.encodes_images:
        (images,) = bench.dataset.batches("test")
        images = bench.clip.normalise(images[0])
    else:
        images = torch.cat([images, plain.new.images])
    base, new = plain.base.names, plain.new.names
    wanted = {
        "base": module(images[:count]).argmax(1) == labels[:count],
        "new": module(images[count:], new).argmax(1) + len(base) == labels[count:],
        "joint": module(images, base + new).argmax(1) == labels,
    }
    for part, right in wanted.items():
        assert accuracy[part] == pytest.approx(100 * float(right.double().mean())), part
    ours = method.classifier(now, frozen, new)(data.new.images)[0]
    torch.testing.assert_close(ours, module(images[count:], new), rtol=0, atol=2e-3)


# ---- one run against its peer ----------------------------------------------------------------


@each_host
def test_a_method_trains_as_its_peer(bench: Bench, method: str) -> None:
    runs = bench.prepare(run(method))
    module = oracle(bench, runs)
    losses = train_oracle(module, runs)
    assert torch.cat(train_all(runs)).tolist() == pytest.approx(losses, rel=1e-4)
    same(runs, module)
    evaluated_alike(bench, runs, module)


@each_host
def test_dip_in_a_method_is_the_peers_own_module_densified(bench: Bench, method: str) -> None:
    runs = bench.prepare(run(method, low_rank=DIP, lr=0.05))
    module = oracle(bench, runs)
    handle = densify(module, names(method, depth_of(runs))[0], 1, 0.5, seed=runs.runs[0].seed)
    losses = train_oracle(module, runs, handle)
    assert torch.cat(train_all(runs)).tolist() == pytest.approx(losses, rel=1e-4)
    module.eval()
    same(runs, module)
    evaluated_alike(bench, runs, module)


# ---- many runs at once -----------------------------------------------------------------------


@each_host
def test_runs_in_a_batch_equal_the_runs_alone(bench: Bench, method: str) -> None:
    # settings in which runs of one batch may differ, where the method has any
    first, second, third = (
        dict.fromkeys(METHODS[method].per_run, value) for value in (0.3, 3.0, 0.1)
    )
    runs = (
        run(method),
        run(method, 2, DIP, lr=0.03, **first),
        run(method, 1, LowRank(rank=2, dropout=0.2), **second),
        run(method, 2, lr=0.01, **third),
    )
    together = bench.prepare(*runs)
    train_all(together)
    ours = learned(together)
    for r, each in enumerate(runs):
        alone = bench.prepare(each)
        train_all(alone)
        own = learned(alone)
        for a, b in zip((*ours.prompts, *ours.others), (*own.prompts, *own.others), strict=True):
            torch.testing.assert_close(a[r], b[0], rtol=0, atol=AGREE)


@each_host
def test_dip_starts_exactly_at_its_host(bench: Bench, method: str) -> None:
    runs = bench.prepare(run(method), run(method, low_rank=DIP))
    plain = bench.evaluation(*runs.runs)
    for now in (learned(runs), runs.state.learned(torch.tensor(3))):  # whatever is dropped
        data = with_prompted_tower(plain, runs.method, now, runs.frozen, bench.dataset, Classes())
        # evaluating keeps no graph: of thousands of images it would fill the memory
        assert not data.base.images.requires_grad
        classify = runs.method.classifier(now, runs.frozen, data.new.names)
        host, dense = classify(data.new.images).detach()
        torch.testing.assert_close(host, dense, rtol=0, atol=1e-4)
        for prompt in now.prompts:
            assert torch.equal(prompt[0], prompt[1])
