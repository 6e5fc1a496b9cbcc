"""Which prompts stay: both readings of importance, and controls that keep as many of each block."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import pytest
import torch
from few_glyphs import Few, run
from torch import Tensor
from visual_towers import pixels, tower

from dip_lib import load_backbone
from dip_lib.clip.backbone import Backbone
from dip_lib.errors import UnknownNameError
from dip_lib.methods.condensation import CHOICES, CONTROLS, Condensation
from dip_lib.methods.vpt import VisualPrompts, first_head, first_prompts
from dip_lib.training.attention import attention
from dip_lib.training.condense import importance
from dip_lib.training.measure import Group, measure_group
from dip_lib.training.record import Result
from dip_lib.training.run import Run
from dip_lib.training.visual import train_visual
from dip_lib.training.visual_condense import condense_visual
from dip_lib.training.visual_scores import (
    Scores,
    all_scores,
    attended,
    mask_derivatives,
    stay,
    with_mean,
)

LABELS = torch.tensor([0, 1, 2, 3, 4, 0])
COUNT = 10


@pytest.fixture(scope="module")
def model() -> VisualPrompts:
    made = tower("glyph-vit")
    prompts = [4 * p for p in first_prompts(made, COUNT, 3, 1)]
    return VisualPrompts(made, prompts, first_head(made, 5, 1)).eval()


@pytest.fixture(scope="module")
def scores(model: VisualPrompts) -> dict[str, Scores]:
    return all_scores(model, pixels(6), LABELS)


def kept(scores: dict[str, Scores], seed: int = 1, **settings: Any) -> list[Tensor]:
    return stay(Condensation(vectors=COUNT, depth=3, **settings), scores, seed)


def counts(rows: list[Tensor]) -> list[int]:
    return [len(each) for each in rows]


# ---- scores -------------------------------------------------------------------------------------


def test_the_mean_derivative_is_importance_and_its_size_at_most_the_mean_size(
    model: VisualPrompts, scores: dict[str, Scores]
) -> None:
    expected = importance(model, pixels(6), LABELS)
    for found, each, wanted in zip(scores["sum"], scores["each"], expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-6)
        assert (each >= found - 1e-6).all() and (each > found + 1e-6).any()


def test_an_images_derivative_is_that_of_its_own_loss(model: VisualPrompts) -> None:
    every = mask_derivatives(model, pixels(6), LABELS, batch=4)
    for i in (0, 5):
        alone = importance(model, pixels(6)[i : i + 1], LABELS[i : i + 1])
        for block, wanted in zip(every, alone, strict=True):
            torch.testing.assert_close(block[i].abs(), wanted, rtol=1e-3, atol=1e-6)


def test_attention_on_single_prompts_adds_up_to_that_on_all(model: VisualPrompts) -> None:
    mass, _ = attention(model, pixels(6))
    shares = attended(model, pixels(6), batch=4)
    assert counts(shares) == [COUNT] * 3
    # the last block reads what the third made of its prompts: it has none of its own
    assert [float(each.sum()) for each in shares] == pytest.approx(mass[:3], abs=1e-5)


# ---- choices ------------------------------------------------------------------------------------


@pytest.mark.parametrize("ranking", ["global", "layer"])
@pytest.mark.parametrize("choice", CONTROLS)
def test_a_control_keeps_as_many_of_each_block(
    scores: dict[str, Scores], choice: str, ranking: str
) -> None:
    draw = {"draw": 1} if choice == "random" else {}
    main = kept(scores, keep=30, ranking=ranking)
    rows = kept(scores, keep=30, ranking=ranking, choice=choice, **draw)
    assert counts(rows) == counts(main)
    assert sum(counts(rows)) == 9
    assert all(torch.equal(each, each.unique()) for each in rows)  # ascending, each once


def test_the_least_important_are_none_of_the_most_and_the_longest_are_the_longest(
    model: VisualPrompts, scores: dict[str, Scores]
) -> None:
    most, least = (kept(scores, keep=30, ranking="layer", choice=c) for c in ("sum", "least"))
    longest = kept(scores, keep=30, ranking="layer", choice="norm")
    for a, b, c, prompt in zip(most, least, longest, model.matrices, strict=True):
        assert not {*a.tolist()} & {*b.tolist()}
        assert {*c.tolist()} == {*prompt.detach().norm(dim=1).topk(3).indices.tolist()}


def test_random_subsets_differ_by_draw_and_seed_and_are_drawn_again_alike(
    scores: dict[str, Scores],
) -> None:
    def drawn(draw: int, seed: int) -> list[list[int]]:
        rows = kept(scores, seed, keep=30, ranking="layer", choice="random", draw=draw)
        return [each.tolist() for each in rows]

    every = [drawn(draw, seed) for draw in (1, 2, 3) for seed in (1, 2)]
    assert all(a != b for a, b in combinations(every, 2))
    assert drawn(2, 1) == drawn(2, 1)


def test_what_goes_becomes_its_mean(model: VisualPrompts) -> None:
    rows = [torch.tensor([0, 4]), torch.arange(COUNT), torch.tensor([], dtype=torch.long)]
    made = with_mean(model, rows)
    for new, old, stays in zip(made, model.matrices, rows, strict=True):
        assert new.shape == old.shape
        assert torch.equal(new[stays], old.detach()[stays])
        torch.testing.assert_close(new.mean(0), old.detach().mean(0))
    assert torch.equal(made[1], model.matrices[1].detach())
    assert (made[2] == made[2][0]).all()


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"keep": 0}, "keep"),
        ({"choice": "random"}, "draw"),
        ({"choice": "norm", "draw": 2}, "draw"),
        ({"ranking": "layers"}, "layers"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        Condensation(**settings)


def test_an_unknown_choice_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="largest"):
        Condensation(choice="largest")


# ---- runs ---------------------------------------------------------------------------------------

SHAPE = {"vectors": 5, "depth": 4, "epochs": 2, "batch": 3, "lr": 0.003, "weight_decay": 0.01}


def spec(**changes: Any) -> Run:
    return run("condensation", **SHAPE | changes)


@pytest.fixture(scope="module")
def clip() -> Backbone:
    return load_backbone("glyph-vit")


@pytest.fixture(scope="module")
def whole(clip: Backbone) -> Result:
    (result,) = train_visual([run("vpt", **SHAPE)], clip, Few())
    return result


def test_condensing_to_everything_by_any_choice_changes_nothing(
    clip: Backbone, whole: Result
) -> None:
    draws = {choice: {"draw": 1} if choice == "random" else {} for choice in CHOICES}
    runs = [spec(keep=100.0, choice=choice, **draw) for choice, draw in draws.items()]
    assert {each.source() for each in runs} == {run("vpt", **SHAPE)}
    for result in condense_visual(runs, clip, Few(), whole.tensors):
        same = {name: torch.equal(result.tensors[name], t) for name, t in whole.tensors.items()}
        assert all(same.values()), same
        found, trained = (each.record["checkpoints"][-1] for each in (result, whole))
        assert (found["base"], found["val"]) == (trained["base"], trained["val"])


def test_runs_keep_what_they_say_and_train_on(clip: Backbone, whole: Result) -> None:
    runs = [
        spec(keep=40.0),
        spec(keep=40.0, choice="random", draw=2),
        spec(keep=40.0, choice="mean"),
        spec(keep=40.0, tuned=2),
    ]
    group = Group(runs, clip, Few(), [whole.tensors])
    fixed, drawn, mean, tuned = measure_group(group)
    ends = [result.record["checkpoints"][-1] for result in (fixed, drawn, mean, tuned)]
    assert ends[0]["counts"] == ends[1]["counts"] == ends[3]["counts"]
    assert sum(ends[0]["counts"]) == 8
    assert ends[2]["counts"] == [5] * 4
    assert fixed.record["label"] == "VPT condensed"
    assert ends[0]["loss"] is None and ends[3]["loss"] < 2
    moved = [n for n, t in fixed.tensors.items() if not torch.equal(t, tuned.tensors[n])]
    assert {"head.weight", "head.bias"} < {*moved}


def test_without_what_its_source_has_learned_that_is_trained(clip: Backbone, whole: Result) -> None:
    (found,) = measure_group(Group([spec(keep=100.0)], clip, Few()))
    assert all(torch.equal(found.tensors[name], each) for name, each in whole.tensors.items())


def test_runs_of_several_sources_are_refused(clip: Backbone, whole: Result) -> None:
    with pytest.raises(ValueError, match="sources"):
        condense_visual([spec(), spec(lr=0.1)], clip, Few(), whole.tensors)
