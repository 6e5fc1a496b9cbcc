"""The training loop of visual prompts: runs at once learn what they learn alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from few_glyphs import DIP, Few, run
from torch import Tensor

from dip_lib import load_backbone
from dip_lib.clip.backbone import Backbone
from dip_lib.clip.frozen_vision import frozen_vision_encoder
from dip_lib.methods.vpt import VisualPrompts
from dip_lib.randomness import permutation
from dip_lib.training import visual
from dip_lib.training.batches import batches
from dip_lib.training.parts import LowRank
from dip_lib.training.record import Result
from dip_lib.training.run import Run
from dip_lib.training.visual import train_visual, visual_prompts
from dip_lib.training.visual_data import VisualData, visual_data
from dip_lib.training.visual_fit import fit, rate

NEAR, FEW, FAR = 2e-5, 0.02, 0.01
"""AdamW divides a gradient by its own size. Where that is rounding, an entry moves by rounding, in
the order of the learning rate of 0.003: this may befall a share FEW of the entries, which then lie
within FAR. All others agree to NEAR."""


def assert_near(found: Tensor, expected: Tensor) -> None:
    gaps = (found - expected).abs()
    assert float((gaps > NEAR).double().mean()) <= FEW
    assert float(gaps.max()) <= FAR


def spec(
    method: str = "vpt", low_rank: LowRank | None = None, seed: int = 1, **changes: Any
) -> Run:
    values = {"vectors": 3, "depth": 4, "epochs": 3, "batch": 3, "lr": 0.003, "weight_decay": 0.01}
    return run(method, seed, low_rank, **values | changes)


@pytest.fixture(scope="module")
def clip() -> Backbone:
    return load_backbone("glyph-vit")


def trained(runs: Sequence[Run], clip: Backbone) -> list[dict[str, Tensor]]:
    """What runs learn that train at once."""
    tower = frozen_vision_encoder(clip.model)
    data = [visual_data(each, clip, Few()) for each in runs]
    models = [
        visual_prompts(each, tower, each.method.prompts(tower, d.train[0], each.seed), 3)
        for each, d in zip(runs, data, strict=True)
    ]
    fit(models, data, runs, runs[0].schedule.epochs)
    return [model.state_dict() for model in models]


@pytest.mark.parametrize(
    "settings", [{}, {"depth": 1}, {"depth": 2}, {"method": "cvpt"}, {"optimiser": "sgd"}]
)
def test_runs_learn_at_once_what_they_learn_alone(clip: Backbone, settings: dict[str, Any]) -> None:
    runs = [spec(seed=s, lr=lr, **settings) for s, lr in ((1, 0.003), (2, 0.003), (2, 0.001))]
    together = trained(runs, clip)
    for each, found in zip(runs, together, strict=True):
        (alone,) = trained([each], clip)
        for name, expected in alone.items():
            assert_near(found[name], expected)
    assert not torch.equal(together[1]["prompts.0"], together[2]["prompts.0"])


def test_measured_at_once_they_have_the_records_of_runs_alone(
    clip: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [spec(seed=1), spec(seed=1, low_rank=DIP), spec(seed=1, lr=0.001)]
    alone = [train_visual([each], clip, Few())[0] for each in runs]
    monkeypatch.setattr(visual, "_together", lambda *_: 3)  # as on a GPU

    def told(result: Result) -> dict[str, Any]:
        return {key: result.record[key] for key in ("key", "trainable", "status", "label")}

    for found, expected in zip(train_visual(runs, clip, Few()), alone, strict=True):
        assert told(found) == told(expected)
        end, wanted = (each.record["checkpoints"][-1] for each in (found, expected))
        assert end["loss"] == pytest.approx(wanted["loss"], abs=1e-5)
        assert end["base"] == wanted["base"]


def test_a_run_that_diverges_leaves_the_others_as_they_are(clip: Backbone) -> None:
    runs = [spec(), spec(lr=1e30), spec(seed=2)]
    together = trained(runs, clip)
    for r in (0, 2):
        (alone,) = trained([runs[r]], clip)
        for name, expected in alone.items():
            assert_near(together[r][name], expected)


@pytest.mark.parametrize("name", ["", "sgd"])
def test_it_is_torchs_optimiser_in_the_order_of_the_seed(clip: Backbone, name: str) -> None:
    """Against the plain loop: one run, each step through the whole module."""
    each, tower = spec(optimiser=name), frozen_vision_encoder(clip.model)
    data = visual_data(each, clip, Few())
    model = visual_prompts(each, tower, each.method.prompts(tower, data.train[0], 1), 3)
    optimiser: torch.optim.Optimizer
    if name:  # as VPT: the head's bias does not decay
        bias = model.head.bias
        decaying = [p for p in model.parameters() if p is not bias]
        groups = [{"params": decaying}, {"params": [bias], "weight_decay": 0.0}]
        optimiser = torch.optim.SGD(groups, 0.003, 0.9, weight_decay=0.01)
    else:
        optimiser = torch.optim.AdamW(model.parameters(), 0.003, (0.9, 0.999), weight_decay=0.01)
    count, batch = len(data.train_labels), 3
    steps = count // batch
    for epoch in range(3):
        order = permutation(1, epoch, count)
        for step in range(steps):
            chosen = order[step * batch : (step + 1) * batch]
            images = data.train[epoch % 2][chosen].float()
            states = tower.states(images, model.matrices)[-1]
            loss = F.cross_entropy(
                model.head(tower.finish(states[:, : tower.tokens])), data.train_labels[chosen]
            )
            for group in optimiser.param_groups:
                group["lr"] = 0.003 * rate(epoch * steps + step, 3 * steps)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    (found,) = trained([each], clip)
    for name, expected in model.state_dict().items():
        assert_near(found[name], expected)


class Counted(VisualPrompts):
    """Counts the images that pass the encoder."""

    seen = 0

    def features(self, pixels: Tensor) -> Tensor:
        type(self).seen += len(pixels)
        return super().features(pixels)


def test_without_prompts_an_image_is_encoded_once_and_the_head_learns_the_same(
    clip: Backbone,
) -> None:
    each = spec(vectors=0, epochs=6)
    (expected,) = trained([each], clip)
    tower, data = frozen_vision_encoder(clip.model), visual_data(each, clip, Few())
    plain = visual_prompts(each, tower, [], 3)
    model, Counted.seen = Counted(tower, [], plain.head), 0
    ((loss, stopped),) = fit([model], [data], [each], 6)
    assert Counted.seen == data.train.shape[0] * data.train.shape[1]
    assert stopped == "" and loss is not None
    assert torch.equal(model.head.weight, expected["head.weight"])


def test_without_views_the_images_themselves_train(clip: Backbone) -> None:
    data = visual_data(spec(views=0), clip, Few())
    assert isinstance(data, VisualData) and data.train.shape[0] == 1
    whole = next(Few().batches("train"))[0]
    labels = Few().labels("train")
    inside = clip.normalise(whole[labels < 3]).half()
    same = (data.train[0][:, None] == inside[None]).flatten(2).all(2)  # each is one of them
    assert same.any(1).all()


def test_on_a_gpu_seeds_and_rates_share_a_batch_and_on_a_cpu_they_do_not() -> None:
    runs = [spec(seed=s, lr=lr) for s in (1, 2, 3) for lr in (0.1, 0.2)]
    other = [replace(each, method=replace(each.method, vectors=5)) for each in runs]
    half = replace(runs[0], method=replace(runs[0].method, keep=50.0))
    assert sorted(map(len, batches([*runs, *other, half], 64, "cuda"))) == [1, 6, 6]
    assert {len(batch) for batch in batches([*runs, *other, half], 64)} == {1}


def test_runs_of_several_settings_do_not_train_together(clip: Backbone) -> None:
    with pytest.raises(ValueError, match="settings"):
        train_visual([spec(), spec(vectors=5)], clip, Few())
