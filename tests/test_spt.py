"""SPT: prompts start from the image's own tokens, drawn, pooled or averaged by k-means."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from few_glyphs import run
from torch import Tensor
from visual_towers import pixels, tower

from dip_lib.clip.vision_encoder import VisionEncoder
from dip_lib.methods import spt
from dip_lib.methods.spt import CHOICES, SPT, drawn, pooled, prototypes
from dip_lib.training.run import Run

N, DEPTH, IMAGES = 5, 3, 6


def entering(made: VisionEncoder, images: Tensor) -> list[Tensor]:
    """The patch tokens (B, M, w) that enter each block."""
    return [x[:, -made.patches :] for x in made.states(images)[:DEPTH]]


def stretches(tokens: Tensor, parts: int, choice: str) -> Tensor:
    """The candidates (parts, w) of one image (M, w), a stretch at a time."""
    count, found = len(tokens), []
    size = count // (parts - 1)
    for i in range(parts - 1):
        found.append(tokens[i * size : i * size + size])
    rest = count % size
    found.append(tokens[count - rest :] if rest else tokens)
    ways = {"mean": lambda x: x.mean(0), "max": lambda x: x.max(0).values}
    return torch.stack([ways[choice](each) for each in found])


@pytest.mark.parametrize("choice", ["mean", "max"])
@pytest.mark.parametrize("length", [1, 9, 36, 196])
def test_pooling_takes_stretches_of_neighbours_and_what_is_left(choice: str, length: int) -> None:
    tokens = torch.randn(2, length, 3, generator=torch.Generator().manual_seed(0)).double()
    for parts in {2, 3, min(8, length + 1), length + 1} - ({3} if length == 1 else set()):
        found = pooled(tokens, parts, choice)
        expected = torch.stack([stretches(image, parts, choice) for image in tokens])
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("choice", ["random", "mean", "max"])
def test_prompts_are_distinct_candidates_of_their_block(choice: str) -> None:
    made, images = tower("timm, registers and mean"), pixels(IMAGES)
    found = drawn(made, images, N, DEPTH, 1, choice)
    origins = []
    for prompts, tokens in zip(found, entering(made, images), strict=True):
        each = [x if choice == "random" else stretches(x, N, choice) for x in tokens]
        away = torch.cdist(prompts, torch.cat(each), compute_mode="donot_use_mm_for_euclid_dist")
        assert prompts.shape == (N, made.width)
        assert away.min(1).values.max() < 1e-4
        origins.append(away.argmin(1).tolist())
        assert len(set(origins[-1])) == N
    assert len({tuple(each) for each in origins}) == DEPTH  # each block draws for itself


@pytest.mark.parametrize("choice", ["random", "mean", "max"])
def test_a_draw_follows_the_seed_and_not_how_many_images_are_read_at_once(
    choice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, images = tower("glyph-vit"), pixels(IMAGES)
    found = drawn(made, images, N, DEPTH, 1, choice)
    monkeypatch.setattr(spt, "AT_ONCE", 2)
    for one, two in zip(found, drawn(made, images, N, DEPTH, 1, choice), strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=1e-5)
    other = drawn(made, images, N, DEPTH, 2, choice)
    assert not any(torch.allclose(a, b) for a, b in zip(found, other, strict=True))


def test_every_token_is_drawn_when_all_are_asked_for() -> None:
    made, images = tower("open_clip, random"), pixels(3)
    prompts = drawn(made, images, 3 * made.patches, 1, 1, "random")[0]
    (tokens,) = (x.flatten(0, 1) for x in entering(made, images)[:1])
    order = [x[x[:, 0].argsort()] for x in (prompts, tokens)]
    torch.testing.assert_close(*order, rtol=0, atol=1e-6)


@pytest.mark.parametrize("choice", CHOICES)
def test_the_setting_chooses_the_start_and_names_the_run(choice: str) -> None:
    made, images = tower("glyph-vit"), pixels(IMAGES)
    found = SPT(vectors=N, depth=1, tokens=choice).prompts(made, images, 1)
    way = {"k-means": prototypes}.get(choice)
    expected = way(made, images, N, 1, 1) if way else drawn(made, images, N, 1, 1, choice)
    assert torch.equal(found[0], expected[0])
    each = run("spt", tokens=choice)
    assert Run.from_dict(json.loads(json.dumps(each.to_dict()))) == each
    assert (each.key() == run("spt").key()) == (choice == "random")
    assert len({run("spt", tokens=other).key() for other in CHOICES}) == len(CHOICES)


def test_a_record_of_before_means_prototypes() -> None:
    stored = run("spt").to_dict()
    del stored["method"]["tokens"]
    assert Run.from_dict(stored) == run("spt", tokens="k-means")


@pytest.mark.parametrize(
    ("settings", "token"),
    [
        ({"tokens": "kmeans"}, "'k-means'"),
        ({"vectors": 1, "tokens": "mean"}, "1 prompts.*'mean'"),
        ({"vectors": 38, "tokens": "max"}, "38 prompts.*'max'"),
        ({"vectors": 73}, "73 prompts of 72"),
        ({"vectors": 0}, "0 prompts"),
        ({"depth": 5}, "depth = 5"),
    ],
)
def test_what_cannot_be_drawn_is_refused(settings: dict[str, Any], token: str) -> None:
    with pytest.raises(ValueError, match=token):
        SPT(**{"depth": 1} | settings).prompts(tower("glyph-vit"), pixels(2), 1)
