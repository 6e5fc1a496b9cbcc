"""The page on other people's trainers: its lines, in trainers built as CoOp's and MaPLe's."""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import peer_methods as peers
import pytest
import torch
import torch.nn.functional as F
from few_glyphs import Bench, few
from torch import Tensor, nn

from dip_lib.methods.prompts import deep_vectors

PAGE = Path(__file__).resolve().parents[1] / "book" / "other_code.md"
DEPTH = 3


def block(name: str) -> str:
    """The code of a block of the page by its name."""
    pattern = rf"^:name: {name}\n(?::[^\n]*\n)*(.*?)^```$"
    found = re.search(pattern, PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert found, name
    return found.group(1)


class Learner(nn.Module):
    """What the trainers call prompt_learner."""

    token_prefix: Tensor

    def __init__(self, bench: Bench, deep: int) -> None:
        super().__init__()
        self.ctx = nn.Parameter(bench.clip.context("a photo of a"))
        if deep:
            self.compound_prompts_text = nn.ParameterList(deep_vectors(1, (4, 128), deep + 1))
            self.proj = nn.Linear(128, 128)
        self.register_buffer("token_prefix", torch.zeros(6, 1, 128))


class Custom(nn.Module):
    """What they call model: the frozen towers, and the learner."""

    def __init__(self, bench: Bench, deep: int) -> None:
        super().__init__()
        self.prompt_learner = Learner(bench, deep)
        self.towers = [bench.clip]  # in a list: its parameters are no part of the test
        self.names = bench.dataset.class_names

    def forward(self, images: Tensor) -> Tensor:
        learner, (clip,) = self.prompt_learner, self.towers
        deep = getattr(learner, "compound_prompts_text", ())
        text = peers.text_features(clip, self.names, learner.ctx, deep)
        if deep:
            images = images + 0.01 * learner.proj(learner.ctx).mean()
        return clip.logit_scale * peers.unit(images) @ peers.unit(text).T


class Trainer:
    """As a trainer of CoOp's kind on Dassl's; ``deep`` prompts beside the first."""

    deep = 0

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.build_model()

    def build_model(self) -> None:
        self.model = Custom(self.bench, self.deep)
        learner = self.model.prompt_learner
        self.optim = torch.optim.SGD(learner.parameters(), 0.02, 0.9, weight_decay=5e-4)
        self.sched = torch.optim.lr_scheduler.CosineAnnealingLR(self.optim, 5)

    def forward_backward(self, batch: tuple[Tensor, Tensor]) -> dict[str, float]:
        images, labels = batch
        loss = F.cross_entropy(self.model(images), labels)
        self.optim.zero_grad()
        loss.backward()
        self.optim.step()
        return {"loss": loss.item()}

    def load_model(self, state: dict[str, Tensor]) -> None:
        """As theirs: buffers that depend on the classes are left out, and nothing is strict."""
        kept = {name: value for name, value in state.items() if name != "token_prefix"}
        self.model.prompt_learner.load_state_dict(kept, strict=False)


class DeepTrainer(Trainer):
    deep = DEPTH - 1


class Registry(dict[str, Any]):
    def register(self) -> Callable[[type], type]:
        return lambda cls: self.setdefault(cls.__name__, cls)


@pytest.fixture(scope="module")
def bench() -> Bench:
    return few()


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Registry:
    """Stand-ins for the modules that the page's blocks import."""
    held: dict[str, dict[str, Any]] = {
        "dassl": {},
        "dassl.engine": {"TRAINER_REGISTRY": Registry()},
        "trainers": {},
        "trainers.coop": {"CoOp": Trainer},
        "trainers.maple": {"MaPLe": DeepTrainer},
    }
    for name, content in held.items():
        module = ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)
    found: Registry = held["dassl.engine"]["TRAINER_REGISTRY"]
    return found


@pytest.mark.parametrize(
    ("name", "trainer", "plain", "prompts"),
    [("other-coop", "CoOpDIP", Trainer, 1), ("other-maple", "MaPLeDIP", DeepTrainer, DEPTH)],
)
def test_the_printed_lines_train_a_dip_whose_checkpoint_the_plain_trainer_reads(
    bench: Bench,
    registry: Registry,
    name: str,
    trainer: str,
    plain: type[Trainer],
    prompts: int,
) -> None:
    exec(block(name), {})
    images = bench.features.train[0]
    labels = bench.dataset.labels("train")
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # of a mask that never changes
        dense = registry[trainer](bench)
        learner, handle = dense.model.prompt_learner, dense.dip
        factors = list(handle.parameters())
        assert sum(f.numel() for f in factors) == prompts * (4 + 128)
        given = {id(p) for p in dense.optim.param_groups[0]["params"]}
        assert given == {id(p) for p in learner.parameters()} >= {id(f) for f in factors}
        start, masks = learner.eval().ctx.detach().clone(), set()
        learner.train()
        losses = []
        for _ in range(40):
            losses.append(dense.forward_backward((images, labels))["loss"])
            masks.add(tuple((learner.ctx != start).flatten().tolist()))
        dense.sched.step()
    assert losses[-1] < losses[0]
    assert len(masks) == 40
    dense.model.eval()
    assert torch.linalg.matrix_rank((learner.ctx - start).double(), rtol=1e-4) == 1
    other = plain(bench)
    other.model.eval()
    untrained = other.model(images)
    other.load_model(learner.state_dict())
    trained = dense.model(images)
    assert torch.equal(other.model(images), trained)
    assert not torch.equal(untrained, trained)
    handle.merge()
    assert set(learner.state_dict()) == set(other.model.prompt_learner.state_dict())
    assert torch.equal(dense.model(images), trained)


def test_the_page_says_five_lines_and_marks_them() -> None:
    text = PAGE.read_text("utf-8")
    for name in ("other-coop", "other-maple"):
        marked = re.search(rf":name: {name}\n:emphasize-lines: (.*)\n", text)
        assert marked
        ends = [part.split("-") for part in marked.group(1).split(", ")]
        numbers = [
            n for first, *last in ends for n in range(int(first), int([first, *last][-1]) + 1)
        ]
        lines = block(name).splitlines()
        shown = [lines[number - 1] for number in numbers]
        assert "import densify" in shown[0]
        assert "step()" in shown[-1]
        assert len(shown) <= 5
