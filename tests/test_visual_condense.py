"""Prompt Condensation: importance is a derivative, and what is kept is kept as it was."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from visual_towers import TOWERS, pixels, tower

from dip_lib import densify
from dip_lib.errors import UnknownNameError
from dip_lib.methods.cvpt import CrossPrompts
from dip_lib.methods.vpt import VisualPrompts, first_head, first_prompts
from dip_lib.training.condense import condensed, importance, top_prompts

LABELS = torch.tensor([0, 1, 2, 3, 4, 0])


def model_of(name: str, n: int = 3, kind: type[VisualPrompts] = VisualPrompts) -> VisualPrompts:
    made = tower(name)
    prompts = [4 * p for p in first_prompts(made, n, 3, 1)]
    return kind(made, prompts, first_head(made, 5, 1)).eval()


def loss_with_mask(model: VisualPrompts, mask: list[Tensor]) -> Tensor:
    """The mean loss in float64 with P_l -> m_l * P_l."""
    masked = [p.detach() * m[:, None] for p, m in zip(model.matrices, mask, strict=True)]
    held = type(model)(model.tower, masked, model.head).eval()
    return F.cross_entropy(held(pixels(6)).double(), LABELS)


@pytest.mark.parametrize("name", TOWERS[:3])
@pytest.mark.parametrize("kind", [VisualPrompts, CrossPrompts])
def test_importance_is_the_slope_of_the_loss_in_the_mask(
    name: str, kind: type[VisualPrompts]
) -> None:
    model = model_of(name, kind=kind)
    scores = importance(model, pixels(6), LABELS, batch=4)
    largest, step = max(float(s.max()) for s in scores), 0.02
    with torch.no_grad():
        for block, score in enumerate(scores):
            for row in range(len(score)):
                ends = []
                for sign in (1, -1):
                    mask = [torch.ones(len(s)) for s in scores]
                    mask[block][row] += sign * step
                    ends.append(loss_with_mask(model, mask))
                slope = float(ends[0] - ends[1]) / (2 * step)
                assert float(score[row]) == pytest.approx(abs(slope), rel=0.02, abs=1e-3)
                assert abs(float(score[row]) - abs(slope)) <= 1e-3 * max(1, largest)


def test_importance_does_not_depend_on_the_batch_and_leaves_no_gradient() -> None:
    model = model_of("glyph-vit")
    whole, parts = (importance(model, pixels(6), LABELS, batch=b) for b in (6, 4))
    for a, b in zip(whole, parts, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-7)
    assert all(p.grad is None for p in model.parameters())


SCORES = [torch.tensor([9.0, 1, 8, 7]), torch.tensor([2.0, 3, 0.5, 0.1])]


@pytest.mark.parametrize(
    ("percent", "ranking", "expected"),
    [
        (100, "global", [[0, 1, 2, 3], [0, 1, 2, 3]]),
        (100, "layer", [[0, 1, 2, 3], [0, 1, 2, 3]]),
        (50, "global", [[0, 2, 3], [1]]),
        (50, "layer", [[0, 2], [0, 1]]),
        (25, "global", [[0, 2], []]),
        (1, "global", [[0], []]),
        (1, "layer", [[0], [1]]),
    ],
)
def test_the_most_important_stay(percent: float, ranking: str, expected: list[list[int]]) -> None:
    assert [rows.tolist() for rows in top_prompts(SCORES, percent, ranking)] == expected


def test_equal_importance_keeps_the_asked_number() -> None:
    equal = [torch.ones(10), torch.ones(10)]
    assert sum(len(rows) for rows in top_prompts(equal, 30)) == 6


@pytest.mark.parametrize("kind", [VisualPrompts, CrossPrompts])
@pytest.mark.parametrize("ranking", ["global", "layer"])
def test_condensing_to_everything_changes_nothing(kind: type[VisualPrompts], ranking: str) -> None:
    model = model_of("glyph-vit", kind=kind)
    scores = importance(model, pixels(6), LABELS)
    same = condensed(model, top_prompts(scores, 100, ranking))
    assert torch.equal(same(pixels()), model(pixels()))
    assert same.flops() == model.flops()


def test_a_condensed_model_holds_the_kept_rows_and_costs_less() -> None:
    model = model_of("glyph-vit", n=8)
    stay = top_prompts(importance(model, pixels(6), LABELS), 30)
    fewer = condensed(model, stay)
    for rows, before, after in zip(stay, model.matrices, fewer.matrices, strict=True):
        assert torch.equal(before[rows], after)
    assert sum(len(rows) for rows in stay) == round(0.3 * 24)
    assert fewer.flops() < model.flops()
    with torch.no_grad():
        fewer.head.weight.zero_()  # its own
    assert model.head.weight.abs().max() > 0


@pytest.mark.parametrize("percent", [0, -5, 100.5])
def test_a_share_outside_its_range_is_refused(percent: float) -> None:
    with pytest.raises(ValueError, match="keep"):
        top_prompts(SCORES, percent)


def test_an_unknown_ranking_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="layers"):
        top_prompts(SCORES, 50, "layers")


def test_densify_makes_dips_of_visual_prompts() -> None:
    model = model_of("glyph-vit", n=6)
    before = model(pixels())
    names = [f"prompts.{i}" for i in range(3)]
    dense = densify(model, names, rank=1, dropout=0.5, seed=1)
    assert torch.equal(model(pixels()), before)  # training starts at the prompts
    assert sum(p.numel() for p in dense.parameters()) == 3 * (6 + 128)
    descent = torch.optim.SGD(model.parameters(), 0.5)
    model.train()
    for _ in range(3):
        descent.zero_grad()
        F.cross_entropy(model(pixels(6)), LABELS).backward()
        descent.step()
        dense.step()
    trained = model.eval()(pixels())
    dense.merge()
    assert torch.equal(model(pixels()), trained)
    assert not torch.equal(trained, before)
    assert {"prompts.0", "prompts.1", "prompts.2"} <= dict(model.named_parameters()).keys()
